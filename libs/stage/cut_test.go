package stage_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// cutter stands between a replica and the bus. It lets so many writes through and then nothing any more, in no direction: to all others the
// replica is one that was killed at that instant.
type cutter struct {
	net.Listener
	server string
	limit  int64 // negative for none

	writes atomic.Int64
	once   sync.Once
	done   chan struct{}
}

func newCutter(t *testing.T, server *bustest.Server, limit int) *cutter {
	t.Helper()
	to, err := url.Parse(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, server: to.Host, limit: int64(limit), done: make(chan struct{})}
	t.Cleanup(c.cut)
	go c.serve()
	return c
}

func (c *cutter) cut() {
	c.once.Do(func() { close(c.done); _ = c.Close() })
}

func (c *cutter) isCut() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *cutter) serve() {
	for {
		client, err := c.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil {
			_ = client.Close()
			return
		}
		context.AfterFunc(c.context(), func() { _, _ = client.Close(), server.Close() })
		go func() { _, _ = io.Copy(client, server) }()
		go c.forward(server, bufio.NewReader(client))
	}
}

func (c *cutter) context() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-c.done; cancel() }()
	return ctx
}

// forward passes on what a client says, one operation of the protocol after the other.
func (c *cutter) forward(to io.Writer, from *bufio.Reader) {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return
		}
		op := strings.Fields(line)
		payload := 0
		if len(op) > 2 && (op[0] == "PUB" || op[0] == "HPUB") {
			size, _ := strconv.Atoi(op[len(op)-1])
			payload = size + 2
			if isWrite(op[1]) && !c.allow() {
				return
			}
		}
		if _, err := io.CopyN(to, io.MultiReader(strings.NewReader(line), from), int64(len(line)+payload)); err != nil {
			return
		}
	}
}

func (c *cutter) allow() bool {
	if n := c.writes.Add(1); c.limit < 0 || n <= c.limit {
		return true
	}
	c.cut()
	return false
}

// isWrite says whether a message to a subject changes anything that the server keeps.
func isWrite(subject string) bool {
	for _, p := range []string{"$KV.", "work.", "sched.", "fact.", "$JS.ACK.", "$JS.API.STREAM.PURGE."} {
		if strings.HasPrefix(subject, p) {
			return true
		}
	}
	return false
}

// life is an object in the hands of two replicas, of which the first is killed at one point.
type life struct {
	key    types.NamespacedName
	stage  string
	runs   atomic.Int32
	direct *bus.Conn // of all others
	conn   *bus.Conn // of the replica that is killed
	cutter *cutter
	bury   func() // ends what is left of the killed replica
}

// scene is what a handler does with an object, and what must be so when all is over.
type scene struct {
	run     func(ctx context.Context, l *life, run *stage.Run) (stage.Result, error)
	check   func(t *testing.T, l *life)
	already []stage.Hint // triggers that one replica answers before, undisturbed
}

// kept is what the handlers of scenes keep.
type kept struct {
	N    int
	Told bool
}

// TestKilledAtEveryWrite kills the replica that works on an object before each single write of its run, and lets another one go on.
func TestKilledAtEveryWrite(t *testing.T) {
	for name, s := range map[string]scene{
		"saves, tells, records":    {run: tells, check: isToldAndArmed},
		"once more":                {run: tells, check: isToldAndArmed, already: []stage.Hint{{}}},
		"nothing to do":            {run: idles, check: isArmed},
		"nothing to do, once more": {run: idles, check: isArmed, already: []stage.Hint{{}}},
		"in parts":                 {run: parts, check: isCountedAndArmed},
		"ends without a next run":  {run: stalls, check: isNotArmed, already: []stage.Hint{{}}},
		"gone":                     {run: vanishes, check: isForgotten, already: []stage.Hint{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := newLives(t, -1)[0]
			whole.begin(t, s)
			whole.awaitQuiet(t)
			writes := int(whole.cutter.writes.Load())
			if writes < 2 {
				t.Fatalf("%d writes: this proves nothing", writes)
			}
			var limits []int
			for n := range writes {
				limits = append(limits, n)
			}
			lives := newLives(t, limits...)
			for _, l := range lives {
				l.begin(t, s)
			}
			for n, l := range lives {
				waitFor(t, fmt.Sprintf("the kill after %d writes", n), l.cutter.isCut)
			}
			for _, l := range lives {
				l.bury()
				l.replica(t, l.direct, s)
			}
			for n, l := range append(lives, whole) {
				t.Logf("after %d of %d writes", n, writes)
				l.awaitQuiet(t)
				s.check(t, l)
			}
		})
	}
}

