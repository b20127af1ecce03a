package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/libs/registry/registrytest"
	"github.com/sluice-cd/sluice/libs/state"
)

// imageDeployment is a manifest with what must stay: comments, quotes, an odd order.
const imageDeployment = `# Of the team that makes it.
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
    replicas:   1   # never more
    selector: {matchLabels: {app: %[1]s}}
    template:
        metadata: {labels: {app: "%[1]s"}}
        spec:
            containers:
              - image: '%[2]s:1.0.0' # {"$imagepolicy": "%[3]s:%[1]s"}
                name: app
`

// images is a repository whose Deployments follow images of a registry.
type images struct {
	*harness.Env
	registry *registrytest.Server
	files    *gittest.Repository
	source   *sourcev1.GitRepository
	app      *kustomizev1.Kustomization
	auto     *automationv1.ImageUpdateAutomation
	names    []string
}

// followImages makes a repository of Deployments at image 1.0.0, with all objects that follow it. Sluice looks at the repository once a
// second, as nothing calls it.
func followImages(t *testing.T, e *harness.Env, names ...string) *images {
	t.Helper()
	i := &images{Env: e, registry: registrytest.Start(t, registrytest.Options{}), names: names}
	var err error
	if i.files, err = e.Git.CreateRepository(t.Context(), "fleet"); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names {
		files["deploy/"+name+".yaml"] = i.manifest(name, "1.0.0")
		i.push(t, name, "1.0.0")
	}
	if _, err := i.files.Commit(t.Context(), gittest.Commit{Files: files, Message: "begin"}); err != nil {
		t.Fatal(err)
	}
	i.source = e.GitRepository(e.Namespace, "fleet", e.Git.URL("fleet"), func(s *sourcev1.GitRepositorySpec) { s.Interval.Duration = time.Second })
	i.app = e.Kustomization(e.Namespace, "fleet", "fleet", "./deploy")
	i.auto = &automationv1.ImageUpdateAutomation{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "fleet"}}
	i.auto.Spec = automationv1.ImageUpdateAutomationSpec{
		SourceRef: automationv1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: "fleet"},
		Interval:  metav1.Duration{Duration: time.Hour},
		GitSpec: &automationv1.GitSpec{Commit: automationv1.CommitSpec{
			Author:          automationv1.CommitUser{Name: "Sluice", Email: "sluice@example.com"},
			MessageTemplate: "{{ range .Changed.Changes }}{{ .OldValue }} -> {{ .NewValue }}\n{{ end }}",
		}},
		Update: &automationv1.UpdateStrategy{Path: "./deploy", Strategy: automationv1.UpdateStrategySetters},
	}
	e.Create(t, i.source, i.app, i.auto)
	for _, name := range names {
		e.Create(t, i.repository(name), &imagev1.ImagePolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: name},
			Spec: imagev1.ImagePolicySpec{
				ImageRepositoryRef: meta.NamespacedObjectReference{Name: name},
				Policy:             imagev1.ImagePolicyChoice{SemVer: &imagev1.SemVerPolicy{Range: ">=1.0.0"}},
			},
		})
	}
	return i
}

func (i *images) image(name string) string { return i.registry.Host() + "/shop/" + name }

func (i *images) manifest(name, tag string) string {
	return strings.ReplaceAll(fmt.Sprintf(imageDeployment, name, i.image(name), i.Namespace), "1.0.0", tag)
}

func (i *images) repository(name string) *imagev1.ImageRepository {
	return &imagev1.ImageRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.Namespace, Name: name},
		Spec:       imagev1.ImageRepositorySpec{Image: i.image(name), Interval: metav1.Duration{Duration: time.Hour}},
	}
}

// push pushes a real image.
func (i *images) push(t *testing.T, name, tag string) {
	t.Helper()
	i.registry.Push(t, "shop/"+name, tag, registrytest.Image{Created: time.Now(), Labels: map[string]string{"tag": tag}})
}

// request asks for a scan, as a registry's webhook does.
func (i *images) request(ctx context.Context, name string) error {
	_, err := i.Request(ctx, i.repository(name))
	return err
}

// runs returns nil when the cluster runs an image.
func (i *images) runs(t *testing.T, name, tag string) error {
	d := &appsv1.Deployment{}
	if err := i.Client.Get(t.Context(), client.ObjectKey{Namespace: i.Namespace, Name: name}, d); err != nil {
		return err
	}
	return harness.Want("image of "+name, d.Spec.Template.Spec.Containers[0].Image, i.image(name)+":"+tag)
}

