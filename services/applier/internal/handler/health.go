package handler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/services/applier/internal/health"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// The states of an application's health, as they stand in its record.
const (
	healthUnasked     = ""
	healthProgressing = "progressing"
	healthHealthy     = "healthy"
	healthTimedOut    = "timed out"
	healthFailed      = "failed"
)

// verdict is the health of an application: its worst object's.
type verdict struct {
	state string
	// lacking are the objects that are not healthy, as people read it.
	lacking []string
	// unseen says that the watch does not know all of them yet.
	unseen bool
}

// asksForHealth says whether a Kustomization is ready only when its objects are healthy.
func asksForHealth(k *kustomizev1.Kustomization) bool {
	return k.Spec.Wait || len(k.Spec.HealthChecks) > 0
}

// healthChecked are the objects whose health makes that of a Kustomization; never itself.
func healthChecked(k *kustomizev1.Kustomization, objects inventory.Inventory) []inventory.ID {
	var ids []inventory.ID
	add := func(id inventory.ID) {
		if id.Kind != kustomizev1.KustomizationKind || id.Name != k.Name || id.Namespace != k.Namespace {
			ids = append(ids, id)
		}
	}
	if k.Spec.Wait {
		for id := range objects.All() {
			add(id)
		}
		return ids
	}
	for _, ref := range k.Spec.HealthChecks {
		gv, _ := schema.ParseGroupVersion(ref.APIVersion) // a wrong one names a kind that is not served
		add(inventory.ID{Namespace: ref.Namespace, Name: ref.Name, Group: gv.Group, Kind: ref.Kind})
	}
	return ids
}

// looker finds the health of one object.
type looker func(id inventory.ID, from uint64) (health.Health, bool, error)

// assess takes the health of all objects together. Objects that were left alone as they asked for it do not count.
func assess(k *kustomizev1.Kustomization, known *applied, objects inventory.Inventory, exprs health.Expressions, look looker) (verdict, error) {
	v := verdict{state: healthHealthy}
	for _, id := range healthChecked(k, objects) {
		seen, applied := known.Objects.Get(id)
		if k.Spec.Wait && !applied || applied && !health.HasState(id.GroupKind()) && !exprs.Has(id.GroupKind()) {
			continue
		}
		h, ok, err := look(id, seen.Version)
		if err != nil {
			return v, err
		}
		if !ok {
			h, v.unseen = health.Health{Status: status.UnknownStatus}, true
		}
		v.add(id, h)
	}
	return v, nil
}

func (v *verdict) add(id inventory.ID, h health.Health) {
	if h.OK() {
		return
	}
	text := fmt.Sprintf("%s status: '%s'", id.Subject(), h.Status)
	if h.Message != "" {
		text += ": " + h.Message
	}
	v.lacking = append(v.lacking, text)
	switch {
	case h.Failed():
		v.state = healthFailed
	case v.state == healthHealthy:
		v.state = healthProgressing
	}
}

// maxLacking caps the objects that a message names.
const maxLacking = 10

func (v *verdict) list() string {
	named := v.lacking[:min(len(v.lacking), maxLacking)]
	text := "[" + strings.Join(named, ", ") + "]"
	if more := len(v.lacking) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// watched looks at what the watch knows.
func (a *Applier) watched(k *kustomizev1.Kustomization, known *applied) looker {
	key := client.ObjectKeyFromObject(k)
	watcher := a.watchers.of(key, known.Cluster)
	return func(id inventory.ID, from uint64) (health.Health, bool, error) {
		if watcher == nil {
			return health.Health{}, false, nil
		}
		h, known := watcher.Health(key, id, from)
		return h, known, nil
	}
}

// asked asks the API server about each object.
func (a *Applier) asked(ctx context.Context, j *job) (looker, error) {
	engine, err := a.engine(ctx, j.k)
	if err != nil {
		return nil, err
	}
	return func(id inventory.ID, _ uint64) (health.Health, bool, error) {
		u, err := engine.Read(ctx, id, "")
		if err != nil {
			return health.Health{Status: status.UnknownStatus, Message: err.Error()}, true, nil
		}
		if u == nil {
			return health.Missing(), true, nil
		}
		return health.Of(u, j.exprs), true, nil
	}, nil
}

// Health is asked for only where no watch can tell: where a kind may not be watched, and of a cluster whose watch is not there yet.
const (
	watchFill   = 2 * time.Second // a watch that is not filled after this time may never be
	askInterval = 5 * time.Second
)

// judge finds the health of what was applied. polled says that it had to be asked for, so that nothing will tell when it changes.
func (a *Applier) judge(ctx context.Context, j *job) (v verdict, polled bool, err error) {
	objects, _ := inventory.FromStatus(j.k.Status.Inventory)
	ask, err := a.asked(ctx, j)
	if err != nil {
		return v, false, err
	}
	watched, patient := a.watched(j.k, &j.known), time.Since(j.known.HealthSince) < watchFill
	look := func(id inventory.ID, from uint64) (health.Health, bool, error) {
		if objects.Has(id) || a.identity(j.k) == "" {
			if h, known, err := watched(id, from); known || patient || err != nil {
				return h, known, err
			}
		}
		polled = true
		return ask(id, from)
	}
	v, err = assess(j.k, &j.known, objects, j.exprs, look)
	return v, polled, err
}

// healthNews says whether the watch sees another health than the record says, as far as that matters: once healthy, what rolls on or
// is scaled stays healthy until it fails.
func (a *Applier) healthNews(k *kustomizev1.Kustomization, known *applied, objects inventory.Inventory) bool {
	watcher := a.watchers.of(client.ObjectKeyFromObject(k), known.Cluster)
	if !asksForHealth(k) || known.Health == healthUnasked || watcher == nil {
		return false
	}
	exprs := watcher.Exprs(client.ObjectKeyFromObject(k))
	v, err := assess(k, known, objects, exprs, a.watched(k, known))
	if err != nil || v.unseen {
		return false
	}
	switch known.Health {
	case healthProgressing:
		return v.state != healthProgressing
	case healthHealthy:
		return v.state == healthFailed
	}
	return v.state == healthHealthy
}
