package rows

import (
	"context"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// verifyRound looks whether all objects of all applications are as the last commit to the base has them: Ready alone proves nothing.
func (b *Bench) verifyRound(ctx context.Context) error {
	want := strconv.Itoa(b.round)
	for _, list := range []client.ObjectList{&corev1.ServiceAccountList{}, &corev1.ConfigMapList{}, &corev1.ServiceList{}, &appsv1.DeploymentList{}} {
		if err := b.Lab.Client.List(ctx, list); err != nil {
			return fmt.Errorf("verify objects: %w", err)
		}
		rounds := map[string]string{} // by namespace
		err := apimeta.EachListItem(list, func(o runtime.Object) error {
			obj, err := apimeta.Accessor(o)
			if err == nil && obj.GetAnnotations()[workload.RoundAnnotation] != "" {
				rounds[obj.GetNamespace()] = obj.GetAnnotations()[workload.RoundAnnotation]
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("verify objects: %w", err)
		}
		for _, app := range b.apps {
			if rounds[app] != want {
				return fmt.Errorf("verify objects: %T of %s is at round %q, want %s", list, app, rounds[app], want)
			}
		}
	}
	return nil
}
