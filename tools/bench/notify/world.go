package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

const (
	// interval of all custom resources: nothing happens by itself.
	interval = time.Hour
	// patience is for everything that is waited for.
	patience = 5 * time.Minute
)

// bench is all that the measurement needs.
type bench struct {
	*lab.Lab
	apps                []string
	chat, hook, gitHost *service
}

// start brings up everything, with all applications ready and all services told of something.
func start(ctx context.Context, o *options) (*bench, error) {
	l, err := lab.Start(ctx, lab.Options{
		Apps: o.apps, Interval: interval, Timeout: patience, Flags: []string{"--pprof"}, Keep: o.keep, Progress: o.progress, Notifier: true,
	})
	if err != nil {
		return nil, err
	}
	b := &bench{Lab: l, chat: newService("chat", o.takes, hearChat), hook: newService("events", o.takes, hearEvents), gitHost: newService("statuses", o.takes, hearStatuses)}
	for i := range o.apps {
		b.apps = append(b.apps, workload.AppName(i))
	}
	for _, step := range []func(context.Context) error{b.install, b.follow, b.warmUp} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, b.stop())
		}
	}
	return b, nil
}

func (b *bench) services() []*service { return []*service{b.chat, b.hook, b.gitHost} }

func (b *bench) stop() error {
	for _, s := range b.services() {
		s.Close()
	}
	return b.Stop()
}

// install makes the applications, of which nobody is told.
func (b *bench) install(ctx context.Context) error {
	b.Say("installing %d applications", len(b.apps))
	objects := []client.Object{workload.GitRepository(b.RepositoryURL(), interval)}
	for _, name := range b.apps {
		objects = append(objects, workload.Kustomization(name, workload.AppPath(name), interval))
	}
	ready := b.allAt(b.Revision())
	if err := b.Create(ctx, objects...); err != nil {
		return err
	}
	_, err := ready.Within(ctx, patience)
	return err
}

func (b *bench) allAt(revision string) *lab.Wait[*kustomizev1.Kustomization] {
	return b.Apps.Expect(b.apps, func(_ string, k *kustomizev1.Kustomization) bool { return workload.IsReady(k, revision) })
}

// follow has the three services told of everything.
func (b *bench) follow(ctx context.Context) error {
	for _, s := range []struct {
		name string
		spec notifyv1.ProviderSpec
	}{
		{"chat", notifyv1.ProviderSpec{Type: notifyv1.SlackProvider, Address: b.chat.URL + "/api/chat.postMessage", Channel: "deploys"}},
		{"hook", notifyv1.ProviderSpec{Type: notifyv1.GenericProvider, Address: b.hook.URL}},
		{"status", notifyv1.ProviderSpec{Type: notifyv1.GiteaProvider, Address: b.gitHost.URL + "/team/fleet"}},
	} {
		at := metav1.ObjectMeta{Namespace: workload.FleetNamespace, Name: s.name}
		s.spec.SecretRef = &meta.LocalObjectReference{Name: s.name}
		if err := b.Create(ctx, &corev1.Secret{ObjectMeta: at, StringData: map[string]string{"token": "bench"}}, &notifyv1.Provider{ObjectMeta: at, Spec: s.spec}); err != nil {
			return err
		}
		alert := &notifyv1.Alert{ObjectMeta: at, Spec: notifyv1.AlertSpec{ProviderRef: meta.LocalObjectReference{Name: s.name}}}
		for _, kind := range []string{"GitRepository", "Kustomization"} {
			alert.Spec.EventSources = append(alert.Spec.EventSources, notifiersv1.CrossNamespaceObjectReference{Kind: kind, Name: "*"})
		}
		if err := b.Create(ctx, alert); err != nil {
			return err
		}
	}
	return nil
}

// warmUp changes one application until all services were told of that: what is told of begins when notifier knows the alerts.
func (b *bench) warmUp(ctx context.Context) error {
	for n := 1; n <= 20; n++ {
		p, err := b.PreparePush(ctx, workload.Value(b.apps[0], n))
		if err != nil {
			return err
		}
		if _, err := p.Land(ctx); err != nil {
			return err
		}
		if err := b.told(ctx, 1, p.Revision, 5*time.Second); err == nil {
			return nil
		}
	}
	return errors.New("the services are told nothing")
}

// told returns when all services were told that so many applications are ready at a revision.
func (b *bench) told(ctx context.Context, apps int, revision string, within time.Duration) error {
	commit := revision[strings.LastIndexByte(revision, ':')+1:]
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		events, _ := b.hook.count("ReconciliationSucceeded " + revision)
		statuses, _ := b.gitHost.count("success " + commit)
		if events == apps && statuses == apps && b.chatEnded(apps, commit) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("of %d applications %d events and %d statuses were told within %s, and the chat: %q", apps, events, statuses, within, b.chatSays())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// chatEnded says whether the chat's last message is the one about the end of a commit.
func (b *bench) chatEnded(apps int, commit string) bool {
	said := b.chatSays()
	if apps == 1 {
		return strings.Contains(said, "succeeded")
	}
	return strings.Contains(said, commit[:7]) && strings.HasSuffix(strings.TrimSpace(said), fmt.Sprintf("%d succeeded", apps))
}

func (b *bench) chatSays() string {
	b.chat.mu.Lock()
	defer b.chat.mu.Unlock()
	return b.chat.said[""]
}
