package handler

import (
	"context"
	"fmt"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
)

// Watch keeps what is told of, and what says how, in the cache, and wakes the stages when somebody changes an Alert or a Provider.
func Watch(ctx context.Context, cluster *kube.Cluster, news, notify kube.Waker) error {
	for _, kind := range Kinds() {
		if _, err := cluster.Cache.GetInformer(ctx, kind); err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	if err := cluster.Watch(ctx, &notifyv1.Provider{}, unanswered, notify); err != nil {
		return err
	}
	return cluster.Watch(ctx, &notifyv1.Alert{}, unanswered, alertWaker{cluster, news, notify})
}

// unanswered: neither kind has a status, so each is looked at anew at start.
func unanswered(client.Object) (int64, string) { return 0, "" }

// alertWaker wakes who reads an Alert: stage news, which says what is wrong with it, and the channel through which it is told.
type alertWaker struct {
	cluster      *kube.Cluster
	news, notify kube.Waker
}

// Trigger wakes both.
func (w alertWaker) Trigger(ctx context.Context, key types.NamespacedName, hint stage.Hint) {
	w.news.Trigger(ctx, newsKey, stage.Hint{Cause: hint.Cause})
	var a notifyv1.Alert
	if w.cluster.Cache.Get(ctx, key, &a) == nil {
		w.notify.Trigger(ctx, types.NamespacedName{Namespace: key.Namespace, Name: a.Spec.ProviderRef.Name}, stage.Hint{Cause: "alert"})
	}
}
