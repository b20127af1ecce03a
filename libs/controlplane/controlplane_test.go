//go:build unix

package controlplane_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
)

// start gives a control plane of the test's own, whatever cluster is given.
func start(t *testing.T, options controlplane.Options) *controlplane.ControlPlane {
	t.Helper()
	t.Setenv(controlplane.EnvKubeconfig, "")
	return controlplanetest.ForTest(t, options)
}

func TestControllersRunDeploymentsAndDeleteNamespaces(t *testing.T) {
	c := start(t, controlplane.Options{ControllerManager: true, Scheduler: true})
	api, ctx := client(t, c), t.Context()

	makeNamespace(t, api, "shop")
	makeDeployment(t, api, "shop", "web")
	eventually(t, "the Deployment has a Pod", 20*time.Second, func() bool {
		pods, err := api.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		return err == nil && len(pods.Items) == 1
	})
	if err := api.CoreV1().Namespaces().Delete(ctx, "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is gone", 60*time.Second, func() bool {
		_, err := api.CoreV1().Namespaces().Get(ctx, "shop", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})

	usage, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		if u := usage[name]; u.PID == 0 || u.ResidentBytes < 1<<20 {
			t.Errorf("usage of %s = %+v, want a process with memory", name, u)
		}
	}
	if seconds, err := c.CPUSeconds(); err != nil || seconds <= 0 {
		t.Errorf("CPUSeconds() = %v, %v, want more than none", seconds, err)
	}
}

func TestOutageOfTheAPIServer(t *testing.T) {
	c := start(t, controlplane.Options{})
	api, ctx := client(t, c), t.Context()
	makeNamespace(t, api, "shop")

	if err := c.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CoreV1().Namespaces().Get(ctx, "shop", metav1.GetOptions{}); err == nil {
		t.Error("a stopped API server answers")
	}
	if _, ok := c.PIDs()["etcd"]; !ok {
		t.Error("etcd does not run while the API server is stopped")
	}
	if err := c.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CoreV1().Namespaces().Get(ctx, "shop", metav1.GetOptions{}); err != nil {
		t.Errorf("the same client after the outage: %v", err)
	}

	if err := c.PauseAPIServer(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := api.CoreV1().Namespaces().Get(short, "shop", metav1.GetOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("request to a paused API server: %v, want no answer in time", err)
	}
	if err := c.ResumeAPIServer(); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CoreV1().Namespaces().Get(ctx, "shop", metav1.GetOptions{}); err != nil {
		t.Errorf("request after the pause: %v", err)
	}
}

func TestAPIServer(t *testing.T) {
	c := start(t, controlplane.Options{})
	t.Run("watch from the present state", func(t *testing.T) { testWatch(t, c) })
	t.Run("access", func(t *testing.T) { testAccess(t, c) })
	t.Run("kubectl knows the version", func(t *testing.T) { testVersion(t, c) })
}

// A watch that starts with the present state ends its first part with a
// bookmark. The API server needs progress reports of etcd for it.
func testWatch(t *testing.T, c *controlplane.ControlPlane) {
	api := client(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events, err := api.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{
		SendInitialEvents:    new(true),
		AllowWatchBookmarks:  true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		if event.Type == watch.Bookmark {
			return
		}
		if event.Type != watch.Added {
			t.Fatalf("event %v, want namespaces and then a bookmark", event)
		}
	}
	t.Fatal("the watch ended without a bookmark")
}

func testAccess(t *testing.T, c *controlplane.ControlPlane) {
	ctx := t.Context()

	info, err := os.Stat(c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the kubeconfig file = %v, want 0600", info.Mode())
	}
	if config := c.RESTConfig(); config.Insecure || len(config.CAData) == 0 {
		t.Error("the configuration does not verify the server by an authority")
	}

	if metrics, err := client(t, c).RESTClient().Get().AbsPath("/metrics").DoRaw(ctx); err != nil ||
		!strings.Contains(string(metrics), "apiserver_request_total") {
		t.Errorf("no request counts in /metrics: %v", err)
	}
	nobody, err := kubernetes.NewForConfig(rest.AnonymousClientConfig(c.RESTConfig()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a request without token: %v, want it forbidden", err)
	}
}

func testVersion(t *testing.T, c *controlplane.ControlPlane) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not on PATH")
	}
	out, err := exec.Command(kubectl, "--kubeconfig", c.Kubeconfig(), "version", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var version struct {
		ServerVersion struct{ Major, Minor, GitVersion string }
	}
	if err := json.Unmarshal(out, &version); err != nil {
		t.Fatal(err)
	}
	server := version.ServerVersion
	if !strings.HasPrefix(server.GitVersion, "v"+server.Major+"."+server.Minor+".") || server.Major == "" {
		t.Errorf("server version = %+v, want three parts that agree", server)
	}
}

func TestGivenFolderKeepsItsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	first := start(t, controlplane.Options{Dir: dir})
	makeNamespace(t, client(t, first), "shop")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, controlplane.Options{Dir: dir})
	if _, err := client(t, second).CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{}); err != nil {
		t.Errorf("namespace of the first start: %v", err)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	c := start(t, controlplane.Options{})
	pids := c.PIDs()
	if len(pids) != 2 {
		t.Errorf("servers = %v, want etcd and kube-apiserver", pids)
	}
	if err := c.PauseAPIServer(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(c.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary folder after Stop: %v, want it gone", err)
	}
	for name, pid := range pids {
		if alive(pid) {
			t.Errorf("%s still runs", name)
		}
	}
	if err := c.StartAPIServer(t.Context()); err == nil {
		t.Error("the API server starts after Stop")
	}
}

func TestFailedStartTellsWhyAndLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	_, err := controlplane.Start(t.Context(), controlplane.Options{
		APIServerFlags: []string{"--authorization-mode=NoSuchMode"},
	})
	if !errors.Is(err, controlplane.ErrEnded) || !strings.Contains(err.Error(), "NoSuchMode") {
		t.Errorf("error = %v, want ErrEnded with the end of the log", err)
	}
	entries, err := os.ReadDir(temporary)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("a failed start leaves %v", entries)
	}
}

