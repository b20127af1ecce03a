package update

import (
	"context"
	"fmt"
	"maps"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// handled reads from an automation's status what it answers.
func handled(obj client.Object) (int64, string) {
	auto, ok := obj.(*automationv1.ImageUpdateAutomation)
	if !ok {
		return 0, ""
	}
	return auto.Status.ObservedGeneration, auto.Status.LastHandledReconcileAt
}

// objects lists the automations in the cache.
func (u *updater) objects(ctx context.Context) ([]types.NamespacedName, error) {
	return u.find(ctx, func(*automationv1.ImageUpdateAutomation) bool { return true })
}

func (u *updater) find(ctx context.Context, wanted func(*automationv1.ImageUpdateAutomation) bool, in ...client.ListOption) ([]types.NamespacedName, error) {
	var list automationv1.ImageUpdateAutomationList
	if err := u.cluster.Cache.List(ctx, &list, in...); err != nil {
		return nil, fmt.Errorf("list image update automations: %w", err)
	}
	var keys []types.NamespacedName
	for i := range list.Items {
		if wanted(&list.Items[i]) {
			keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}
	return keys, nil
}

// woken finds the automations that a fact concerns: those that take the policy, those that update the source.
func (u *updater) woken(ctx context.Context, f *factsv1.Fact) ([]types.NamespacedName, error) {
	object := bus.FactObject(f)
	switch bus.FactKind(f) {
	case bus.FactSourceRevised:
		return u.find(ctx, func(a *automationv1.ImageUpdateAutomation) bool { return sourceOf(a) == object && !a.Spec.Suspend })
	case bus.FactImageSelected:
		policy := &imagev1.ImagePolicy{}
		if err := u.cluster.Read(ctx, object, policy, 0); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		return u.takers(ctx, policy)
	}
	return nil, nil
}

// hinted lists the automations that a call from outside names.
func (u *updater) hinted(ctx context.Context, h *hintsv1.Hint) ([]types.NamespacedName, error) {
	return u.cluster.Hinted(ctx, h, automationv1.ImageUpdateAutomationKind, &automationv1.ImageUpdateAutomation{})
}

// takers are the automations whose selector takes a policy. One whose selector cannot be read says so itself.
func (u *updater) takers(ctx context.Context, policy *imagev1.ImagePolicy) ([]types.NamespacedName, error) {
	return u.find(ctx, func(a *automationv1.ImageUpdateAutomation) bool {
		selector, err := selectorOf(a)
		return err == nil && selector.Matches(labels.Set(policy.Labels)) && !a.Spec.Suspend
	}, client.InNamespace(policy.Namespace))
}

func selectorOf(a *automationv1.ImageUpdateAutomation) (labels.Selector, error) {
	if a.Spec.PolicySelector == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(a.Spec.PolicySelector)
}

func sourceOf(a *automationv1.ImageUpdateAutomation) types.NamespacedName {
	key := types.NamespacedName{Namespace: a.Spec.SourceRef.Namespace, Name: a.Spec.SourceRef.Name}
	if key.Namespace == "" {
		key.Namespace = a.Namespace
	}
	return key
}

// watchPolicies wakes automations when a policy comes, goes, changes in what makes an automation take or hold it, or has chosen by another
// specification, were it the same image as before. That it chose another image is told by a fact.
func (u *updater) watchPolicies(ctx context.Context, w kube.Waker) error {
	informer, err := u.cluster.Cache.GetInformer(ctx, &imagev1.ImagePolicy{})
	if err != nil {
		return fmt.Errorf("watch image policies: %w", err)
	}
	wake := func(obj any) {
		if tomb, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = tomb.Obj
		}
		policy, ok := obj.(*imagev1.ImagePolicy)
		if !ok {
			return
		}
		keys, err := u.takers(ctx, policy)
		if err != nil {
			u.Env.Log.Warn("cannot find who takes a policy, they run at their interval", "object", policy.Namespace+"/"+policy.Name, "err", err)
		}
		for _, key := range keys {
			w.Trigger(ctx, key, stage.Hint{Cause: "policy"})
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			if !initial {
				wake(obj)
			}
		},
		DeleteFunc: wake,
		UpdateFunc: func(before, after any) {
			was, ok1 := before.(*imagev1.ImagePolicy)
			is, ok2 := after.(*imagev1.ImagePolicy)
			if ok1 && ok2 && !(maps.Equal(was.Labels, is.Labels) && maps.Equal(was.Annotations, is.Annotations) && was.Status.ObservedGeneration == is.Status.ObservedGeneration) {
				wake(was)
				wake(is)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch image policies: %w", err)
	}
	return nil
}
