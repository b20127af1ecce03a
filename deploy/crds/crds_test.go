package crds_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/deploy/crds"
)

func TestAllServesWhatFluxServes(t *testing.T) {
	all, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, crd := range all {
		for _, v := range crd.Spec.Versions {
			if v.Served && v.Storage {
				got[crd.Name] = v.Name
			}
		}
	}
	want := map[string]string{
		"gitrepositories.source.toolkit.fluxcd.io":       "v1",
		"kustomizations.kustomize.toolkit.fluxcd.io":     "v1",
		"imagepolicies.image.toolkit.fluxcd.io":          "v1",
		"imagerepositories.image.toolkit.fluxcd.io":      "v1",
		"imageupdateautomations.image.toolkit.fluxcd.io": "v1",
		"receivers.notification.toolkit.fluxcd.io":       "v1",
		"providers.notification.toolkit.fluxcd.io":       "v1beta3",
		"alerts.notification.toolkit.fluxcd.io":          "v1beta3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("served and stored versions (-want +got):\n%s", diff)
	}
}
