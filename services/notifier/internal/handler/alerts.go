package handler

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
)

// Reasons of Events on Alerts and Providers.
const (
	reasonInvalid = "InvalidConfig"
	reasonFailed  = "NotificationDispatchFailed"
)

// alerts reads Alerts, each version of one once, and says in Events what is wrong with them.
type alerts struct {
	cluster *kube.Cluster
	events  *kube.Events

	mu    sync.Mutex
	known map[types.UID]*readAlert
	told  map[warning]time.Time // when this process last gave it
}

// warning is one that was given about a spec.
type warning struct {
	uid             types.UID
	generation      int64
	reason, message string
}

type readAlert struct {
	version string
	*alert.Alert
}

func newAlerts(cluster *kube.Cluster, events *kube.Events) *alerts {
	return &alerts{cluster: cluster, events: events, known: map[types.UID]*readAlert{}, told: map[warning]time.Time{}}
}

// list reads all alerts.
func (a *alerts) list(ctx context.Context) ([]*alert.Alert, error) {
	var list notifyv1.AlertList
	if err := a.cluster.Cache.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	suspended, err := a.suspendedProviders(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]*alert.Alert, 0, len(list.Items))
	for i := range list.Items {
		item := &list.Items[i]
		if !item.Spec.Suspend && !suspended[types.NamespacedName{Namespace: item.Namespace, Name: item.Spec.ProviderRef.Name}] {
			out = append(out, a.read(item))
		}
	}
	return out, nil
}

// suspendedProviders are those through which nothing that happens now is told.
func (a *alerts) suspendedProviders(ctx context.Context) (map[types.NamespacedName]bool, error) {
	var list notifyv1.ProviderList
	if err := a.cluster.Cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	out := map[types.NamespacedName]bool{}
	for i := range list.Items {
		if list.Items[i].Spec.Suspend {
			out[client.ObjectKeyFromObject(&list.Items[i])] = true
		}
	}
	return out, nil
}

// get reads one alert; nil when it does not exist.
func (a *alerts) get(ctx context.Context, key types.NamespacedName) (*alert.Alert, error) {
	var item notifyv1.Alert
	err := a.cluster.Read(ctx, key, &item, 0)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read alert %s: %w", key, err)
	}
	return a.read(&item), nil
}

func (a *alerts) read(item *notifyv1.Alert) *alert.Alert {
	a.mu.Lock()
	known := a.known[item.UID]
	a.mu.Unlock()
	if known != nil && known.version == item.ResourceVersion {
		return known.Alert
	}
	read, err := alert.Read(item)
	if err != nil {
		a.warn(item, reasonInvalid, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) > maxKnown {
		clear(a.known)
	}
	a.known[item.UID] = &readAlert{item.ResourceVersion, read}
	return read
}

// maxKnown bounds what is kept in memory.
const maxKnown = 10_000

// warnEvery is how often the same is said as long as it lasts: Events live for an hour.
const warnEvery = time.Hour

// warn says what is wrong with an Alert or Provider, the same once an hour for each spec.
func (a *alerts) warn(obj client.Object, reason, message string) {
	key := warning{obj.GetUID(), obj.GetGeneration(), reason, message}
	a.mu.Lock()
	was := time.Since(a.told[key]) < warnEvery
	if len(a.told) > maxKnown {
		clear(a.told)
	}
	if !was {
		a.told[key] = time.Now()
	}
	a.mu.Unlock()
	if !was {
		a.events.Warning(obj, "", reason, message)
	}
}

// forget notes that what was wrong for a reason is over: the next time it is said again.
func (a *alerts) forget(uid types.UID, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.told, func(w warning, _ time.Time) bool { return w.uid == uid && w.reason == reason })
}
