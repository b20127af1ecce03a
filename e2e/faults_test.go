package e2e

import (
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// badSources are the faults that a GitRepository tells.
func badSources() []badInput {
	return []badInput{
		{
			name: "semver range", reason: sourcev1.GitOperationFailedReason, says: "no range at all",
			make: func(s *scene) harness.Resource {
				return s.source(func(r *sourcev1.GitRepositorySpec) {
					r.Reference = &sourcev1.GitRepositoryRef{SemVer: "no range at all"}
				})
			},
			mend: func(s *scene) {
				s.changeSource(func(r *sourcev1.GitRepositorySpec) { r.Reference = &sourcev1.GitRepositoryRef{Branch: "main"} })
			},
		},
		{
			name: "password in the URL", reason: sourcev1.URLInvalidReason, says: "URL",
			make: func(s *scene) harness.Resource {
				return s.source(func(r *sourcev1.GitRepositorySpec) {
					r.URL = strings.Replace(r.URL, "://", "://jane:"+canary+"@", 1)
				})
			},
			mend: func(s *scene) {
				s.changeSource(func(r *sourcev1.GitRepositorySpec) { r.URL = s.e.Git.URL(s.namespace) })
			},
		},
		{
			name: "missing branch", reason: sourcev1.GitOperationFailedReason, says: "feature-x",
			make: func(s *scene) harness.Resource {
				return s.source(func(r *sourcev1.GitRepositorySpec) { r.Reference.Branch = "feature-x" })
			},
			mend: func(s *scene) { s.push(gittest.Commit{Branch: "feature-x", Files: goodFiles}) },
		},
		{
			name: "missing repository", reason: sourcev1.GitOperationFailedReason, says: "not found",
			make: func(s *scene) harness.Resource {
				return s.source(func(r *sourcev1.GitRepositorySpec) { r.URL = s.e.Git.URL("nobody") })
			},
			mend: func(s *scene) {
				s.changeSource(func(r *sourcev1.GitRepositorySpec) { r.URL = s.e.Git.URL(s.namespace) })
			},
		},
		{
			name: "wrong password", reason: sourcev1.AuthenticationFailedReason, says: "authentication",
			make: func(s *scene) harness.Resource {
				ref := s.secret("login", map[string]string{"username": "jane", "password": "wrong-" + canary})
				return s.source(func(r *sourcev1.GitRepositorySpec) { r.URL, r.SecretRef = s.locked.URL(s.namespace), ref })
			},
			mend: func(s *scene) {
				s.secret("login", map[string]string{"username": "jane", "password": "right-" + canary})
			},
		},
		{
			name: "missing secret", reason: sourcev1.AuthenticationFailedReason, says: `"login" not found`,
			make: func(s *scene) harness.Resource {
				return s.source(func(r *sourcev1.GitRepositorySpec) {
					r.URL, r.SecretRef = s.locked.URL(s.namespace), &meta.LocalObjectReference{Name: "login"}
				})
			},
			mend: func(s *scene) {
				s.secret("login", map[string]string{"username": "jane", "password": "right-" + canary})
			},
		},
		{
			name: "unknown host key", reason: sourcev1.AuthenticationFailedReason, says: "host key",
			make: func(s *scene) harness.Resource {
				ref := s.secret("key", s.sshSecret(true))
				return s.source(func(r *sourcev1.GitRepositorySpec) { r.URL, r.SecretRef = s.e.Git.SSHURL(s.namespace), ref })
			},
			mend: func(s *scene) { s.secret("key", s.sshSecret(false)) },
		},
	}
}

// badApplications are the faults that a Kustomization tells.
func badApplications() []badInput {
	return append(badBuilds(), badObjects()...)
}

// badBuilds are faults of what a Kustomization names and of the files in git.
func badBuilds() []badInput {
	return []badInput{
		{
			name: "missing source", reason: meta.ArtifactFailedReason, says: "/source' not found",
			make: func(s *scene) harness.Resource { s.e.Create(s.t, s.app); return s.app },
			mend: func(s *scene) { s.e.Create(s.t, s.repo) },
		},
		{
			name: "missing path", reason: meta.ArtifactFailedReason, says: "nowhere",
			make: func(s *scene) harness.Resource {
				return s.application(nil, func(k *kustomizev1.KustomizationSpec) { k.Path = "./nowhere" })
			},
			mend: func(s *scene) {
				s.push(gittest.Commit{Files: map[string]string{"nowhere/a.yaml": goodFiles["app/configmap.yaml"]}})
			},
		},
		{
			name: "bad YAML", reason: meta.BuildFailedReason, says: "app/broken.yaml",
			make: func(s *scene) harness.Resource {
				return s.application(map[string]string{"app/broken.yaml": "kind: ConfigMap\n  metadata: [\n"})
			},
			mend: func(s *scene) { s.push(gittest.Commit{Delete: []string{"app/broken.yaml"}}) },
		},
		{
			name: "no object", reason: meta.BuildFailedReason, says: "app/broken.yaml",
			make: func(s *scene) harness.Resource {
				return s.application(map[string]string{"app/broken.yaml": "kind: ConfigMap\nmetadata: {}\n"})
			},
			mend: func(s *scene) { s.push(gittest.Commit{Delete: []string{"app/broken.yaml"}}) },
		},
		{
			name: "kustomize", reason: meta.BuildFailedReason, says: "forgotten.yaml",
			make: func(s *scene) harness.Resource {
				return s.application(map[string]string{"app/kustomization.yaml": "resources: [configmap.yaml, forgotten.yaml]\n"})
			},
			mend: func(s *scene) {
				s.push(gittest.Commit{Files: map[string]string{"app/forgotten.yaml": harness.ConfigMap("forgotten", nil)}})
			},
		},
		{
			name: "variables from a missing secret", reason: meta.BuildFailedReason, says: "/variables'",
			make: func(s *scene) harness.Resource {
				files := map[string]string{"app/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: made\nstringData:\n  token: ${TOKEN}\n"}
				return s.application(files, func(k *kustomizev1.KustomizationSpec) {
					k.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "Secret", Name: "variables"}}}
				})
			},
			mend: func(s *scene) { s.secret("variables", map[string]string{"TOKEN": canary}) },
		},
	}
}