func TestGivenCluster(t *testing.T) {
	own := start(t, controlplane.Options{})
	t.Setenv(controlplane.EnvKubeconfig, own.Kubeconfig())
	given := controlplanetest.ForTest(t, controlplane.Options{})

	makeNamespace(t, client(t, given), "shop")
	if !given.Given() || given.Dir() != "" || len(given.PIDs()) > 0 {
		t.Errorf("given cluster: Given() = %v, Dir() = %q, PIDs() = %v", given.Given(), given.Dir(), given.PIDs())
	}
	for name, call := range map[string]func() error{
		"StopAPIServer":   given.StopAPIServer,
		"StartAPIServer":  func() error { return given.StartAPIServer(t.Context()) },
		"PauseAPIServer":  given.PauseAPIServer,
		"ResumeAPIServer": given.ResumeAPIServer,
	} {
		if err := call(); !errors.Is(err, controlplane.ErrGiven) {
			t.Errorf("%s() = %v, want ErrGiven", name, err)
		}
	}
	if err := given.Stop(); err != nil {
		t.Errorf("Stop() = %v", err)
	}
	if _, err := client(t, own).CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{}); err != nil {
		t.Errorf("the cluster after Stop of who was given it: %v", err)
	}
}

func makeNamespace(t *testing.T, api *kubernetes.Clientset, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := api.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func makeDeployment(t *testing.T, api *kubernetes.Clientset, namespace, name string) {
	t.Helper()
	labels := map[string]string{"app": name}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: "example.test/web:1"}}},
			},
		},
	}
	if _, err := api.AppsV1().Deployments(namespace).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestStartFromAFolderOfPrograms(t *testing.T) {
	t.Setenv(controlplane.EnvAssets, programFolder(t))
	c := start(t, controlplane.Options{})
	makeNamespace(t, client(t, c), "shop")
}
