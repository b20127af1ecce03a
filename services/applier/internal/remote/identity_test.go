package remote

import (
	"strings"
	"testing"
)

// What a cloud gives applier itself must not go to an address that whoever writes the ConfigMap chose.
func TestOwnTokenOfACloudGoesToNoChosenAddress(t *testing.T) {
	identities, err := NewIdentities(nil, false, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, cloud := range []string{"aws", "azure", "gcp"} {
		_, err := identities.Config(t.Context(), "shop", map[string]string{"provider": cloud, "address": "https://192.0.2.1", "cluster": "a"})
		if err == nil || !strings.Contains(err.Error(), "address needs serviceAccountName") {
			t.Errorf("%s: got %v", cloud, err)
		}
	}
}
