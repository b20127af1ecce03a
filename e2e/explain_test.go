package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// TestKubectlExplain asks, as a user does, what a field is for.
func TestKubectlExplain(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("no kubectl on PATH")
	}
	for _, field := range []string{"gitrepository.spec.ref", "kustomization.spec.prune"} {
		// The API server publishes the schema of a new definition a little later than it serves it.
		harness.Until(t, settle, "explain "+field, func() error {
			out, err := exec.CommandContext(t.Context(), kubectl, "--kubeconfig", world.Plane.Kubeconfig(), "explain", field).CombinedOutput()
			_, description, found := strings.Cut(string(out), "DESCRIPTION:")
			if words := len(strings.Fields(description)); err != nil || !found || words < 3 || strings.Contains(description, "<empty>") {
				return fmt.Errorf("it says nothing: %w\n%s", err, out)
			}
			return nil
		})
	}
}
