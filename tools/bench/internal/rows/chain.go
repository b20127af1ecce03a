package rows

import (
	"context"
	"errors"
	"fmt"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"github.com/sluice-cd/sluice/tools/bench/internal/floor"
	"github.com/sluice-cd/sluice/tools/bench/internal/gauge"
	"github.com/sluice-cd/sluice/tools/bench/internal/report"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// links is how many Kustomizations a chain has.
const links = 5

// chain creates Kustomizations that depend on one another, the last one first: at once, and so that all but the first one have
// found out before that they must wait.
func (b *Bench) chain(ctx context.Context) ([]*report.Row, error) {
	bare, err := b.floorOfChain(ctx)
	if err != nil {
		return nil, err
	}
	atOnce := &report.Row{Name: "chain of 5 dependsOn, created in the wrong order: all Ready", Of: "chains", Floor: bare, Target: b.target("≤ 2 s")}
	waiting := &report.Row{Name: "… the first created when the others wait for it", Of: "chains", Floor: bare, Target: b.target("≤ 2 s")}
	err = errors.Join(b.chains(ctx, atOnce, "chain", false), b.chains(ctx, waiting, "waiting-chain", true))
	return []*report.Row{atOnce, waiting}, err
}

func (b *Bench) chains(ctx context.Context, row *report.Row, name string, wait bool) error {
	var usages []*gauge.Usage
	for i := range b.Options.Chains {
		usage, took, err := b.oneChain(ctx, fmt.Sprintf("%s-%d", name, i), wait)
		if err != nil {
			return err
		}
		row.Samples, usages = append(row.Samples, took), append(usages, usage)
	}
	row.Usage = gauge.Mean(usages)
	return nil
}

func (b *Bench) oneChain(ctx context.Context, prefix string, wait bool) (usage *gauge.Usage, took time.Duration, err error) {
	chain := workload.Chain(prefix, links, b.Lab.Options.Interval)
	names := make([]string, len(chain))
	for i, k := range chain {
		names[i] = k.Name
	}
	if err := b.Lab.MakeNamespaces(ctx, names...); err != nil {
		return nil, 0, err
	}
	usage, err = b.measured(ctx, func() error {
		ready := b.Lab.Apps.Expect(names, func(_ string, k *kustomizev1.Kustomization) bool { return workload.IsReady(k, "") })
		started := time.Now()
		for i, k := range chain {
			if wait && i == links-1 {
				if err := b.awaitWaiting(ctx, names[:i]); err != nil {
					return err
				}
				started = time.Now()
			}
			if err := b.Lab.Create(ctx, k); err != nil {
				return err
			}
		}
		times, err := ready.Within(ctx, b.Lab.Options.Timeout)
		_, took = since(started, times)
		return err
	})
	return usage, took, err
}

// awaitWaiting returns when all of the names say that a dependency is not ready.
func (b *Bench) awaitWaiting(ctx context.Context, names []string) error {
	_, err := b.Lab.Apps.Expect(names, func(_ string, k *kustomizev1.Kustomization) bool {
		c := workload.Condition(k, meta.ReadyCondition)
		return c != nil && c.Reason == meta.DependencyNotReadyReason
	}).Within(ctx, b.Lab.Options.Timeout)
	return err
}

// floorOfChain is the time in which the objects of a chain are applied one after another.
func (b *Bench) floorOfChain(ctx context.Context) (time.Duration, error) {
	var total time.Duration
	for i := range links {
		name := fmt.Sprintf("chain-floor-%d", i)
		if err := b.Lab.MakeNamespaces(ctx, name); err != nil {
			return 0, err
		}
		objects, err := workload.Objects(name, b.round, 0)
		if err != nil {
			return 0, err
		}
		took, err := floor.ApplyAll(ctx, b.Lab.API, objects)
		if err != nil {
			return 0, err
		}
		total += took
	}
	return total, nil
}