// newLives connects replicas, each of which is killed after so many writes, to a bus of their own: all before the first one starts, as the server
// has a data race between the declaration of a stream and that of a consumer.
func newLives(t *testing.T, limits ...int) []*life {
	t.Helper()
	server := bustest.Start(t)
	direct := server.Connect()
	lives := make([]*life, len(limits))
	for i, limit := range limits {
		c := newCutter(t, server, limit)
		conn, err := bus.Connect(t.Context(), bus.Options{URL: "nats://" + c.Addr().String(), Log: bustest.Logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.NATS.Close)
		lives[i] = &life{
			key: types.NamespacedName{Namespace: "default", Name: fmt.Sprintf("app-%d", i)}, stage: fmt.Sprintf("cut%d", i), direct: direct, conn: conn, cutter: c,
		}
	}
	return lives
}

// begin triggers the object and starts the replica that will be killed.
func (l *life) begin(t *testing.T, s scene) {
	t.Helper()
	for i, hint := range s.already {
		stop := l.replica(t, l.direct, s)
		l.trigger(t, hint)
		waitFor(t, "an earlier run", func() bool { return int(l.runs.Load()) > i })
		l.awaitQuiet(t)
		stop()
	}
	l.trigger(t, stage.Hint{})
	stop := l.replica(t, l.conn, s)
	l.bury = func() { l.conn.NATS.Close(); stop() }
}

func (l *life) trigger(t *testing.T, hint stage.Hint) {
	t.Helper()
	if err := stage.Wake(t.Context(), l.direct, l.stage, l.key, hint); err != nil {
		t.Fatal(err)
	}
}

// replica runs the stage of the object over a connection until stop is called or the test ends.
func (l *life) replica(t *testing.T, conn *bus.Conn, s scene) (stop func()) {
	t.Helper()
	rt := &stage.Runtime{
		Bus: conn, Log: bustest.Logger(t), Metrics: stage.NewMetrics(prometheus.NewRegistry()), Tracer: noop.NewTracerProvider().Tracer(""),
		Holder: fmt.Sprintf("replica-%d", replicas.Add(1)),
	}
	o := steady
	o.Slots = 1
	st := stage.New(rt, l.stage, handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		l.runs.Add(1)
		return s.run(ctx, l, run)
	}), o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); st.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// awaitQuiet waits until no trigger waits or is being worked on.
func (l *life) awaitQuiet(t *testing.T) {
	t.Helper()
	waitFor(t, "an empty queue", func() bool {
		cons, err := l.direct.JS.Consumer(t.Context(), bus.StreamWork, l.stage)
		if err != nil {
			return false
		}
		info, err := cons.Info(t.Context())
		return err == nil && int(info.NumPending)+info.NumAckPending == 0 && l.runs.Load() > 0
	})
}

func (l *life) kept(t *testing.T) (k kept) {
	t.Helper()
	if _, err := stage.ReadState(t.Context(), l.direct, l.stage, l.key, &k); err != nil {
		t.Error(err)
	}
	return k
}

