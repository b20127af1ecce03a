package handler

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/remote"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

const (
	// fetchDelay is when to come back should nobody wake who waits for a fetch: the process that fetches may end. Most fetches take less;
	// who comes back to one that waits for its turn goes on waiting.
	fetchDelay = 70 * time.Second
	// freshLeast bounds short intervals: there has to be time to get from the fetch to the run.
	freshLeast = 5 * time.Second
)

// request is a run that somebody asked for, and when this process saw that.
type request struct {
	value string
	at    time.Time
}

// WakeRender returns what wakes a Kustomization that waits for a fetch.
func WakeRender(b *bus.Conn) func(context.Context, types.NamespacedName) {
	return func(ctx context.Context, key types.NamespacedName) {
		_ = stage.Wake(ctx, b, state.StageRender, key, stage.Hint{Cause: "fetched"}) // it comes back by itself, only later
	}
}

// freshness is how old what was fetched may be. Who asks for a run gets what is there now.
func (h *Handler) freshness(k *kustomizev1.Kustomization, last state.Rendered) time.Duration {
	if asked := kube.RequestedAt(k); asked != last.RequestedAt {
		key := client.ObjectKeyFromObject(k)
		seen, known := h.requests.Load(key)
		if !known || seen.(request).value != asked {
			seen = request{asked, time.Now()}
			h.requests.Store(key, seen)
		}
		return time.Since(seen.(request).at)
	}
	return max(k.Spec.Interval.Duration*8/10, freshLeast)
}

// build renders, and has fetched what kustomizations name by address. remote.ErrUnderWay ends the run until that is there.
func (h *Handler) build(ctx context.Context, k *kustomizev1.Kustomization, last state.Rendered, files *tree.Tree, request render.Request) (*render.Result, error) {
	request.Remotes = map[render.Address]render.Remote{}
	for {
		result, err := h.Renderer.Render(ctx, files, request)
		needs, ok := errors.AsType[*render.NeedsRemotes](err)
		if !ok {
			return result, err
		}
		found, err := h.want(k, last, needs.Addresses)
		if err != nil {
			return nil, err
		}
		maps.Copy(request.Remotes, found)
	}
}

// want asks for what is behind addresses. That there is nothing is a fault.
func (h *Handler) want(k *kustomizev1.Kustomization, last state.Rendered, addresses []render.Address) (map[render.Address]render.Remote, error) {
	found, err := h.Remotes.Want(client.ObjectKeyFromObject(k), addresses, h.freshness(k, last))
	if bad, ok := errors.AsType[*remote.Error](err); ok {
		return nil, fault(meta.BuildFailedReason, "%w", bad)
	}
	return found, err
}

// sameRemotes says whether the addresses that the last render used still lead to the same. Where that was another process's render, it
// does not know.
func (h *Handler) sameRemotes(k *kustomizev1.Kustomization, last state.Rendered) (bool, error) {
	if last.Remotes == "" {
		return true, nil
	}
	used, known := h.remotes.Load(client.ObjectKeyFromObject(k))
	if !known || h.Remotes == nil {
		return false, nil
	}
	found, err := h.want(k, last, used.([]render.Address))
	if err != nil {
		return false, err
	}
	ids := make(map[render.Address]string, len(found))
	for a, r := range found {
		ids[a] = r.ID
	}
	return h.digestRemotes(ids) == last.Remotes, nil
}

// noteRemotes remembers the addresses that a render used, and returns their digest.
func (h *Handler) noteRemotes(k *kustomizev1.Kustomization, used map[render.Address]string) string {
	if len(used) == 0 {
		h.remotes.Delete(client.ObjectKeyFromObject(k))
		return ""
	}
	h.remotes.Store(client.ObjectKeyFromObject(k), slices.Collect(maps.Keys(used)))
	return h.digestRemotes(used)
}

// digestRemotes is keyed, as an address can hold what is secret.
func (h *Handler) digestRemotes(ids map[render.Address]string) string {
	lines := make([]string, 0, len(ids))
	for a, id := range ids {
		lines = append(lines, fmt.Sprintf("%d %q %s\n", a.Form, a.Text, id))
	}
	slices.Sort(lines)
	mac := hmac.New(sha256.New, h.Sealer.NameKey())
	for _, line := range lines {
		mac.Write([]byte(line))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