// history is the messages of all commits, oldest first, each on one line.
func (i *images) history(t *testing.T) []string {
	t.Helper()
	text, err := i.files.Git(t.Context(), nil, "log", "--reverse", "--format=%an: %B%x00", "main")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for message := range strings.SplitSeq(strings.TrimRight(text, "\x00\n"), "\x00") {
		list = append(list, strings.Join(strings.Fields(message), " "))
	}
	return list
}

func (i *images) file(t *testing.T, name string) string {
	t.Helper()
	text, err := i.files.Git(t.Context(), nil, "show", "main:deploy/"+name+".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestImageToCluster follows images from their push to the registry to the cluster, through one commit.
func TestImageToCluster(t *testing.T) {
	e := world.Start(t, harness.Options{Images: true})
	i := followImages(t, e, "api", "web")
	for _, name := range i.names {
		harness.Until(t, settle, "first image of "+name, func() error { return i.runs(t, name, "1.0.0") })
		harness.AwaitReady(t, e, &imagev1.ImagePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: name}}, settle)
	}
	harness.AwaitReady(t, e, i.auto, settle)
	if got := i.history(t); len(got) != 1 {
		t.Fatalf("there is a commit without anything to change: %q", got)
	}
	pushed := time.Now()
	for _, name := range i.names {
		i.push(t, name, "1.1.0")
		i.push(t, name, "2.0.0-rc.1") // a pre-release, which the range leaves out
		if err := i.request(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range i.names {
		harness.Until(t, settle, "new image of "+name, func() error { return i.runs(t, name, "1.1.0") })
		if got := strings.TrimRight(i.file(t, name), "\n"); got != strings.TrimRight(i.manifest(name, "1.1.0"), "\n") {
			t.Errorf("more than the value changed:\n%s", got)
		}
	}
	t.Logf("from push to cluster %s", time.Since(pushed).Round(time.Millisecond))
	want := "Sluice: " + i.image("api") + ":1.0.0 -> " + i.image("api") + ":1.1.0 " + i.image("web") + ":1.0.0 -> " + i.image("web") + ":1.1.0"
	if got := i.history(t); len(got) != 2 || got[1] != want {
		t.Errorf("commits are %q, want one more: %q", got, want)
	}
	harness.Await(t, e, i.auto, settle, "status", func(a *automationv1.ImageUpdateAutomation) error {
		head, err := i.files.Resolve(t.Context(), "main")
		if err != nil {
			return err
		}
		return harness.Want("last pushed commit", a.Status.LastPushCommit, head)
	})
	// Somebody goes back: that stands, until there is something newer.
	if _, err := i.files.Commit(t.Context(), gittest.Commit{Files: map[string]string{"deploy/api.yaml": i.manifest("api", "1.0.0")}, Message: "back"}); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, settle, "image that somebody set back", func() error { return i.runs(t, "api", "1.0.0") })
	i.push(t, "web", "1.2.0")
	if err := i.request(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, settle, "image after the step back", func() error { return i.runs(t, "web", "1.2.0") })
	if got := i.file(t, "api"); !strings.Contains(got, ":1.0.0'") {
		t.Errorf("the step back did not stand:\n%s", got)
	}
	i.push(t, "api", "1.2.0")
	if err := i.request(t.Context(), "api"); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, settle, "image newer than the one that was set back", func() error { return i.runs(t, "api", "1.2.0") })
}

