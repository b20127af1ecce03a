package rows

import (
	"context"
	"errors"
	"fmt"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// sickApps is how many applications never become healthy.
const sickApps = 10

// sick adds applications that wait for Deployments which nothing makes available, and measures the others as changeOne does, before and
// after: what a machine does for a push differs from one minute to another.
func (b *Bench) sick(ctx context.Context) ([]*report.Row, error) {
	row := &report.Row{Name: fmt.Sprintf("%d sick applications with wait: push → object of a healthy one changed", sickApps), Of: "pushes", Target: b.target("≤ 1.1 × without them")}
	without := &report.Row{}
	if err := b.pushTo(ctx, without, max(1, b.Options.Pushes/2)); err != nil {
		return nil, err
	}
	names := make([]string, sickApps)
	for i := range names {
		names[i] = fmt.Sprintf("sick-%02d", i)
	}
	if err := b.Lab.MakeNamespaces(ctx, names...); err != nil {
		return nil, err
	}
	for _, name := range names {
		k := workload.Kustomization(name, workload.PlainPath, b.Lab.Options.Interval)
		k.Spec.TargetNamespace, k.Spec.Wait, k.Spec.Timeout = name, true, &metav1.Duration{Duration: 5 * time.Minute}
		if err := b.Lab.Create(ctx, k); err != nil {
			return nil, err
		}
	}
	if err := b.attempted(ctx, names); err != nil {
		return nil, err
	}
	return b.besideSick(ctx, row, without)
}

// attempted returns when the sick applications were applied, and are waited for.
func (b *Bench) attempted(ctx context.Context, names []string) error {
	_, err := b.Lab.Apps.Expect(names, func(_ string, k *kustomizev1.Kustomization) bool {
		return k.Status.LastAttemptedRevision != "" && k.Status.Inventory != nil
	}).Within(ctx, b.Lab.Options.Timeout)
	return err
}

func (b *Bench) besideSick(ctx context.Context, row, without *report.Row) ([]*report.Row, error) {
	err := b.pushTo(ctx, row, b.Options.Pushes)
	var late *lab.NotWithinError
	if errors.As(err, &late) {
		row.Note = late.Error()
		return []*report.Row{row}, nil
	}
	if err != nil {
		return nil, err
	}
	p50 := without.Quantile(0.5)
	row.Note = fmt.Sprintf("%.2f × the median without them, %s of %d pushes right before", float64(row.Quantile(0.5))/float64(p50), p50.Round(time.Millisecond), len(without.Samples))
	return []*report.Row{row}, nil
}

// pushTo measures changes of one application each.
func (b *Bench) pushTo(ctx context.Context, row *report.Row, pushes int) error {
	for range pushes {
		took, _, _, err := b.changeOf(ctx, b.next())
		if err != nil {
			return err
		}
		row.Samples = append(row.Samples, took)
	}
	return nil
}
