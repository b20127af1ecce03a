// Package intake takes calls from hosts: it lets in who proves good, finds out what a call means, makes the hint durable, and answers. The body
// of an answer is always empty, and who proves nothing is told nothing: not even whether there is somebody at an address.
package intake

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/types/known/timestamppb"

	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/payload"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/verify"
)

// Options of an Intake.
type Options struct {
	MaxBody        int64          // bytes of a body
	Sources        []netip.Prefix // networks that calls may come from; empty for all
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	SourceRate     float64        // calls per second from one source; 0 for any number
	SourceBurst    int
	Concurrency    int // calls that are worked on at once, once their bodies are there
}

// Keeper keeps the keys of doors up to date.
type Keeper interface {
	Used(d *door.Door)
	Again(ctx context.Context, d *door.Door) bool
}

// Intake is the handler of calls.
type Intake struct {
	Options
	Doors   *door.Doors
	Keeper  Keeper
	Issuers *verify.Issuers
	Objects *Objects
	Seen    *Seen
	Writer  *Writer
	Metrics *Metrics
	Tracer  trace.Tracer
	Log     *slog.Logger

	limiter *limiter
	bodies  *bodies
	slots   chan struct{}
	refused rate.Sometimes // strangers do not fill the log
	proxied sync.Once
}

// callTime bounds what is done for one call once its body is there.
const callTime = 10 * time.Second

// minBodies is how many bytes all bodies under way may take in sum, unless a single one may be large.
const minBodies = 64 << 20

// Prepare makes the Intake ready for calls.
func (i *Intake) Prepare() *Intake {
	i.limiter = newLimiter(i.SourceRate, i.SourceBurst)
	i.bodies = newBodies(max(minBodies, 8*i.MaxBody))
	i.slots = make(chan struct{}, i.Concurrency)
	i.refused = rate.Sometimes{First: 10, Interval: time.Second}
	return i
}

// outcome is how a call ended, for metrics and logs.
type outcome string

const (
	taken     outcome = "taken"     // the hint is durable
	repeated  outcome = "repeated"  // it was before
	nothing   outcome = "nothing"   // nothing is to be looked at because of it
	unknown   outcome = "unknown"   // nobody is there
	forged    outcome = "forged"    // it does not prove good
	malformed outcome = "malformed" // it proves good and says nothing that can be read
	tooLarge  outcome = "too-large"
	tooMany   outcome = "too-many" // from this source
	closed    outcome = "closed"   // suspended, or not ready
	unable    outcome = "unable"   // not now: the bus, the API server or an issuer is away
	unclear   outcome = "unclear"  // an expression cannot be evaluated over it
)

// answer is what the caller is told.
type answer struct {
	outcome outcome
	code    int
	retry   time.Duration // after which to come again; zero for not saying
}

var notFound = answer{outcome: unknown, code: http.StatusNotFound}

func later(o outcome) answer { return answer{o, http.StatusServiceUnavailable, 5 * time.Second} }

// ServeHTTP takes one call.
func (i *Intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	kind, a := i.take(w, r, began)
	if a.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(a.retry.Seconds())))
	}
	w.WriteHeader(a.code)
	i.Metrics.call(kind, a, time.Since(began))
}

// take finds out whose call it is. Whatever is not for anybody looks the same from outside, and is read as far.
func (i *Intake) take(w http.ResponseWriter, r *http.Request, began time.Time) (kind string, a answer) {
	source := sourceOf(r, i.TrustedProxies)
	i.warnOfProxy(r, source)
	if !i.limiter.allow(source, began) {
		return "none", answer{tooMany, http.StatusTooManyRequests, time.Second}
	}
	doors := i.admitting(r, source)
	read := &body{all: i.bodies, from: network(source)}
	defer read.release()
	err := read.read(w, r, i.MaxBody, len(doors) > 0)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return "none", answer{outcome: tooLarge, code: http.StatusRequestEntityTooLarge}
	case errors.Is(err, errNoRoom):
		return "none", later(unable)
	case err != nil:
		return "none", answer{outcome: malformed, code: http.StatusBadRequest}
	case len(doors) == 0:
		return "none", notFound
	case !i.begin(): // after the body: who sends slowly holds up nobody
		return "none", later(unable)
	}
	defer func() { <-i.slots }()
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	return i.enter(ctx, &request{r.Header, read.data, r.URL.Path, source, began}, doors)
}