// tells saves, tells what it saved, and keeps that it did.
func tells(ctx context.Context, l *life, run *stage.Run) (stage.Result, error) {
	var k kept
	if _, err := run.Load(&k); err != nil {
		return stage.Result{}, err
	}
	if k.N < 1 {
		k = kept{N: 1}
		if err := run.Save(ctx, k); err != nil {
			return stage.Result{}, err
		}
	}
	if !k.Told {
		f := &factsv1.Fact{
			Object: &factsv1.ObjectReference{Namespace: run.Key.Namespace, Name: run.Key.Name}, Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{}},
		}
		if err := run.Tell(ctx, f); err != nil {
			return stage.Result{}, err
		}
		k.Told = true
	}
	return stage.Result{Next: time.Hour}, run.Keep(k)
}

func isToldAndArmed(t *testing.T, l *life) {
	t.Helper()
	if k := l.kept(t); k != (kept{N: 1, Told: true}) {
		t.Errorf("kept: %+v", k)
	}
	facts, err := l.direct.JS.Stream(t.Context(), bus.StreamFacts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := facts.GetLastMsgForSubject(t.Context(), bus.FactSubject(bus.FactSourceRevised, l.key)); err != nil {
		t.Errorf("the fact was not told: %v", err)
	}
	isArmed(t, l)
}

func idles(context.Context, *life, *stage.Run) (stage.Result, error) {
	return stage.Result{Next: time.Hour, Idle: true}, nil
}

func isArmed(t *testing.T, l *life) {
	t.Helper()
	at, err := l.direct.Scheduled(t.Context(), l.stage, l.key)
	if left := time.Until(at); err != nil || left < 50*time.Minute || left > 70*time.Minute {
		t.Errorf("next run armed in %v, %v; want about an hour", left, err)
	}
	if n := l.runs.Load(); n > 4 {
		t.Errorf("%d runs", n)
	}
}

// parts counts to five, by one in each part.
func parts(ctx context.Context, _ *life, run *stage.Run) (stage.Result, error) {
	var k kept
	if _, err := run.Load(&k); err != nil {
		return stage.Result{}, err
	}
	if k.N < 5 {
		k.N++
	}
	return stage.Result{More: k.N < 5, Next: time.Hour}, run.Keep(k)
}

func isCountedAndArmed(t *testing.T, l *life) {
	t.Helper()
	if k := l.kept(t); k.N != 5 {
		t.Errorf("%d parts done; want 5", k.N)
	}
	if n := l.runs.Load(); n > 7 {
		t.Errorf("%d runs for 5 parts", n)
	}
	at, err := l.direct.Scheduled(t.Context(), l.stage, l.key)
	if err != nil || time.Until(at) < 50*time.Minute {
		t.Errorf("next run armed at %v, %v", at, err)
	}
}

// stalls asks for a next run the first time alone.
func stalls(_ context.Context, l *life, run *stage.Run) (stage.Result, error) {
	if l.runs.Load() == 1 {
		return stage.Result{Next: time.Hour}, run.Keep(kept{N: 1})
	}
	return stage.Result{}, run.Keep(kept{N: 2})
}

func isNotArmed(t *testing.T, l *life) {
	t.Helper()
	if at, err := l.direct.Scheduled(t.Context(), l.stage, l.key); err != nil || !at.IsZero() {
		t.Errorf("next run armed at %v, %v; want none", at, err)
	}
	if k := l.kept(t); k.N != 2 {
		t.Errorf("kept: %+v", k)
	}
}

func vanishes(_ context.Context, l *life, run *stage.Run) (stage.Result, error) {
	if l.runs.Load() == 1 {
		return stage.Result{Next: time.Hour}, run.Keep(kept{N: 1})
	}
	return stage.Result{Gone: true}, nil
}

func isForgotten(t *testing.T, l *life) {
	t.Helper()
	at, err := l.direct.Scheduled(t.Context(), l.stage, l.key)
	if k := l.kept(t); err != nil || !at.IsZero() || k != (kept{}) {
		t.Errorf("remembered: %+v, next run at %v, %v", k, at, err)
	}
}
