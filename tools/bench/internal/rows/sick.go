package rows

import (
	"context"
	"errors"
	"fmt"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// sickApps is how many applications never become healthy.
const sickApps = 10

// sickRound is how many pushes follow each other without the sick applications, and then beside them.
const sickRound = 4

// sick measures the others as changeOne does, by turns without and beside applications that wait for Deployments which nothing makes
// available: what a machine does for a push differs from one minute to another by more than what is looked for.
func (b *Bench) sick(ctx context.Context) ([]*report.Row, error) {
	row := &report.Row{Name: fmt.Sprintf("%d sick applications with wait: push → object of a healthy one changed", sickApps), Of: "pushes", Target: b.target("≤ 1.1 × without them")}
	without := &report.Row{}
	for len(row.Samples) < b.Options.Pushes {
		err := b.sickTurn(ctx, row, without)
		var late *lab.NotWithinError
		if errors.As(err, &late) {
			row.Note = late.Error()
			return []*report.Row{row}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	p50 := without.Quantile(0.5)
	row.Note = fmt.Sprintf("%.2f × the median without them, %s of %d pushes; by turns of %d", float64(row.Quantile(0.5))/float64(p50), p50.Round(time.Millisecond), len(without.Samples), sickRound)
	return []*report.Row{row}, nil
}

func (b *Bench) sickTurn(ctx context.Context, row, without *report.Row) error {
	if err := b.pushTo(ctx, without, sickRound); err != nil {
		return err
	}
	sick, err := b.makeSick(ctx, fmt.Sprintf("sick-%d", len(row.Samples)))
	if err != nil {
		return err
	}
	if err := b.pushTo(ctx, row, sickRound); err != nil {
		return err
	}
	return b.Lab.Delete(ctx, sick...)
}

// makeSick makes the sick applications and returns when they were applied, and are waited for.
func (b *Bench) makeSick(ctx context.Context, prefix string) ([]client.Object, error) {
	names, sick := make([]string, sickApps), make([]client.Object, sickApps)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%02d", prefix, i)
		k := workload.Kustomization(names[i], workload.PlainPath, b.Lab.Options.Interval)
		k.Spec.TargetNamespace, k.Spec.Wait, k.Spec.Timeout = names[i], true, &metav1.Duration{Duration: 5 * time.Minute}
		sick[i] = k
	}
	if err := b.Lab.MakeNamespaces(ctx, names...); err != nil {
		return nil, err
	}
	if err := b.Lab.Create(ctx, sick...); err != nil {
		return nil, err
	}
	_, err := b.Lab.Apps.Expect(names, func(_ string, k *kustomizev1.Kustomization) bool {
		return k.Status.LastAttemptedRevision != "" && k.Status.Inventory != nil
	}).Within(ctx, b.Lab.Options.Timeout)
	return sick, err
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