// warnOfProxy says once that a proxy may stand between, whose budget and network count for all who call.
func (i *Intake) warnOfProxy(r *http.Request, source netip.Addr) {
	if r.Header.Get("X-Forwarded-For") == "" || len(i.TrustedProxies) > 0 && door.In(i.TrustedProxies, source) {
		return
	}
	i.proxied.Do(func() {
		i.Log.Warn("a call came with X-Forwarded-For from a source that is no trusted proxy: if it is a proxy of yours, name its network with --webhook-trusted-proxies, or all who call by it count as one source",
			"source", source.String())
	})
}

// begin waits for a slot, though not for long.
func (i *Intake) begin() bool {
	select {
	case i.slots <- struct{}{}:
		return true
	default:
	}
	late := time.NewTimer(time.Second)
	defer late.Stop()
	select {
	case i.slots <- struct{}{}:
		return true
	case <-late.C:
		return false
	}
}

// request is a call whose body is there.
type request struct {
	header http.Header
	body   []byte
	path   string
	source netip.Addr
	at     time.Time
}

// admitting are the doors that a call may knock at.
func (i *Intake) admitting(r *http.Request, source netip.Addr) []*door.Door {
	if !strings.HasPrefix(r.URL.Path, door.Root) || !door.In(i.Sources, source) {
		return nil
	}
	var list []*door.Door
	for _, d := range i.Doors.Find(r.URL.Path) {
		if d.Methods(r.Method) && d.Admits(source) {
			list = append(list, d)
		}
	}
	return list
}

// enter lets a call in at the first door that it proves good for.
func (i *Intake) enter(ctx context.Context, r *request, doors []*door.Door) (kind string, a answer) {
	kind = "none"
	for _, d := range doors {
		d, claims, err := i.verify(ctx, d, r)
		if errors.Is(err, verify.ErrUnknown) {
			i.Log.Warn("call cannot be verified now", "receiver", d.Receiver.String(), "type", d.Type, "err", err)
			return d.Type, later(unable)
		}
		if err != nil {
			i.refused.Do(func() {
				i.Log.Info("call refused", "receiver", d.Receiver.String(), "type", d.Type, "source", r.source.String(), "err", err)
			})
			kind = d.Type
			continue
		}
		i.Keeper.Used(d) // not before: who comes with a new key has the keys read anew at once
		return d.Type, i.pass(ctx, d, r, claims)
	}
	return kind, answer{outcome: forged, code: http.StatusNotFound}
}

// verify says whether a call proves good, if need be by keys that were changed a moment ago. It returns the door that it proves good for.
func (i *Intake) verify(ctx context.Context, d *door.Door, r *request) (*door.Door, map[string]any, error) {
	claims, err := i.verifyOnce(ctx, d, r)
	if !errors.Is(err, verify.ErrForged) || !i.Keeper.Again(ctx, d) {
		return d, claims, err
	}
	for _, again := range i.Doors.Find(r.path) {
		if again.Receiver == d.Receiver && again != d && again.Admits(r.source) {
			claims, err = i.verifyOnce(ctx, again, r)
			return again, claims, err
		}
	}
	return d, nil, err
}

func (i *Intake) verifyOnce(ctx context.Context, d *door.Door, r *request) (map[string]any, error) {
	switch verify.Proof(d.Type) {
	case verify.ByPath:
		return nil, nil
	case verify.ByKey:
		return nil, verify.Key(d.Type, r.header, r.body, d.Keys)
	}
	if d.Keys.Audience != "" || d.Keys.Email != "" {
		return nil, i.Issuers.Google(ctx, r.header, d.Keys)
	}
	issuer, claims, err := i.Issuers.Token(ctx, r.header, d.Audience)
	if err != nil {
		return nil, err
	}
	return claims, d.Accepts(ctx, issuer, claims)
}

