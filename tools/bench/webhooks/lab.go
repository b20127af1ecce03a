package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/internal/install"
)

const (
	namespace = "hooks"
	key       = "the-key-of-all-hosts"
)

// services are the programs that are measured: who takes calls, and who acts on them.
var services = []string{"webhook-receiver", "git-watcher"}

// bench is all that the measurements need.
type bench struct {
	options  *options
	dir      string
	plane    *controlplane.ControlPlane
	sluice   *localrun.Installation
	client   client.Client
	receiver *localrun.Replica
	targets  []target
}

// target is a Receiver that is called.
type target struct{ uid, url string }

// start brings up everything, and returns when all Receivers take calls.
func start(ctx context.Context, o *options) (_ *bench, err error) {
	log.SetLogger(logr.Discard())
	b := &bench{options: o}
	if b.dir, err = os.MkdirTemp("", "sluice-webhooks-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"building the programs", b.build},
		{"starting the control plane", b.startPlane},
		{"starting the bus", b.startBus},
		{"starting the services", b.startServices},
		{"creating receivers and what they wake", b.create},
	} {
		b.say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, errors.Join(err, b.stop())
		}
	}
	return b, nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.options.progress, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (b *bench) stop() error {
	var errs []error
	if b.sluice != nil {
		b.sluice.Stop()
	}
	if b.plane != nil {
		errs = append(errs, b.plane.Stop())
	}
	if b.options.keep {
		b.say("data and logs are in %s", b.dir)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

func (b *bench) build(ctx context.Context) error {
	return lab.Build(ctx, filepath.Join(b.dir, "bin"), append(lab.CommandPackages("sluice-bus"), lab.ServicePackages(services...)...))
}

func (b *bench) startPlane(ctx context.Context) error {
	var err error
	if b.plane, err = controlplane.Start(ctx, controlplane.Options{Dir: filepath.Join(b.dir, "controlplane"), Progress: b.options.progress}); err != nil {
		return err
	}
	config := b.plane.RESTConfig()
	if _, err := install.CRDs(ctx, config, install.Options{}); err != nil {
		return err
	}
	if b.client, err = client.New(config, client.Options{Scheme: kube.Scheme()}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return b.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (b *bench) startBus(context.Context) error {
	dir := filepath.Join(b.dir, "sluice")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for Sluice: %w", err)
	}
	var err error
	b.sluice, err = localrun.New(localrun.Options{
		BinDir: filepath.Join(b.dir, "bin"), Dir: dir, Kubeconfig: b.plane.Kubeconfig(), ServiceFlags: map[string][]string{
			"webhook-receiver": {"--webhook-source-rps", "0"},
		},
	})
	if err != nil {
		return err
	}
	return b.sluice.StartBus()
}

func (b *bench) startServices(ctx context.Context) error {
	for _, service := range services {
		r, err := b.sluice.StartReplica(service)
		if err != nil {
			return err
		}
		if service == "webhook-receiver" {
			b.receiver = r
		}
	}
	return b.sluice.WaitReady(ctx)
}

// create makes Receivers, and a GitRepository for each. These are suspended: what is measured is the way to the run, not git.
func (b *bench) create(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "key"}, StringData: map[string]string{"token": key}}
	if err := b.client.Create(ctx, secret); err != nil {
		return fmt.Errorf("create secret: %w", err)
	}
	for i := range b.options.receivers {
		name := fmt.Sprintf("app-%04d", i)
		repo := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: sourcev1.GitRepositorySpec{
			URL: "https://git.example.org/org/" + name, Interval: metav1.Duration{Duration: time.Hour}, Suspend: true,
		}}
		receiver := &receiverv1.Receiver{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: receiverv1.ReceiverSpec{
			Type: receiverv1.GitHubReceiver, Events: []string{"push"}, SecretRef: &meta.LocalObjectReference{Name: "key"},
			Resources: []receiverv1.ReceiverResource{{CrossNamespaceObjectReference: receiverv1.CrossNamespaceObjectReference{Kind: "GitRepository", Name: name}}},
		}}
		for _, o := range []client.Object{repo, receiver} {
			if err := b.client.Create(ctx, o); err != nil {
				return fmt.Errorf("create %s: %w", name, err)
			}
		}
		b.targets = append(b.targets, target{string(receiver.UID), b.receiver.HooksURL() + receiver.GetWebhookPath(key)})
	}
	return b.awaitDoors(ctx)
}

// awaitDoors returns when each Receiver takes calls.
func (b *bench) awaitDoors(ctx context.Context) error {
	c := newCaller(b.options.callers)
	for _, t := range b.targets {
		for attempt := 0; ; attempt++ {
			code, err := c.call(ctx, t, newDelivery(t.uid))
			if err == nil && code == 200 {
				break
			}
			if attempt > 500 {
				return fmt.Errorf("call %s: %d, %w", t.url, code, errors.Join(err))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
