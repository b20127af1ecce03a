package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// TestDecryptedSecretIsSeenNowhere applies a Secret that is encrypted in git, one that the API server refuses, and one made of an
// encrypted file; lets somebody edit it, and makes the services crash. What was decrypted must be in the cluster, and nowhere else: not
// in the files of the bus, in logs, stacks, Events, conditions, or metrics. (testdata/canary holds the files, and the key to them, which
// opens nothing else.)
func TestDecryptedSecretIsSeenNowhere(t *testing.T) {
	e := world.Start(t, harness.Options{})
	s := newScene(t, e, e.Git)
	s.secret("keys", map[string]string{"team.agekey": canaryFile(t, "key.txt")})
	s.secret("variables", map[string]string{"SUFFIX": canary})
	encrypted := func(k *kustomizev1.KustomizationSpec) {
		k.Decryption = &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: "keys"}}
		k.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "Secret", Name: "variables"}}}
	}
	s.application(map[string]string{
		"app/kustomization.yaml": "resources: [secret.yaml]\nsecretGenerator:\n- name: generated\n  envs: [settings.env]\n",
		"app/secret.yaml":        canaryFile(t, "secret.yaml"), "app/settings.env": canaryFile(t, "settings.env"),
		"broken/secret.yaml": canaryFile(t, "broken.yaml"),
	}, encrypted)
	harness.AwaitReady(t, e, s.app, settle)
	wantCanary(t, s)

	broken := e.Kustomization(s.namespace, "broken", "source", "./broken", encrypted)
	e.Create(t, broken)
	wantFault(t, e, broken, badInput{reason: meta.ReconciliationFailedReason, says: "Secret/" + s.namespace + "/broken"})
	editSecret(t, s)
	s.push(gittest.Commit{Files: map[string]string{"app/kustomization.yaml": "resources: [secret.yaml, gone.yaml]\n"}})
	wantFault(t, e, s.app, badInput{reason: meta.BuildFailedReason, says: "gone.yaml"})

	wantNoCanaryInMetrics(t, e)
	dumpStacks(t, e)
	wantNoCanary(t, e, 1)
	wantNoCanaryOnDisk(t, e)
}

func canaryFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "canary", name))
	if err != nil {
		t.Fatal(err)
	}
	if name != "key.txt" && strings.Contains(string(data), canary) {
		t.Fatalf("%s is not encrypted", name)
	}
	return string(data)
}

// wantCanary holds that the values arrived: where they did not, looking for them elsewhere proves nothing.
func wantCanary(t *testing.T, s *scene) {
	t.Helper()
	var list corev1.SecretList
	if err := s.e.Client.List(t.Context(), &list, client.InNamespace(s.namespace)); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, secret := range list.Items {
		for _, value := range secret.Data {
			if strings.HasPrefix(string(value), canary) {
				found[strings.SplitN(secret.Name, "-", 2)[0]] = true
			}
		}
	}
	if !found["canary"] || !found["generated"] {
		t.Fatalf("decrypted Secrets in the cluster: %v", found)
	}
}

// editSecret lets somebody change a decrypted value, and waits for its repair.
func editSecret(t *testing.T, s *scene) {
	t.Helper()
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = s.namespace, "canary"
	harness.Change(t, s.e, secret, func(c *corev1.Secret) { c.Data["token"] = []byte("edited") })
	harness.Until(t, settle, "the repair of the Secret", func() error {
		if err := s.e.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		if string(secret.Data["token"]) != canary+"-"+canary {
			return fmt.Errorf("the value is another")
		}
		return nil
	})
}

func wantNoCanaryInMetrics(t *testing.T, e *harness.Env) {
	t.Helper()
	for _, r := range e.Replicas("") {
		answer, err := http.Get(r.MetricsURL())
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || !strings.Contains(string(text), "sluice_") {
			t.Fatalf("metrics of %s: %d bytes, %v", r.Name, len(text), err)
		}
		wantNoneOf(t, "the metrics of "+r.Name, string(text))
	}
}

// dumpStacks makes each service end as in a crash, with the stacks of all its goroutines in its log.
func dumpStacks(t *testing.T, e *harness.Env) {
	t.Helper()
	for _, r := range e.Replicas("") {
		if err := r.Signal(syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		select {
		case <-r.Done():
		case <-time.After(settle):
			t.Fatalf("%s did not end", r.Name)
		}
		log, err := os.ReadFile(r.Log)
		if err != nil || !strings.Contains(string(log), "goroutine ") {
			t.Errorf("no stacks in %s, %v", r.Log, err)
		}
	}
}

// wantNoCanaryOnDisk looks at every file that bus and services left behind, but for the git server's.
func wantNoCanaryOnDisk(t *testing.T, e *harness.Env) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(e.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		wantNoneOf(t, path, string(data))
		return nil
	})
	if err != nil || files < 20 {
		t.Fatalf("looked at %d files, %v", files, err)
	}
	t.Logf("looked at %d files", files)
}

// wantNoneOf also looks for the value as Secrets and headers hold it, wherever it begins there.
func wantNoneOf(t *testing.T, where, text string) {
	t.Helper()
	forms := []string{canary}
	for before := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte("xxx"[:before] + canary))
		forms = append(forms, encoded[(8*before+5)/6:8*(before+len(canary))/6]) // the characters that nothing else is in
	}
	for _, form := range forms {
		if strings.Contains(text, form) {
			t.Errorf("a secret is in %s", where)
		}
	}
}
