package handler

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
)

// welcome tells alerts that were not there in the last run what fails right now: who sets up alerting in the middle of an incident shall not see silence. Where nothing
// is known of the last run, none is new.
func (n *News) welcome(ctx context.Context, run *stage.Run, known *place, all []*alert.Alert) error {
	var uids []types.UID
	var fresh []*alert.Alert
	for _, a := range all {
		uids = append(uids, a.UID)
		if known.Alerts != nil && !slices.Contains(known.Alerts, a.UID) {
			fresh = append(fresh, a)
		}
	}
	slices.Sort(uids)
	if slices.Equal(uids, known.Alerts) && known.Alerts != nil {
		return nil
	}
	if len(fresh) > 0 {
		if err := n.tellFailures(ctx, fresh); err != nil {
			return err
		}
	}
	known.Alerts = append([]types.UID{}, uids...)
	return run.Save(ctx, *known)
}

func (n *News) tellFailures(ctx context.Context, to []*alert.Alert) error {
	parts, err := stage.ReadParts[news.Tracked](ctx, n.env.Bus, state.StageNews, newsKey, func(name string) bool { return strings.HasPrefix(name, objectPart) })
	if err != nil {
		return err
	}
	b := &batch{alerts: to}
	for name, part := range parts {
		o, ok := splitObject(name)
		if !ok || part.Value.Failing == nil {
			continue
		}
		found, err := n.objects.read(ctx, o)
		if err != nil {
			return err
		}
		if c := part.Value.Lasting(o, readyMessage(found), time.Now()); found.Object != nil {
			if err := n.address(ctx, b, c); err != nil {
				return err
			}
		}
	}
	if err := n.env.Bus.PutLetters(ctx, b.letters); err != nil {
		return err
	}
	return n.wake(ctx, b.letters)
}

// readyMessage is what an object says itself of why it is not ready.
func readyMessage(o *object) string {
	with, ok := o.Object.(interface{ GetConditions() []metav1.Condition })
	if !ok {
		return ""
	}
	if ready := apimeta.FindStatusCondition(with.GetConditions(), meta.ReadyCondition); ready != nil {
		return ready.Message
	}
	return ""
}
