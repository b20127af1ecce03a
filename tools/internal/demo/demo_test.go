package demo_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/libs/localrun"
)

// binDir holds sluice and the services, built from this source.
var binDir string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-demo-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binDir = dir
	const module = "github.com/sluice-cd/sluice/"
	args := []string{"build", "-trimpath", "-o", dir, module + "tools/cmd/sluice", module + "tools/cmd/" + localrun.Bus}
	for _, service := range slices.Concat(localrun.Services, localrun.ImageServices, localrun.HookServices, localrun.TellServices) {
		args = append(args, module+"services/"+service+"/cmd/"+service)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return m.Run()
}

// titles are how the output numbers the commits.
var titles = regexp.MustCompile(`(?m)^ ?\d+  (shop|guestbook|status-page): `)

// running is a demo that was started as a user starts it.
type running struct {
	cmd    *exec.Cmd
	temp   string // its folder for temporary files
	lines  chan string
	output bytes.Buffer
	stderr bytes.Buffer
}

func start(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	d := &running{temp: t.TempDir(), lines: make(chan string, 1000)}
	d.cmd = exec.Command(filepath.Join(binDir, "sluice"), append([]string{"demo"}, args...)...)
	// The control plane is known by the folder that the test is in; its programs are built before the demo runs.
	d.cmd.Env = append(append(os.Environ(), "TMPDIR="+d.temp, controlplane.EnvKubeconfig+"="), env...)
	d.cmd.Stderr = &d.stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("output:\n%s%s", d.output.String(), d.stderr.String())
		}
	})
	go d.read(out)
	return d
}

func (d *running) read(out io.Reader) {
	defer close(d.lines)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		d.lines <- lines.Text()
	}
}

// until reads the output to a line with the text.
func (d *running) until(t *testing.T, text string) (line string) {
	t.Helper()
	timeout := time.After(5 * time.Minute)
	for {
		select {
		case line, more := <-d.lines:
			if !more {
				t.Fatalf("the output ended before a line with %q", text)
			}
			d.output.WriteString(line + "\n")
			if strings.Contains(line, text) {
				return line
			}
		case <-timeout:
			t.Fatalf("no line with %q in five minutes", text)
		}
	}
}

// end reads the rest of the output and returns how the demo ended.
func (d *running) end() error {
	for line := range d.lines {
		d.output.WriteString(line + "\n")
	}
	return d.cmd.Wait()
}

// leavesNothing fails the test when a process or a file of the demo is left.
func (d *running) leavesNothing(t *testing.T) {
	t.Helper()
	if left := processesOf(d.temp); len(left) > 0 {
		t.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
	}
	entries, err := os.ReadDir(d.temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left", e.Name())
	}
}

