package update

import (
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

func TestSignedWithOptionsToTwoPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	w.commit("first", map[string]string{"apps/web.yaml": deployment, "other/web.yaml": deployment})
	if err := w.repo.Config(t.Context(), "receive.advertisePushOptions", "true"); err != nil {
		t.Fatal(err)
	}
	told := filepath.Join(t.TempDir(), "options")
	hook("echo $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1 > '" + told + "'")(w)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key"}, Data: map[string][]byte{"identity": pem.EncodeToMemory(block)}})
	w.start()
	w.source()
	w.policy("web", "*")
	w.automation(func(a *automationv1.ImageUpdateAutomation) {
		a.Spec.Update.Path = "./apps"
		a.Spec.GitSpec.Commit.SigningKey = &automationv1.SigningKey{SecretRef: meta.LocalObjectReference{Name: "key"}, Type: automationv1.SigningKeyTypeSSH}
		a.Spec.GitSpec.Push = &automationv1.PushSpec{
			Refspec: "refs/heads/main:refs/heads/review", Options: map[string]string{"merge_request.create": "", "merge_request.target": "release"},
		}
	})
	w.choose("web", "1.1.0")
	w.until("a commit", func() bool { return w.get().Status.LastPushCommit != "" })
	if raw := w.gitOut("cat-file", "commit", "main"); !strings.Contains(raw, "gpgsig -----BEGIN SSH SIGNATURE-----") {
		t.Errorf("commit is not signed:\n%s", raw)
	}
	if w.gitOut("rev-parse", "main") != w.gitOut("rev-parse", "review") {
		t.Error("the refspec was not pushed to")
	}
	if got, err := os.ReadFile(told); err != nil || string(got) != "merge_request.create merge_request.target=release\n" {
		t.Errorf("push options are %q, %v", got, err)
	}
	if strings.Contains(w.file("other/web.yaml"), "1.1.0") || !strings.Contains(w.file("apps/web.yaml"), "1.1.0") {
		t.Error("the path was not heeded")
	}
}

// TestHalfAPushIsTold: where the server cannot move two refs together and refuses the second, the commit is told of, and what is missing is
// told and done later.
func TestHalfAPushIsTold(t *testing.T) {
	t.Parallel()
	w := ready(t, func(a *automationv1.ImageUpdateAutomation) {
		a.Spec.GitSpec.Push = &automationv1.PushSpec{Refspec: "refs/heads/main:refs/heads/review"}
	})
	if err := w.repo.Config(t.Context(), "receive.advertiseAtomic", "false"); err != nil {
		t.Fatal(err)
	}
	if err := w.repo.InstallHook("update", `[ "$1" != refs/heads/review ]`); err != nil {
		t.Fatal(err)
	}
	w.choose("web", "1.1.0")
	w.until("the half is told", func() bool {
		c := w.condition(meta.ReadyCondition)
		return c.Status == metav1.ConditionFalse && c.Reason == reasonPartial && strings.Contains(c.Message, "refs/heads/review")
	})
	head := w.gitOut("rev-parse", "main")
	if got := w.get().Status.LastPushCommit; got != head || !w.runs("1.1.0") {
		t.Errorf("status tells of commit %q; want %s, which is in the branch", got, head)
	}
	w.until("an Event", func() bool { return w.told(reasonPartial) == 1 })
	if err := w.repo.InstallHook("update", ""); err != nil {
		t.Fatal(err)
	}
	w.until("both halves", func() bool { return w.condition(meta.ReadyCondition).Status == metav1.ConditionTrue })
	if got := w.gitOut("rev-parse", "review"); got != head || w.gitOut("rev-parse", "main") != head || w.facts(bus.FactImageUpdated) != 1 {
		t.Errorf("review is at %s; want %s, without another commit or fact", got, head)
	}
}

func TestCrossNamespaceReferencesCanBeForbidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	w.start(func(c *Config) { c.Env.NoCrossNamespaceRefs = true })
	w.automation(func(a *automationv1.ImageUpdateAutomation) { a.Spec.SourceRef.Namespace = "default" })
	w.until("a refusal", func() bool {
		return w.condition(meta.ReadyCondition).Reason == acl.AccessDeniedReason && w.condition(meta.StalledCondition).Status == metav1.ConditionTrue
	})
}

// TestNewestRanksByBuildTime: whether a choice is newer than what is there is known from the cache, and names do not matter.
func TestNewestRanksByBuildTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	w.commit("first", map[string]string{"web.yaml": strings.ReplaceAll(deployment, "1.0.0", "zulu")})
	withImages := w.withImages()
	built := func(c *imagecache.Cache, tag string, at int64) {
		digest := "sha256:" + strings.Repeat(string("0123456789abcdef"[at%16]), 64)
		scope := imagecache.Scope{Image: "ghcr.io/org/web", Credential: "c"}
		if err := c.PutDigest(t.Context(), scope, tag, imagecache.Digest{Digest: digest, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if err := c.PutMetadata(t.Context(), "ghcr.io", &registry.Metadata{Digest: digest, Created: time.Unix(at, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	w.start(withImages, func(c *Config) {
		built(c.Cache, "zulu", 1002)
		built(c.Cache, "old", 1001)
		built(c.Cache, "new", 1003)
	})
	w.source()
	w.policy("web", "*", func(p *imagev1.ImagePolicy) { p.Annotations = map[string]string{policy.OrderAnnotation: "newest"} })
	w.automation()
	chosen := func(at int64) func(*state.Chosen) {
		return func(c *state.Chosen) { c.Credential, c.Created = "c", time.Unix(at, 0) }
	}
	w.choose("web", "old", chosen(1001))
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonDowngrade })
	w.choose("web", "new", chosen(1003))
	w.until("the newer one", func() bool { return w.runs("new") })

	// Whatever nobody knows the age of may be newer.
	w.commit("by hand", map[string]string{"web.yaml": strings.ReplaceAll(deployment, "1.0.0", "mine")})
	w.choose("web", "newer", chosen(1004))
	w.until("another hold", func() bool {
		c := w.condition(heldCondition)
		return c.Reason == reasonUnknownAge && strings.Contains(c.Message, "when mine was built is not known")
	})
	if !w.runs("mine") {
		t.Error("what may be newer was replaced")
	}
}

// TestHugeFilesAreTold: what nobody looks at may hold markers.
func TestHugeFilesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	w.commit("first", map[string]string{"web.yaml": deployment, "huge.yaml": strings.Repeat("# x\n", maxRead/4+1)})
	w.start()
	w.source()
	w.policy("web", "*")
	w.automation()
	w.choose("web", "1.1.0")
	w.until("the other file", func() bool { return w.runs("1.1.0") })
	w.until("a word about it", func() bool {
		c := w.condition(meta.ReadyCondition)
		return c.Status == metav1.ConditionTrue && strings.Contains(c.Message, "huge.yaml")
	})
	w.until("an Event", func() bool { return w.told(reasonTooLarge) == 1 })
}
