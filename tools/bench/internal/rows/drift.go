package rows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// drift edits ConfigMaps of applications and waits until they are as git has them.
func (b *Bench) drift(ctx context.Context) ([]*report.Row, error) {
	bare, err := b.floorOfOne(ctx)
	if err != nil {
		return nil, err
	}
	row := &report.Row{Name: "an object is edited by hand: repaired", Of: "edits", Floor: bare, Target: b.target("p99 ≤ 2 s")}
	var usages []*gauge.Usage
	for range b.Options.Pushes {
		if err := b.rest(ctx); err != nil {
			return nil, err
		}
		app := b.next()
		var took time.Duration
		usage, err := b.measured(ctx, func() (err error) { took, err = b.edit(ctx, app); return err })
		var late *lab.NotWithinError
		if errors.As(err, &late) {
			row.Note = fmt.Sprintf("not within %s", late.Limit)
			break
		}
		if err != nil {
			return nil, err
		}
		row.Samples, usages = append(row.Samples, took), append(usages, usage)
	}
	row.Usage = gauge.Mean(usages)
	return []*report.Row{row}, nil
}

// edit changes an application's ConfigMap by hand and returns how long it took until that was undone. What is not undone in time
// is undone here.
func (b *Bench) edit(ctx context.Context, app string) (time.Duration, error) {
	want, found := b.Lab.Values.Get(app)
	if !found {
		return 0, fmt.Errorf("edit %s: it has no ConfigMap", app)
	}
	started := time.Now()
	edited := b.Lab.Values.Expect([]string{app}, func(_, v string) bool { return v == "edited" })
	if err := b.patchValue(ctx, app, "edited"); err != nil {
		return 0, err
	}
	if _, err := edited.Within(ctx, b.Lab.Options.Timeout); err != nil {
		return 0, err
	}
	times, err := b.Lab.Values.Expect([]string{app}, func(_, v string) bool { return v == want }).Within(ctx, b.Options.Drift)
	if err != nil {
		return 0, errors.Join(err, b.patchValue(ctx, app, want))
	}
	_, took := since(started, times)
	return took, nil
}

func (b *Bench) patchValue(ctx context.Context, app, value string) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]string{workload.ValueKey: value}})
	if err != nil {
		return err
	}
	object := &corev1.ConfigMap{}
	object.Namespace, object.Name = app, workload.SettingsName
	if err := b.Lab.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch), client.FieldOwner("kubectl-edit")); err != nil {
		return fmt.Errorf("edit by hand: %w", err)
	}
	return nil
}
