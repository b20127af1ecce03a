package kube

import (
	"context"
	"fmt"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Events writes Kubernetes Events in the background; what the API server does not take within some retries is dropped, and what comes
// while a thousand wait, as Events are for people to look at and nothing depends on them.
type Events struct {
	news, warnings record.EventRecorder
	broadcasters   []record.EventBroadcaster
	scheme         *runtime.Scheme
	stop           context.CancelFunc
}

// NewEvents starts writing Events in a component's name. Stop it with Stop.
func (c *Cluster) NewEvents(component string) (*Events, error) {
	sink, err := c.eventSink()
	if err != nil {
		return nil, err
	}
	e := &Events{scheme: c.Client.Scheme(), stop: func() {}}
	e.news = e.record(component, sink)
	e.warnings = e.news
	return e, nil
}

// NewPacedEvents is NewEvents of a component that may have thousands of good news at once: no more than so many of them leave in a second,
// behind the statuses that say the same and cost the API server as much. Warnings wait for none.
func (c *Cluster) NewPacedEvents(component string, perSecond int) (*Events, error) {
	sink, err := c.eventSink()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	e := &Events{scheme: c.Client.Scheme(), stop: stop}
	e.news = e.record(component, &pacedSink{sink, rate.NewLimiter(rate.Limit(perSecond), perSecond), ctx})
	e.warnings = e.record(component, sink)
	return e, nil
}

func (c *Cluster) eventSink() (record.EventSink, error) {
	config := rest.CopyConfig(c.Config)
	config.AcceptContentTypes, config.ContentType = runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON, runtime.ContentTypeProtobuf
	cs, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for events: %w", err)
	}
	return &typedcorev1.EventSinkImpl{Interface: cs.CoreV1().Events("")}, nil
}

// record starts a queue of Events to a sink.
func (e *Events) record(component string, to record.EventSink) record.EventRecorder {
	b := record.NewBroadcaster(record.WithCorrelatorOptions(record.CorrelatorOptions{
		// One object may report every few seconds for long (a broken commit being mended); the default would fall silent after 25.
		BurstSize: 100, QPS: 1,
		// Past this many in ten minutes the text of an object's Events would be lost: each push makes one.
		MaxEvents: 100,
	}))
	b.StartRecordingToSink(to)
	e.broadcasters = append(e.broadcasters, b)
	return b.NewRecorder(e.scheme, corev1.EventSource{Component: component})
}

// Stop waits for no Event.
func (e *Events) Stop() {
	e.stop()
	for _, b := range e.broadcasters {
		b.Shutdown()
	}
}

// Normal reports a change of state for the better; revision, when not empty, goes into the annotation that Flux's tools read.
func (e *Events) Normal(obj client.Object, revision, reason, message string) {
	e.event(e.news, obj, corev1.EventTypeNormal, revision, reason, message)
}

// Warning reports a failure.
func (e *Events) Warning(obj client.Object, revision, reason, message string) {
	e.event(e.warnings, obj, corev1.EventTypeWarning, revision, reason, message)
}

func (e *Events) event(to record.EventRecorder, obj client.Object, kind, revision, reason, message string) {
	const most = 1024 // the API server's limit of an Event's message
	var annotations map[string]string
	if gvk, err := apiutil.GVKForObject(obj, e.scheme); err == nil && revision != "" {
		annotations = map[string]string{gvk.Group + "/revision": revision}
	}
	to.AnnotatedEventf(obj, annotations, kind, reason, "%s", clip(message, most))
}

// pacedSink writes Events no faster than its limit says. What it keeps waiting keeps the time when it happened.
type pacedSink struct {
	record.EventSink
	limit *rate.Limiter
	ctx   context.Context // ends with the Events
}

func (s *pacedSink) Create(e *corev1.Event) (*corev1.Event, error) {
	if err := s.limit.Wait(s.ctx); err != nil {
		return nil, err
	}
	return s.EventSink.Create(e)
}

func (s *pacedSink) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	if err := s.limit.Wait(s.ctx); err != nil {
		return nil, err
	}
	return s.EventSink.Patch(e, data)
}
