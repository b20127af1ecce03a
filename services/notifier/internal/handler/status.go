package handler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
	"github.com/sluice-cd/sluice/services/notifier/internal/outbox"
)

// statusContext is the name of a commit status: what spec.commitStatusExpr says, or the object with the beginning of the Provider's uid, which
// differs from cluster to cluster, behind the name of the cluster where it has one.
func (j *job) statusContext(ctx context.Context, a *alert.Alert, e *outbox.Entry) (string, error) {
	if j.name != nil {
		return j.evaluate(ctx, a, e)
	}
	first, _, _ := strings.Cut(string(j.provider.UID), "-")
	name := strings.ToLower(fmt.Sprintf("%s/%s/%s", e.Change.Object.Kind, e.Change.Object.Name, first))
	if j.sending.Cluster != "" {
		name = j.sending.Cluster + "/" + name
	}
	return name, nil
}

func (j *job) evaluate(ctx context.Context, a *alert.Alert, e *outbox.Entry) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	variables := map[string]any{}
	for name, v := range map[string]any{"event": &e.Event, "provider": j.provider, "alert": a.Alert} {
		var err error
		if variables[name], err = runtime.DefaultUnstructuredConverter.ToUnstructured(v); err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
	}
	name, err := j.name.Text(ctx, variables)
	if err == nil && (name == "" || len(name) > maxStatusName) {
		err = fmt.Errorf("evaluate expression: a name of %d bytes, want 1 to %d", len(name), maxStatusName)
	}
	return name, err
}

const (
	// maxStatusName bounds the name of a commit status, in bytes.
	maxStatusName = 255
	// nameTime is how long an expression for it may take.
	nameTime = 100 * time.Millisecond
)
