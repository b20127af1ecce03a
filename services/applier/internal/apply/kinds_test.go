package apply

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// A group whose server is down is not a group that is gone: what is in it must stay in the inventory.
func TestGroupThatIsDown(t *testing.T) {
	f := setUp(t, Config{})
	service := f.apply(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.down.sluice.dev}
spec: {group: down.sluice.dev, version: v1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: {name: none, namespace: NS}}
`).Inventory
	defer f.prune(service, inventory.Inventory{})
	var inv inventory.Inventory
	inv.Add(inventory.ID{Namespace: f.namespace, Name: "a", Group: "down.sluice.dev", Kind: "Thing"}, "v1")
	deadline := time.Now().Add(10 * time.Second)
	for length, more := firstPause, true; ; {
		result, err := f.Prune(t.Context(), inv, inventory.Inventory{}, f.options)
		if KindOf(err) == Unavailable && result.Remaining.Len() == 1 {
			break
		}
		if length, more = pause(t.Context(), length, deadline); !more {
			t.Fatalf("changes %v, error %v", result.Changes, err)
		}
	}
	// Its being down keeps nothing else.
	f.want(f.apply(configMap("a", "1")).Changes, "ConfigMap/a created")
	_, failures := f.applyFails(configMap("b", "1") + "---\n{apiVersion: down.sluice.dev/v1, kind: Thing, metadata: {name: a, namespace: NS}}")
	if failures.Kind() != Unavailable || !strings.Contains(failures.Error(), "down.sluice.dev") || len(failures.Objects) != 1 {
		t.Errorf("%s: %v", failures.Kind(), failures)
	}
}
