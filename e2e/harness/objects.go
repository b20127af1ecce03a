package harness

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// GitRepository describes a repository's object; edit, where given, has the last word on it.
func (e *Env) GitRepository(namespace, name, url string, edit ...func(*sourcev1.GitRepositorySpec)) *sourcev1.GitRepository {
	repo := &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: 10 * time.Minute}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
		},
	}
	for _, f := range edit {
		f(&repo.Spec)
	}
	return repo
}

// Kustomization describes an application that takes a folder of a repository into the namespace; edit has the last word.
func (e *Env) Kustomization(namespace, name, source, path string, edit ...func(*kustomizev1.KustomizationSpec)) *kustomizev1.Kustomization {
	k := &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: kustomizev1.KustomizationSpec{
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: source},
			Path:      path, Prune: true, TargetNamespace: namespace,
			Interval: metav1.Duration{Duration: 10 * time.Minute}, RetryInterval: &metav1.Duration{Duration: 2 * time.Second},
		},
	}
	for _, f := range edit {
		f(&k.Spec)
	}
	return k
}

// Create makes objects.
func (e *Env) Create(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, obj := range objects {
		if err := e.Client.Create(t.Context(), obj); err != nil {
			t.Fatalf("create %T %s: %v", obj, obj.GetName(), err)
		}
	}
}

// Change edits an object as it is now, as often as others come between.
func Change[T client.Object](t testing.TB, e *Env, obj T, edit func(T)) {
	t.Helper()
	Until(t, 10*time.Second, "change "+obj.GetName(), func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			return err
		}
		edit(obj)
		return e.Client.Update(t.Context(), obj)
	})
}

// Request asks for a run of an object now, as `flux reconcile` does, and returns the value it asks with.
func (e *Env) Request(ctx context.Context, obj client.Object) (string, error) {
	at := time.Now().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, at)
	if err := e.Client.Patch(ctx, obj, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		return "", fmt.Errorf("request a run of %s: %w", obj.GetName(), err)
	}
	return at, nil
}

// MustRequest is Request that fails the test.
func (e *Env) MustRequest(t testing.TB, obj client.Object) string {
	t.Helper()
	at, err := e.Request(t.Context(), obj)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Resource is a custom resource with conditions.
type Resource interface {
	client.Object
	GetConditions() []metav1.Condition
}

// Await returns when check is content with the object, which is read again each time.
func Await[T client.Object](t testing.TB, e *Env, obj T, within time.Duration, what string, check func(T) error) {
	t.Helper()
	Until(t, within, fmt.Sprintf("%s of %T %s", what, obj, obj.GetName()), func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			return err
		}
		return check(obj)
	})
}

// AwaitReady returns when a custom resource says of its present spec that it is ready.
func AwaitReady[T Resource](t testing.TB, e *Env, obj T, within time.Duration) {
	t.Helper()
	Await(t, e, obj, within, "readiness", func(obj T) error { return Ready(obj) })
}

// Ready returns nil when a custom resource says of its present spec that it is ready, else what it says.
func Ready(obj Resource) error {
	ready := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition)
	switch {
	case ready == nil:
		return errors.New("no condition Ready")
	case ready.ObservedGeneration != obj.GetGeneration():
		return fmt.Errorf("condition Ready is of generation %d, not %d", ready.ObservedGeneration, obj.GetGeneration())
	case ready.Status != metav1.ConditionTrue:
		return fmt.Errorf("condition Ready is %s, %s: %s", ready.Status, ready.Reason, ready.Message)
	}
	return nil
}

// Events are the Events about an object.
func (e *Env) Events(ctx context.Context, obj client.Object) ([]corev1.Event, error) {
	var all corev1.EventList
	err := e.Client.List(ctx, &all, client.InNamespace(obj.GetNamespace()))
	var own []corev1.Event
	for _, event := range all.Items {
		if event.InvolvedObject.UID == obj.GetUID() {
			own = append(own, event)
		}
	}
	return own, err
}

// IsGone says whether an object is not there any more.
func (e *Env) IsGone(ctx context.Context, obj client.Object) error {
	err := e.Client.Get(ctx, client.ObjectKeyFromObject(obj), obj)
	if err == nil {
		return fmt.Errorf("%T %s is still there", obj, obj.GetName())
	}
	return client.IgnoreNotFound(err)
}
