package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/sluice-cd/sluice/libs/bus"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// sighting is a fact that a service told, or an object that a watch delivered, and when it came here.
type sighting struct {
	at      time.Time
	fact    *factsv1.Fact
	object  *unstructured.Unstructured
	deleted bool
}

var (
	gitRepositories = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}
	kustomizations  = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// imageKind is a kind of image automation.
func imageKind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "image.toolkit.fluxcd.io", Version: "v1", Resource: resource}
}

func notificationKind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "notification.toolkit.fluxcd.io", Version: "v1beta3", Resource: resource}
}

// watched are the kinds that the demo looks at.
var watched = []schema.GroupVersionResource{
	gitRepositories, kustomizations,
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "configmaps"},
}

// witness takes what was seen; it may be called from everywhere.
type witness func(sighting)

// passTo makes a witness that passes all on, with its time, until ctx ends.
func passTo(ctx context.Context, sightings chan<- sighting) witness {
	return func(s sighting) {
		s.at = time.Now()
		select {
		case sightings <- s:
		case <-ctx.Done():
		}
	}
}

// watchObjects watches the demo's objects, and returns when those that are there have been seen.
func watchObjects(ctx context.Context, client dynamic.Interface, see witness) error {
	onlyOurs := func(o *metav1.ListOptions) { o.LabelSelector = partOf + "=" + partOfDemo }
	informers := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, metav1.NamespaceAll, onlyOurs)
	for _, kind := range watched {
		if _, err := informers.ForResource(kind).Informer().AddEventHandler(handler(see)); err != nil {
			return fmt.Errorf("watch %s: %w", kind.Resource, err)
		}
	}
	informers.Start(ctx.Done())
	for kind, filled := range informers.WaitForCacheSync(ctx.Done()) {
		if !filled {
			return fmt.Errorf("watch %s: %w", kind.Resource, context.Cause(ctx))
		}
	}
	return nil
}

func handler(see witness) toolscache.ResourceEventHandler {
	pass := func(o any, deleted bool) {
		if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = last.Obj
		}
		if u, ok := o.(*unstructured.Unstructured); ok {
			see(sighting{object: u, deleted: deleted})
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { pass(o, false) },
		UpdateFunc: func(_, o any) { pass(o, false) },
		DeleteFunc: func(o any) { pass(o, true) },
	}
}

// followFacts passes on what the services tell from now on.
func followFacts(ctx context.Context, conn *bus.Conn, see witness) error {
	consumer, err := conn.JS.OrderedConsumer(ctx, bus.StreamFacts, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return fmt.Errorf("follow facts: %w", err)
	}
	following, err := consumer.Consume(func(m jetstream.Msg) {
		if fact, err := bus.ParseFact(m); err == nil { // one that cannot be read is of a newer service
			see(sighting{fact: fact})
		}
	})
	if err != nil {
		return fmt.Errorf("follow facts: %w", err)
	}
	context.AfterFunc(ctx, following.Stop)
	return nil
}