// TestKillWhileImagesMove kills the services that follow images, and their cache, at any instant while images are pushed: nothing is committed
// twice, and the last image arrives.
func TestKillWhileImagesMove(t *testing.T) {
	duration := *killFor
	if testing.Short() {
		duration = min(duration, 10*time.Second)
	}
	rng := random(t)
	e := world.Start(t, harness.Options{Images: true})
	for _, service := range localrun.ImageServices {
		e.AddReplica(service)
	}
	e.AwaitReplicas()
	i := followImages(t, e, "api", "web", "job")
	for _, name := range i.names {
		harness.Until(t, settle, "first image of "+name, func() error { return i.runs(t, name, "1.0.0") })
	}
	last, kills := map[string]int{}, map[string]int{}
	for end := time.Now().Add(duration); time.Now().Before(end); {
		name := i.names[rng.IntN(len(i.names))]
		last[name]++
		i.push(t, name, fmt.Sprintf("1.0.%d", last[name]))
		if err := i.request(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		harness.Pause(t.Context(), time.Duration(rng.IntN(1500))*time.Millisecond)
		kills[i.kill(t, rng)]++
	}
	for _, name := range i.names {
		i.push(t, name, "1.1.0")
		if err := i.request(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	calm := time.Now()
	for _, name := range i.names {
		harness.Until(t, recovery, "last image of "+name, func() error { return i.runs(t, name, "1.1.0") })
	}
	t.Logf("%v images pushed, kills: %v; all in the cluster %s after the end", last, kills, time.Since(calm).Round(time.Millisecond))
	i.wantEachValueOnce(t)
	wantOneHand(t, e.Runs(t))
}

// kill kills a replica of one of the services, or the cache, and starts another.
func (i *images) kill(t *testing.T, rng *rand.Rand) string {
	t.Helper()
	if rng.IntN(5) == 0 {
		if err := i.Cache().Kill(); err != nil {
			t.Error(err)
		}
		<-i.Cache().Done()
		if err := i.StartCache(t.Context()); err != nil {
			t.Fatal(err)
		}
		return "cache"
	}
	replicas := i.Replicas(localrun.ImageServices[rng.IntN(2)])
	victim := replicas[rng.IntN(len(replicas))]
	if rng.IntN(2) == 0 {
		strike(t, i.Env, rng, victim)
	}
	i.KillReplica(victim)
	i.AddReplica(victim.Service)
	return victim.Service
}

// wantEachValueOnce holds that no commit changed nothing, and none wrote what an earlier one wrote.
func (i *images) wantEachValueOnce(t *testing.T) {
	t.Helper()
	history := i.history(t)
	var written []string
	for _, message := range history[1:] {
		changes := strings.Fields(strings.TrimPrefix(message, "Sluice: "))
		if len(changes) == 0 {
			t.Errorf("a commit without change: %q", history)
		}
		for n := 2; n < len(changes); n += 3 {
			written = append(written, changes[n])
		}
	}
	slices.Sort(written)
	if once := slices.Compact(slices.Clone(written)); len(once) != len(written) {
		t.Errorf("values were written more than once: %q", history)
	}
	t.Logf("%d commits of %d values", len(history)-1, len(written))
}

// TestKillDuringHugeListing kills the scanner that is in the middle of a listing of 10,000 tags: the other one goes on where it stopped.
func TestKillDuringHugeListing(t *testing.T) {
	const tags, pageSize = 10_000, 100
	e := world.Start(t, harness.Options{Images: true, Flags: []string{"--log-level", "debug"}})
	e.AddReplica("registry-scanner")
	e.AwaitReplicas()
	server := registrytest.Start(t, registrytest.Options{PageSize: pageSize})
	names := make([]string, tags)
	for i := range names {
		names[i] = fmt.Sprintf("v%05d", i)
	}
	server.SetTags("shop/huge", names...)
	repository := &imagev1.ImageRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "huge"},
		Spec:       imagev1.ImageRepositorySpec{Image: server.Host() + "/shop/huge", Interval: metav1.Duration{Duration: time.Hour}},
	}
	pages := func() int { return server.Count("GET /v2/shop/huge/tags/") }
	e.Create(t, repository)
	harness.Until(t, settle, "a third of the pages", func() error {
		if n := pages(); n < tags/pageSize/3 {
			return fmt.Errorf("%d pages", n)
		}
		return nil
	})
	scanner := scannerAt(t, e, "huge")
	e.KillReplica(scanner)
	killed, before := time.Now(), pages()
	harness.Until(t, settle, "pages for the other scanner", func() error {
		if n := pages(); n == before {
			return fmt.Errorf("%d pages", n)
		}
		return nil
	})
	t.Logf("%s killed after %d pages, the other one went on %s later", scanner.Name, before, time.Since(killed).Round(time.Millisecond))
	harness.AwaitReady(t, e, repository, recovery)
	if n := repository.Status.LastScanResult.TagCount; n != tags {
		t.Errorf("%d tags, want %d", n, tags)
	}
	// A listing is kept every five pages, and what was asked for at the end may be lost with the process.
	if n := pages(); n > tags/pageSize+6 {
		t.Errorf("%d requests for %d pages and one kill", n, tags/pageSize)
	}
	wantOneHand(t, e.Runs(t))
}

// scannerAt is the scanner that is at an image now, or was last.
func scannerAt(t *testing.T, e *harness.Env, name string) *localrun.Replica {
	t.Helper()
	runs := slices.DeleteFunc(e.Runs(t), func(r harness.Run) bool {
		return r.Stage != state.StageScan || !strings.HasSuffix(r.Object, "/"+name)
	})
	for _, r := range e.Replicas("registry-scanner") {
		if len(runs) > 0 && r.Name == runs[len(runs)-1].Replica {
			return r
		}
	}
	t.Fatalf("nobody scans %s", name)
	return nil
}