// processesOf lists the running processes whose command line names the folder.
func processesOf(folder string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(folder)) {
			found = append(found, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}

func (d *running) isPlain(t *testing.T) {
	t.Helper()
	if strings.Contains(d.output.String(), "\033") {
		t.Error("there are escape codes in output that goes to no terminal")
	}
}

func TestDemoStaysUpAndEndsByInterrupt(t *testing.T) {
	controlPlaneIsBuilt(t)
	d := start(t, nil, "--pause", "1s")
	d.until(t, "ready applications")
	if runtime.GOOS == "linux" && len(processesOf(d.temp)) < 4 {
		t.Error("the test cannot see the demo's processes")
	}
	d.until(t, "Staying up")
	d.isPlain(t)
	if got := len(titles.FindAllString(d.output.String(), -1)); got != 11 {
		t.Errorf("%d pushes are reported, want 11", got)
	}
	clusterIsAsTheLastCommitSays(t, d.output.String())

	pushByHand(t, d.output.String())
	d.until(t, "one more frontend")
	d.until(t, "configured Deployment guestbook/frontend")

	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := d.end(); err != nil {
		t.Errorf("after an interrupt the demo ended with %v", err)
	}
	d.leavesNothing(t)
}

// controlPlaneIsBuilt builds the programs of the control plane where they are missing, with the test's progress.
func controlPlaneIsBuilt(t *testing.T) {
	t.Helper()
	if _, err := controlplane.Binary(t.Context(), os.Stderr); err != nil {
		t.Fatal(err)
	}
}

func clusterIsAsTheLastCommitSays(t *testing.T, output string) {
	t.Helper()
	kubeconfig := regexp.MustCompile(`--kubeconfig (\S+)`).FindStringSubmatch(output)
	if kubeconfig == nil {
		t.Fatal("the output names no kubeconfig")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig[1])
	if err != nil {
		t.Fatal(err)
	}
	deployments := kubernetes.NewForConfigOrDie(config).AppsV1()
	get := func(namespace, name string) (replicas int32, image, memory string) {
		d, err := deployments.Deployments(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		container := d.Spec.Template.Spec.Containers[0]
		return *d.Spec.Replicas, container.Image, container.Resources.Limits.Memory().String()
	}
	if replicas, image, memory := get("shop-staging", "web"); replicas != 1 || image != "nginx:1.29.0" || memory != "96Mi" {
		t.Errorf("staging has %d of %s with %s", replicas, image, memory)
	}
	if replicas, image, memory := get("shop-production", "web"); replicas != 3 || image != "nginx:1.28.0" || memory != "96Mi" {
		t.Errorf("production has %d of %s with %s", replicas, image, memory)
	}
	if replicas, _, _ := get("guestbook", "frontend"); replicas != 4 {
		t.Errorf("guestbook has %d frontends, want 4", replicas)
	}
	if _, image, _ := get("status-page", "status-page"); !strings.HasSuffix(image, "/status-page:1.1.0") {
		t.Errorf("status-page has %s", image)
	}
	if _, err := deployments.Deployments("guestbook").Get(t.Context(), "cache", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("guestbook's cache: %v, want it gone", err)
	}
}

// pushByHand does what the demo invites to.
func pushByHand(t *testing.T, output string) {
	t.Helper()
	url := regexp.MustCompile(`git clone (\S+)`).FindStringSubmatch(output)
	if url == nil {
		t.Fatal("the output says not what to clone")
	}
	dir := filepath.Join(t.TempDir(), "fleet")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	git("clone", url[1], dir)
	file := filepath.Join(dir, "guestbook", "frontend.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte("replicas: 4"), []byte("replicas: 5"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	git("-C", dir, "commit", "--all", "--message", "one more frontend")
	git("-C", dir, "push")
}

func TestDemoInAGivenClusterExitsAndCleansUp(t *testing.T) {
	given := controlplanetest.ForTest(t, controlplane.Options{ControllerManager: true})
	if given.Given() {
		t.Skip("others may use the given cluster: what is left there need not be of the demo")
	}
	d := start(t, []string{"DEMO_EXIT=1"}, "--kubeconfig", given.Kubeconfig(), "--pause", "1s")
	if err := d.end(); err != nil {
		t.Fatalf("the demo ended with %v", err)
	}
	d.isPlain(t)
	if got := len(titles.FindAllString(d.output.String(), -1)); got != 11 {
		t.Errorf("%d pushes are reported, want 11", got)
	}
	for _, text := range []string{"p50", "Ready=False, guestbook/frontend.yaml", "deleted    Deployment guestbook/cache", "created    Deployment guestbook/cache", "in #deployments", "┃ ✅ Kustomization/sluice-demo/status-page succeeded"} {
		if !strings.Contains(d.output.String(), text) {
			t.Errorf("the output says nothing of %q", text)
		}
	}
	d.leavesNothing(t)
	noNamespaceIsLeft(t, given)
	definitions, err := apiextensions.NewForConfigOrDie(given.RESTConfig()).ApiextensionsV1().CustomResourceDefinitions().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range definitions.Items {
		t.Errorf("definition %s is left in the cluster", d.Name)
	}
}

func noNamespaceIsLeft(t *testing.T, given *controlplane.ControlPlane) {
	t.Helper()
	list, err := kubernetes.NewForConfigOrDie(given.RESTConfig()).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Items {
		if n.Name != "default" && !strings.HasPrefix(n.Name, "kube-") {
			t.Errorf("namespace %s is left in the cluster", n.Name)
		}
	}
}

func TestKilledDemoLeavesNoProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	controlPlaneIsBuilt(t)
	d := start(t, nil)
	d.until(t, "ready applications")
	if len(processesOf(d.temp)) < 4 {
		t.Fatal("the test cannot see the demo's processes")
	}
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.end()
	deadline := time.Now().Add(10 * time.Second)
	for len(processesOf(d.temp)) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if left := processesOf(d.temp); len(left) > 0 {
		t.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
	}
}

func TestDemoSaysWhatEnded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	controlPlaneIsBuilt(t)
	d := start(t, nil)
	d.until(t, "ready applications")
	killApplier(t, d.temp)
	err := d.end()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the demo ended with %v, want exit status 1", err)
	}
	for _, text := range []string{"applier-1 ended", "end of ", "applier-1.log", "msg=ready"} {
		if !strings.Contains(d.stderr.String(), text) {
			t.Errorf("the error says nothing of %q", text)
		}
	}
	d.leavesNothing(t)
}

func killApplier(t *testing.T, folder string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(text, []byte(filepath.Join(binDir, "applier")+"\x00")) || !bytes.Contains(text, []byte(folder)) {
			continue
		}
		pid := filepath.Base(filepath.Dir(file))
		if err := exec.Command("kill", "-9", pid).Run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no applier runs")
}

func TestDemoWithoutTheServices(t *testing.T) {
	dir := t.TempDir()
	if err := os.Link(filepath.Join(binDir, "sluice"), filepath.Join(dir, "sluice")); err != nil {
		t.Skip(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "sluice"), "demo").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "make build") {
		t.Errorf("error = %v, output %q, want one that says how to build the services", err, out)
	}
}
