package handler

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// Sending is how messages are sent.
type Sending struct {
	Cluster      string        // name of the cluster, told with each message; empty for none
	MaxAge       time.Duration // how long a message is tried
	GroupWait    time.Duration // how long a message waits for its commit to end
	AllowPrivate bool
	NoLocal      bool // refuse this machine's own addresses
	Channels     int  // channels that are told something at once
	Cloud        func(p *notifyv1.Provider, proxy *url.URL) provider.Cloud
	Apps         provider.Apps
	Clock        Clock
	// New makes senders; provider.New where nothing else is said.
	New func(provider.Settings) (provider.Sender, provider.Traits, error)
}

// Clock is time as the outbox sees it.
type Clock struct {
	Now func() time.Time
	// Of is what it shows at a time of the bus.
	Of func(time.Time) time.Time
	// Wait is how long to wait until d is over by it.
	Wait func(d time.Duration) time.Duration
}

// RealClock is everybody's.
func RealClock() Clock {
	return Clock{Now: time.Now, Of: func(t time.Time) time.Time { return t }, Wait: func(d time.Duration) time.Duration { return d }}
}

// Notify is the handler of stage notify: a run tells what waits for one Provider. Only who holds its lock does, which keeps what is told of one
// object in order, and the service's rate, over all replicas.
//
// Before a message is sent nothing is written: its letters are in the outbox. After it was sent, first it is noted that it was, in one
// write; then the letters are removed, which those who find them without being done will do again. So who is killed between the service's
// answer and that one write tells one message twice, with the same key; killed anywhere else, none.
type Notify struct {
	env     *service.Env
	sending Sending
	events  *kube.Events
	alerts  *alerts
	metrics *metrics
}

// lockTTL is long enough for a message under way to be noted when its process is to end.
const lockTTL = 15 * time.Second

// NewNotify makes stage notify.
func NewNotify(env *service.Env, events *kube.Events, sending Sending) *stage.Stage {
	if sending.New == nil {
		sending.New = provider.New
	}
	n := &Notify{env: env, sending: sending, events: events, alerts: newAlerts(env.Cluster, events), metrics: newMetrics(env.Registry, env.Bus)}
	return stage.New(env.Stages, state.StageNotify, n, stage.Options{
		Slots: sending.Channels, LockTTL: lockTTL, Jitter: -1, Pace: stage.Pace{Burst: 50, Every: 20 * time.Millisecond},
		Backoff: stage.Backoff{Base: time.Second, Max: time.Minute}, Objects: n.providers,
	})
}

// providers are those that exist, and those that letters wait for.
func (n *Notify) providers(ctx context.Context) ([]types.NamespacedName, error) {
	var list notifyv1.ProviderList
	if err := n.env.Cluster.Cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	letters, err := n.env.Bus.Letters(ctx, bus.StreamOutbox, types.NamespacedName{}, false)
	if err != nil {
		return nil, err
	}
	seen := map[types.NamespacedName]bool{}
	var keys []types.NamespacedName
	add := func(key types.NamespacedName) {
		if !seen[key] {
			seen[key], keys = true, append(keys, key)
		}
	}
	for i := range list.Items {
		add(client.ObjectKeyFromObject(&list.Items[i]))
	}
	for _, l := range letters {
		add(l.Channel)
	}
	return keys, nil
}

// channel is what is kept of one Provider.
type channel struct {
	UID types.UID `json:"uid,omitempty"`
	// NotBefore is when the service may be asked again, Downs how often in a row it could not be.
	NotBefore time.Time `json:"notBefore,omitzero"`
	Downs     int       `json:"downs,omitempty"`
	// Tokens are the messages that may be sent at once, as of At.
	Tokens float64   `json:"tokens,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Cleaned is when what is not needed any more was last looked for.
	Cleaned time.Time `json:"cleaned,omitzero"`
}

// Run tells what waits for one Provider.
func (n *Notify) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	j := &job{Notify: n, run: run, now: n.sending.Clock.Now()}
	if _, err := run.Load(&j.known); err != nil {
		return stage.Result{}, err
	}
	p := &notifyv1.Provider{}
	err := n.env.Cluster.Read(ctx, run.Key, p, run.Hint.Generation)
	if err != nil && !apierrors.IsNotFound(err) {
		return stage.Result{}, fmt.Errorf("read provider: %w", err)
	}
	if err == nil {
		j.provider = p
		if j.known.UID != p.UID {
			j.known = channel{UID: p.UID}
		}
	}
	result, err := j.bring(ctx)
	if err != nil {
		return stage.Result{}, err
	}
	return result, run.Keep(j.known)
}

// causeLetter wakes a channel for which there is something new.
const causeLetter = "letter"

// bring reads what waits and tells it.
func (j *job) bring(ctx context.Context) (stage.Result, error) {
	left := j.known.NotBefore.Sub(j.now)
	if left > maxBack {
		left = 0 // by a clock that was wrong
	}
	if left > 0 && j.run.Hint.Cause == causeLetter { // nothing can be sent yet, and reading what waits may be much
		return j.later(left), nil
	}
	waiting, err := j.letters(ctx)
	if err != nil {
		return stage.Result{}, err
	}
	switch {
	case waiting == 0 && j.provider == nil:
		return stage.Result{Gone: true}, j.forget(ctx)
	case waiting == 0:
		return stage.Result{Idle: true}, errors.Join(j.clean(ctx), j.check(ctx))
	case j.provider != nil && j.provider.Spec.Suspend:
		return j.later(time.Hour), j.expire(ctx, errors.New("the Provider is suspended"))
	}
	if left > 0 {
		return j.later(left), nil
	}
	sender, traits, err := j.sender(ctx)
	if err != nil {
		return j.unusable(ctx, err)
	}
	j.alerts.forget(j.provider.UID, reasonInvalid)
	j.send, j.traits = sender, traits
	return j.tell(ctx)
}

// check says what is wrong with a Provider that somebody changed, before there is something to tell.
func (j *job) check(ctx context.Context) error {
	if cause := j.run.Hint.Cause; cause != "created" && cause != "changed" {
		return nil
	}
	_, _, err := j.sender(ctx)
	if !errors.Is(err, provider.ErrSettings) {
		return err
	}
	j.alerts.warn(j.provider, reasonInvalid, oneLine(err))
	return nil
}

// later asks for a run after d.
func (j *job) later(d time.Duration) stage.Result {
	return stage.Result{Next: max(j.sending.Clock.Wait(d), 10*time.Millisecond), Exact: true, Idle: true}
}

// unusable is about a Provider through which nothing can be sent until somebody changes something.
func (j *job) unusable(ctx context.Context, why error) (stage.Result, error) {
	if !errors.Is(why, provider.ErrSettings) {
		return stage.Result{}, why
	}
	if j.provider != nil {
		j.alerts.warn(j.provider, reasonInvalid, oneLine(why))
	} else {
		for _, a := range j.boxes {
			j.alerts.warn(a.alert.Alert, reasonInvalid, oneLine(why))
		}
	}
	return j.later(lookAgain), j.expire(ctx, why)
}

// lookAgain is when settings are looked at again: Secrets are not watched.
const lookAgain = 30 * time.Second
