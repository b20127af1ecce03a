package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
)

const (
	namespace = "hooks"
	key       = "the-key-of-all-hosts"
)

// services are the programs that are measured: who takes calls, and who acts on them.
var services = []string{"webhook-receiver", "git-watcher"}

// bench is all that the measurements need.
type bench struct {
	*lab.Site
	options  *options
	receiver *localrun.Replica
	targets  []target
}

// target is a Receiver that is called.
type target struct{ uid, url string }

// start brings up everything, and returns when all Receivers take calls.
func start(ctx context.Context, o *options) (*bench, error) {
	site, err := lab.StartSite(ctx, lab.SiteOptions{
		Packages: slices.Concat(lab.CommandPackages(localrun.Bus), lab.ServicePackages(services...)), BinDir: o.bin, Keep: o.keep, Progress: o.progress,
		Probes: []client.Object{newRepository("probe"), newReceiver("probe")},
	})
	if err != nil {
		return nil, err
	}
	b := &bench{Site: site, options: o}
	b.Say("starting bus and services")
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return b.MakeNamespaces(ctx, namespace) }, b.startBus, b.startServices, b.create,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, b.Stop())
		}
	}
	return b, nil
}

func (b *bench) startBus(context.Context) error {
	dir, err := b.Folder("sluice")
	if err != nil {
		return err
	}
	b.Sluice, err = localrun.New(localrun.Options{
		BinDir: b.BinDir(), Dir: dir, Kubeconfig: b.Plane.Kubeconfig(), ServiceFlags: map[string][]string{
			"webhook-receiver": {"--webhook-source-rps", "0", "--pprof"},
		},
	})
	if err != nil {
		return err
	}
	return b.Sluice.StartBus()
}

func (b *bench) startServices(ctx context.Context) error {
	for _, service := range services {
		r, err := b.Sluice.StartReplica(service)
		if err != nil {
			return err
		}
		if service == "webhook-receiver" {
			b.receiver = r
		}
	}
	return b.Sluice.WaitReady(ctx)
}

// newRepository makes a GitRepository that is suspended: what is measured is the way to its run, not git.
func newRepository(name string) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: sourcev1.GitRepositorySpec{
		URL: "https://git.example.org/org/" + name, Interval: metav1.Duration{Duration: time.Hour}, Suspend: true,
	}}
}

// newReceiver makes a Receiver that wakes the GitRepository of its name.
func newReceiver(name string) *receiverv1.Receiver {
	return &receiverv1.Receiver{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: receiverv1.ReceiverSpec{
		Type: receiverv1.GitHubReceiver, Events: []string{"push"}, SecretRef: &meta.LocalObjectReference{Name: "key"},
		Resources: []receiverv1.ReceiverResource{{CrossNamespaceObjectReference: receiverv1.CrossNamespaceObjectReference{Kind: "GitRepository", Name: name}}},
	}}
}

// create makes Receivers, and a GitRepository for each.
func (b *bench) create(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "key"}, StringData: map[string]string{"token": key}}
	if err := b.Client.Create(ctx, secret); err != nil {
		return fmt.Errorf("create secret: %w", err)
	}
	for i := range b.options.receivers {
		name := fmt.Sprintf("app-%04d", i)
		receiver := newReceiver(name)
		for _, o := range []client.Object{newRepository(name), receiver} {
			if err := b.Client.Create(ctx, o); err != nil {
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
