package handler

import (
	"context"
	"fmt"
	"strings"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
)

// kinds are those that are told of.
var kinds = map[string]func() client.Object{
	sourcev1.GitRepositoryKind:             func() client.Object { return &sourcev1.GitRepository{} },
	kustomizev1.KustomizationKind:          func() client.Object { return &kustomizev1.Kustomization{} },
	imagev1.ImageRepositoryKind:            func() client.Object { return &imagev1.ImageRepository{} },
	imagev1.ImagePolicyKind:                func() client.Object { return &imagev1.ImagePolicy{} },
	automationv1.ImageUpdateAutomationKind: func() client.Object { return &automationv1.ImageUpdateAutomation{} },
}

// Kinds are objects of all kinds that are told of.
func Kinds() []client.Object {
	var out []client.Object
	for _, make := range kinds {
		out = append(out, make())
	}
	return out
}

// objects reads the objects that are told of.
type objects struct{ cluster *kube.Cluster }

// object is one as it is now; without Object it is gone, or of a kind that is not known.
type object struct{ client.Object }

func (o *object) labels() (map[string]string, bool) {
	if o.Object == nil {
		return nil, false
	}
	return o.GetLabels(), true
}

func (o *object) annotations() map[string]string {
	if o.Object == nil {
		return nil
	}
	return o.GetAnnotations()
}

func (o *object) version() string {
	if o.Object == nil {
		return ""
	}
	return o.GetResourceVersion()
}

func (o *objects) read(ctx context.Context, name news.Object) (*object, error) {
	make, ok := kinds[name.Kind]
	if !ok {
		return &object{}, nil
	}
	obj := make()
	err := o.cluster.Read(ctx, types.NamespacedName{Namespace: name.Namespace, Name: name.Name}, obj, 0)
	if apierrors.IsNotFound(err) {
		return &object{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return &object{obj}, nil
}

// splitObject reads the name of an object from that of its part.
func splitObject(part string) (o news.Object, ok bool) {
	rest, ok := strings.CutPrefix(part, objectPart)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return o, false
	}
	return news.Object{Kind: parts[0], Namespace: parts[1], Name: parts[2]}, true
}