// pass does what a call means that proved good.
func (i *Intake) pass(ctx context.Context, d *door.Door, r *request, claims map[string]any) answer {
	log := i.Log.With("type", d.Type)
	if !d.IsOwn() {
		log = log.With("receiver", d.Receiver.String())
	}
	if d.Closed != "" {
		log.Warn("call not taken", "why", d.Closed)
		return later(closed)
	}
	event, err := payload.Read(d.Type, r.header, r.body)
	if err != nil {
		log.Warn("call cannot be read", "err", err)
		return answer{outcome: malformed, code: http.StatusBadRequest}
	}
	if !d.Wants(event.Name) {
		log.Debug("event that does not count", "event", event.Name)
		return answer{outcome: nothing, code: http.StatusOK}
	}
	ctx, span := i.Tracer.Start(ctx, "webhook", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("sluice.type", d.Type), attribute.String("sluice.receiver", d.Receiver.String())))
	defer span.End()
	hint := i.newHint(ctx, d, r)
	unclearly, err := i.point(ctx, d, hint, call{event.Body, claims}, event)
	if err != nil {
		log.Warn("cannot find what a call is about", "err", err)
		return later(unable)
	}
	if unclearly != nil {
		log.Warn("call taken in part", "err", unclearly)
	}
	return i.store(ctx, log, idsOf(d, r, event), hint, unclearly)
}

func (i *Intake) newHint(ctx context.Context, d *door.Door, r *request) *hintsv1.Hint {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	hint := &hintsv1.Hint{Received: timestamppb.New(r.at), Type: d.Type, Traceparent: carrier["traceparent"]}
	if !d.IsOwn() {
		hint.Receiver = &hintsv1.ObjectName{ApiVersion: "notification.toolkit.fluxcd.io/v1", Kind: "Receiver", Namespace: d.Receiver.Namespace, Name: d.Receiver.Name}
	}
	return hint
}

// point says in a hint what to look at. unclearly is why some of it is not in there.
func (i *Intake) point(ctx context.Context, d *door.Door, hint *hintsv1.Hint, c call, event *payload.Event) (unclearly, err error) {
	if d.IsOwn() {
		if event.Moves {
			hint.Repositories, hint.Images = event.Repositories, event.Images
		}
		return nil, nil
	}
	hint.Objects, err = i.Objects.Find(ctx, d, c)
	if errors.Is(err, errFilter) {
		return err, nil
	}
	return nil, err
}

// store makes a hint durable, unless its call was taken before or is about nothing.
func (i *Intake) store(ctx context.Context, log *slog.Logger, ids []id, hint *hintsv1.Hint, unclearly error) answer {
	for _, known := range ids {
		hint.Ids = append(hint.Ids, known[:])
	}
	a := answer{outcome: taken, code: http.StatusOK}
	if len(hint.Objects)+len(hint.Repositories)+len(hint.Images) == 0 {
		a.outcome = nothing
	} else {
		again, err := i.Seen.Do(ctx, ids, func() error { return i.Writer.Write(ctx, hint) })
		if err != nil {
			log.Warn("call not taken, the host is told to come again", "err", err)
			return later(unable)
		}
		if again {
			a.outcome = repeated
		}
	}
	if unclearly != nil {
		return answer{outcome: unclear, code: http.StatusInternalServerError}
	}
	log.Debug("call taken", "outcome", string(a.outcome), "objects", len(hint.Objects), "repositories", len(hint.Repositories), "images", len(hint.Images))
	return a
}

// idsOf are what tells a call from others: the delivery, and where body and proof belong together and no other body is the same, the body. A
// caller who repeats what he overheard may write another delivery beside it.
func idsOf(d *door.Door, r *request, event *payload.Event) []id {
	var ids []id
	identity, kind := []byte(d.Identity), []byte(d.Type)
	if event.Delivery != "" {
		ids = append(ids, newID(identity, kind, []byte("delivery"), []byte(event.Delivery)))
	}
	if event.Timed {
		ids = append(ids, newID(identity, kind, []byte("body"), r.body))
	}
	return ids
}
