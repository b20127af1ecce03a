// Package install brings Sluice's definitions of custom resources into a cluster.
package install

import (
	"context"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/deploy/crds"
)

// retryDelay is how soon an API server that is not there is asked again.
const retryDelay = 500 * time.Millisecond

// Options say what becomes of definitions that the cluster has already.
type Options struct {
	// KeepExisting leaves them as they are. Without it their schema becomes ours, which is Flux's with other descriptions.
	KeepExisting bool
}

// CRDs creates the custom resource definitions that are missing, updates the others as the options say, and returns the names of
// those that it created, also when it fails. It tries until ctx ends while the API server is not there.
func CRDs(ctx context.Context, config *rest.Config, o Options) (created []string, err error) {
	client, err := apiextensions.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("install custom resource definitions: %w", err)
	}
	all, err := crds.All()
	if err != nil {
		return nil, err
	}
	for _, crd := range all {
		isNew, err := install(ctx, client, crd, o)
		if err != nil {
			return created, fmt.Errorf("install custom resource definition %s: %w", crd.Name, err)
		}
		if isNew {
			created = append(created, crd.Name)
		}
	}
	return created, nil
}

// install tries for as long as the API server is not there.
func install(ctx context.Context, client apiextensions.Interface, crd *apiextensionsv1.CustomResourceDefinition, o Options) (isNew bool, err error) {
	for {
		isNew, err := createOrUpdate(ctx, client, crd, o)
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsUnauthorized(err) {
			return isNew, err
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(retryDelay):
		}
	}
}

func createOrUpdate(ctx context.Context, client apiextensions.Interface, crd *apiextensionsv1.CustomResourceDefinition, o Options) (isNew bool, err error) {
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	have, err := definitions.Get(ctx, crd.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = definitions.Create(ctx, crd, metav1.CreateOptions{})
		return err == nil, err
	}
	if err != nil || o.KeepExisting {
		return false, err
	}
	have.Spec.Versions, have.Spec.Names, have.Spec.Scope = crd.Spec.Versions, crd.Spec.Names, crd.Spec.Scope
	_, err = definitions.Update(ctx, have, metav1.UpdateOptions{})
	return false, err
}

// RemoveCRDs deletes definitions by name, and with them every object of theirs, and returns when they are gone. One that was gone
// before is no error.
func RemoveCRDs(ctx context.Context, config *rest.Config, names []string) error {
	client, err := apiextensions.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("remove custom resource definitions: %w", err)
	}
	for _, name := range names {
		if err := remove(ctx, client, name); err != nil {
			return fmt.Errorf("remove custom resource definition %s: %w", name, err)
		}
	}
	return nil
}

func remove(ctx context.Context, client apiextensions.Interface, name string) error {
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	err := definitions.Delete(ctx, name, metav1.DeleteOptions{})
	for err == nil {
		if _, err = definitions.Get(ctx, name, metav1.GetOptions{}); err != nil {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryDelay):
		}
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