// badObjects are faults that only the API server sees, or that only time mends.
func badObjects() []badInput {
	return []badInput{
		{
			name: "rejected object", reason: meta.ReconciliationFailedReason, says: "/web",
			make: func(s *scene) harness.Resource {
				return s.application(map[string]string{"app/service.yaml": service("99999")})
			},
			mend: func(s *scene) {
				s.push(gittest.Commit{Files: map[string]string{"app/service.yaml": service("80")}})
			},
		},
		{
			name: "field of a wrong type", reason: meta.ReconciliationFailedReason, says: "/web",
			make: func(s *scene) harness.Resource {
				return s.application(map[string]string{"app/service.yaml": service("{a: b}")})
			},
			mend: func(s *scene) {
				s.push(gittest.Commit{Files: map[string]string{"app/service.yaml": service("80")}})
			},
		},
		{
			name: "unknown kind", reason: meta.ReconciliationFailedReason, says: "Widget",
			make: func(s *scene) harness.Resource {
				return s.application(map[string]string{"app/widget.yaml": "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: gear\n"})
			},
			mend: func(s *scene) { s.push(gittest.Commit{Delete: []string{"app/widget.yaml"}}) },
		},
		{
			name: "missing namespace", reason: meta.ReconciliationFailedReason, says: "-later",
			make: func(s *scene) harness.Resource {
				return s.application(nil, func(k *kustomizev1.KustomizationSpec) { k.TargetNamespace = s.namespace + "-later" })
			},
			mend: func(s *scene) {
				s.e.Create(s.t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-later"}})
			},
		},
		{
			name: "missing dependency", reason: meta.DependencyNotReadyReason, says: "/base' not found",
			make: func(s *scene) harness.Resource {
				return s.application(nil, func(k *kustomizev1.KustomizationSpec) {
					k.DependsOn = []kustomizev1.DependencyReference{{Name: "base"}}
				})
			},
			mend: func(s *scene) { s.e.Create(s.t, s.e.Kustomization(s.namespace, "base", "source", "./app")) },
		},
	}
}

func service(port string) string {
	return "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports:\n  - port: " + port + "\n"
}
