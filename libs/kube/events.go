package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Events writes Kubernetes Events in the background; what the API server does not take within some retries is dropped, as
// Events are for people to look at and nothing depends on them.
type Events struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
	scheme      *runtime.Scheme
}

// NewEvents starts writing Events in a component's name. Stop it with Stop.
func (c *Cluster) NewEvents(component string) (*Events, error) {
	config := rest.CopyConfig(c.Config)
	config.AcceptContentTypes, config.ContentType = runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON, runtime.ContentTypeProtobuf
	cs, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for events: %w", err)
	}
	b := record.NewBroadcaster(record.WithCorrelatorOptions(record.CorrelatorOptions{
		// One object may report every few seconds for long (a broken commit being mended); the default would fall silent after 25.
		BurstSize: 100, QPS: 1,
		// Past this many in ten minutes the text of an object's Events would be lost: each push makes one.
		MaxEvents: 100,
	}))
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: cs.CoreV1().Events("")})
	scheme := c.Client.Scheme()
	return &Events{b, b.NewRecorder(scheme, corev1.EventSource{Component: component}), scheme}, nil
}

// Stop waits for no Event.
func (e *Events) Stop() { e.broadcaster.Shutdown() }

// Normal reports a change of state for the better; revision, when not empty, goes into the annotation that Flux's tools read.
func (e *Events) Normal(obj client.Object, revision, reason, message string) {
	e.event(obj, corev1.EventTypeNormal, revision, reason, message)
}

// Warning reports a failure.
func (e *Events) Warning(obj client.Object, revision, reason, message string) {
	e.event(obj, corev1.EventTypeWarning, revision, reason, message)
}

func (e *Events) event(obj client.Object, kind, revision, reason, message string) {
	const most = 1024 // the API server's limit of an Event's message
	var annotations map[string]string
	if gvk, err := apiutil.GVKForObject(obj, e.scheme); err == nil && revision != "" {
		annotations = map[string]string{gvk.Group + "/revision": revision}
	}
	e.recorder.AnnotatedEventf(obj, annotations, kind, reason, "%s", clip(message, most))
}
