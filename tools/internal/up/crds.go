package up

import (
	"context"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/deploy/crds"
	"github.com/sluice-cd/sluice/libs/kube"
)

// installCRDs creates the custom resource definitions that are missing and updates those whose schema is another. Where Flux is
// installed its definitions are much the same; only what the file says is replaced.
func installCRDs(ctx context.Context, cluster *kube.Cluster) error {
	client, err := apiextensions.NewForConfig(cluster.Config)
	if err != nil {
		return fmt.Errorf("install custom resource definitions: %w", err)
	}
	all, err := crds.All()
	if err != nil {
		return err
	}
	for _, crd := range all {
		if err := install(ctx, client, crd); err != nil {
			return fmt.Errorf("install custom resource definition %s: %w", crd.Name, err)
		}
	}
	return nil
}

// install tries for as long as the API server is not there.
func install(ctx context.Context, client apiextensions.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	for {
		err := createOrUpdate(ctx, client, crd)
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsUnauthorized(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func createOrUpdate(ctx context.Context, client apiextensions.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	have, err := definitions.Get(ctx, crd.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = definitions.Create(ctx, crd, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	have.Spec.Versions, have.Spec.Names, have.Spec.Scope = crd.Spec.Versions, crd.Spec.Names, crd.Spec.Scope
	_, err = definitions.Update(ctx, have, metav1.UpdateOptions{})
	return err
}
