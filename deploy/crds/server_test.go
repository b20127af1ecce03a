package crds_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	clientset "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/deploy/crds"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
)

// TestAPIServer asks a real API server about the definitions and the examples.
func TestAPIServer(t *testing.T) {
	cluster := controlplanetest.ForTest(t, controlplane.Options{})
	client, err := clientset.NewForConfig(cluster.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	s := server{client: client, resources: map[string]string{}}
	s.install(t)

	t.Run("accepts", func(t *testing.T) {
		for _, dir := range []string{"gitrepository", "kustomization", "imagerepository", "imagepolicy", "imageupdateautomation", "receiver", "provider", "alert"} {
			for _, e := range examples(t, dir) {
				t.Run(e.name, func(t *testing.T) { s.wantAccepted(t, e) })
			}
		}
	})
	t.Run("refuses", func(t *testing.T) {
		for _, e := range examples(t, "invalid") {
			t.Run(e.name, func(t *testing.T) { s.wantRefused(t, e) })
		}
	})
	t.Run("explains", s.wantExplained)
}

// server is an API server that has the definitions.
type server struct {
	client *clientset.Clientset
	// resources holds the path below /apis for each kind.
	resources map[string]string
}

// install applies the definitions and waits until the server serves them.
func (s server) install(t *testing.T) {
	t.Helper()
	all, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range all {
		data, err := yaml.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		api := s.client.ApiextensionsV1().CustomResourceDefinitions()
		force := true
		options := metav1.PatchOptions{FieldManager: "crds-test", Force: &force, FieldValidation: metav1.FieldValidationStrict}
		if _, err := api.Patch(t.Context(), crd.Name, types.ApplyPatchType, data, options); err != nil {
			t.Fatalf("install %s: %v", crd.Name, err)
		}
		s.awaitEstablished(t, crd.Name)
		s.resources[crd.Spec.Names.Kind] = fmt.Sprintf("%s/%s/namespaces/default/%s",
			crd.Spec.Group, crd.Spec.Versions[0].Name, crd.Spec.Names.Plural)
	}
}

// awaitEstablished returns when the API server takes objects of the kind.
func (s server) awaitEstablished(t *testing.T, name string) {
	t.Helper()
	established := func(ctx context.Context) (bool, error) {
		crd, err := s.client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, established); err != nil {
		t.Fatalf("%s is not established: %v", name, err)
	}
}

// create sends the manifest as its author wrote it, for the server to judge
// strictly and not to keep.
func (s server) create(ctx context.Context, e example) error {
	return s.client.ApiextensionsV1().RESTClient().Post().
		AbsPath("/apis/"+s.resources[e.kind]).
		SetHeader("Content-Type", "application/yaml").
		Param("dryRun", metav1.DryRunAll).
		Param("fieldValidation", metav1.FieldValidationStrict).
		Body([]byte(e.text)).
		Do(ctx).Error()
}

func (s server) wantAccepted(t *testing.T, e example) {
	if err := s.create(t.Context(), e); err != nil {
		t.Error(err)
	}
}

func (s server) wantRefused(t *testing.T, e example) {
	if e.refusal == "" {
		t.Fatal("the first line does not say why this is refused")
	}
	err := s.create(t.Context(), e)
	if err == nil {
		t.Fatalf("accepted, want a refusal with %q", e.refusal)
	}
	if !strings.Contains(err.Error(), e.refusal) {
		t.Errorf("refused with %v\nwant %q in it", err, e.refusal)
	}
}

// wantExplained looks for a sentence of the overlay where `kubectl explain`
// finds it.
func (s server) wantExplained(t *testing.T) {
	for path, sentence := range map[string]string{
		"source.toolkit.fluxcd.io/v1":            "Which reference to follow.",
		"kustomize.toolkit.fluxcd.io/v1":         "Whether objects that leave Git are removed from the cluster.",
		"image.toolkit.fluxcd.io/v1":             "Who else may use the image.",
		"notification.toolkit.fluxcd.io/v1":      "Path to give to the host",
		"notification.toolkit.fluxcd.io/v1beta3": "Regular expressions of messages that count.",
	} {
		published := func(ctx context.Context) (bool, error) {
			data, err := s.client.Discovery().RESTClient().Get().AbsPath("/openapi/v3/apis/" + path).Do(ctx).Raw()
			return err == nil && strings.Contains(string(data), sentence), nil
		}
		if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, published); err != nil {
			t.Errorf("the server does not explain %s with %q: %v", path, sentence, err)
		}
	}
}
