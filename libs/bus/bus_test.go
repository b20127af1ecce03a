package bus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
)

func TestArtifactsAreStoredOnceAndCollected(t *testing.T) {
	ctx := t.Context()
	store := bustest.Start(t).Connect().Artifacts()
	kept, dropped := bytes.Repeat([]byte("k"), 3<<20), []byte("d")
	for range 2 {
		for _, data := range [][]byte{kept, dropped} {
			if err := store.Put(ctx, archive.Digest(data), data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if have, err := store.List(ctx); err != nil || len(have) != 2 {
		t.Fatalf("List = %v, %v; want two", have, err)
	}
	named := func(context.Context) (map[string]bool, error) {
		return map[string]bool{archive.Digest(kept): true}, nil
	}
	if done, err := bus.Collect(ctx, store, time.Hour, named); err != nil || done.Artifacts != 0 {
		t.Fatalf("Collect within grace = %+v, %v; want nothing removed", done, err)
	}
	if done, err := bus.Collect(ctx, store, 0, named); err != nil || done.Artifacts != 1 {
		t.Fatalf("Collect = %+v, %v; want one removed", done, err)
	}
	if got, err := store.Get(ctx, archive.Digest(kept)); err != nil || !bytes.Equal(got, kept) {
		t.Fatalf("Get of the named artifact: %d bytes, %v", len(got), err)
	}
	if _, err := store.Get(ctx, archive.Digest(dropped)); !errors.Is(err, bus.ErrArtifactNotFound) {
		t.Fatalf("Get of the collected artifact: %v; want ErrArtifactNotFound", err)
	}
}

// Small and large artifacts are kept in different ways; nobody who uses the store notices.
func TestSmallAndLargeArtifacts(t *testing.T) {
	ctx := t.Context()
	store := bustest.Start(t).Connect().Sets()
	sizes := map[string]int64{}
	for _, size := range []int{0, 1, 256 << 10, 256<<10 + 1, 3 << 20} {
		data := bytes.Repeat([]byte("x"), size)
		name := archive.Digest(data)
		sizes[name] = int64(size)
		if has, err := store.Has(ctx, name); err != nil || has {
			t.Fatalf("%d bytes before Put: Has = %t, %v", size, has, err)
		}
		if err := store.Put(ctx, name, data); err != nil {
			t.Fatal(err)
		}
		if has, err := store.Has(ctx, name); err != nil || !has {
			t.Fatalf("%d bytes: Has = %t, %v", size, has, err)
		}
		r, err := store.Open(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: read %d, %v", size, len(got), err)
		}
	}
	have, err := store.List(ctx)
	if err != nil || len(have) != len(sizes) {
		t.Fatalf("List = %v, %v; want %d", have, err, len(sizes))
	}
	for _, a := range have {
		if size, ok := sizes[a.Name]; !ok || a.Size != size || time.Since(a.Modified) > time.Minute {
			t.Errorf("List has %+v; want size %d", a, size)
		}
		for range 2 {
			if err := store.Delete(ctx, a.Name); err != nil {
				t.Fatal(err)
			}
		}
		if has, err := store.Has(ctx, a.Name); err != nil || has {
			t.Errorf("%s after Delete: Has = %t, %v", a.Name, has, err)
		}
	}
	if have, err := store.List(ctx); err != nil || len(have) != 0 {
		t.Errorf("List at the end = %v, %v", have, err)
	}
}

func TestPutAgainRefreshesTheTime(t *testing.T) {
	ctx := t.Context()
	store := bustest.Start(t).Connect().Sets()
	data := []byte("x")
	var times []time.Time
	for range 2 {
		if err := store.Put(ctx, archive.Digest(data), data); err != nil {
			t.Fatal(err)
		}
		have, err := store.List(ctx)
		if err != nil || len(have) != 1 {
			t.Fatalf("List = %v, %v", have, err)
		}
		times = append(times, have[0].Modified)
	}
	if !times[1].After(times[0]) {
		t.Fatalf("second put left the time at %v", times[0])
	}
}

// Who stores something again while garbage is collected is about to name it.
func TestCollectLeavesWhatIsPutMeanwhile(t *testing.T) {
	ctx := t.Context()
	store := bustest.Start(t).Connect().Sets()
	small, large := []byte("x"), bytes.Repeat([]byte("x"), 1<<20)
	put := func() {
		for _, data := range [][]byte{small, large} {
			if err := store.Put(ctx, archive.Digest(data), data); err != nil {
				t.Error(err)
			}
		}
	}
	put()
	none := func(context.Context) (map[string]bool, error) { put(); return nil, nil }
	if _, err := bus.Collect(ctx, store, 0, none); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{small, large} {
		if got, err := store.Get(ctx, archive.Digest(data)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes that were put again: %d, %v", len(data), len(got), err)
		}
	}
}

// A stream that is lost alone is made again.
func TestLostStreamsHeal(t *testing.T) {
	ctx := t.Context()
	server := bustest.Start(t)
	conn := server.Connect()
	js, err := jetstream.New(server.Raw())
	if err != nil {
		t.Fatal(err)
	}
	for stream, use := range map[string]func() error{
		"SMALL_sets": func() error { return conn.Sets().Put(ctx, "sha256:a", []byte("a")) },
		"OBJ_sets":   func() error { return conn.Sets().Put(ctx, "sha256:b", make([]byte, 1<<20)) },
		"KV_state":   func() error { _, err := conn.PutState(ctx, "k", nil, 0, bus.Condition{Key: "k"}); return err },
		bus.StreamWork: func() error {
			return conn.Schedule(ctx, "s", types.NamespacedName{Namespace: "a", Name: "b"}, time.Now(), nil, false)
		},
	} {
		t.Run(stream, func(t *testing.T) {
			if err := js.DeleteStream(ctx, stream); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return use() == nil })
		})
	}
}

func TestCollectRemovesAbortedUploads(t *testing.T) {
	ctx := t.Context()
	server := bustest.Start(t)
	conn := server.Connect()
	js, err := jetstream.New(server.Raw())
	if err != nil {
		t.Fatal(err)
	}
	// What a Put leaves behind that was killed before it wrote the object's description.
	if _, err := js.Publish(ctx, "$O.artifacts.C.abandoned", []byte("chunk")); err != nil {
		t.Fatal(err)
	}
	none := func(context.Context) (map[string]bool, error) { return nil, nil }
	done, err := bus.Collect(ctx, conn.Artifacts(), 0, none)
	if err != nil || done.Orphans != 1 {
		t.Fatalf("Collect = %+v, %v; want one orphan removed", done, err)
	}
}

func TestConditionalState(t *testing.T) {
	ctx := t.Context()
	c := bustest.Start(t).Connect()
	rev, err := c.PutState(ctx, "lock.s.a.b", []byte("me"), time.Second, bus.Condition{Key: "lock.s.a.b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutState(ctx, "lock.s.a.b", []byte("other"), 0, bus.Condition{Key: "lock.s.a.b"}); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("second create: %v; want ErrConflict", err)
	}
	if _, err := c.PutState(ctx, "record.s.a.b", []byte("v"), 0, bus.Condition{Key: "lock.s.a.b", Revision: rev}); err != nil {
		t.Fatalf("fenced write by the holder: %v", err)
	}
	waitFor(t, func() bool { e, err := c.GetState(ctx, "lock.s.a.b"); return err == nil && e.Expired && e.Value == nil })
	if _, err := c.PutState(ctx, "record.s.a.b", []byte("late"), 0, bus.Condition{Key: "lock.s.a.b", Revision: rev}); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("fenced write after expiry: %v; want ErrConflict", err)
	}
}

func TestScheduleFiresOnceAndIsReplaced(t *testing.T) {
	ctx := t.Context()
	c := bustest.Start(t).Connect()
	key := types.NamespacedName{Namespace: "a", Name: "b.c"}
	if err := c.Schedule(ctx, "s", key, time.Now().Add(time.Hour), nil, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Schedule(ctx, "s", key, time.Now(), nil, true); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("create-only schedule over another: %v; want ErrConflict", err)
	}
	armed := time.Now()
	if err := c.Schedule(ctx, "s", key, armed.Add(400*time.Millisecond), nil, false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { m, err := c.LastTrigger(ctx, "s", key); return err == nil && m != nil })
	if took := time.Since(armed); took < 400*time.Millisecond {
		t.Fatalf("fired after %v", took)
	}
}

func TestWipeIsNoticed(t *testing.T) {
	server := bustest.Start(t)
	c := server.Connect()
	told := make(chan bool, 10)
	c.Subscribe(func(wiped bool) { told <- wiped })
	server.Restart(false)
	if wiped := receive(t, told); wiped {
		t.Fatal("a restart was taken for a wipe")
	}
	server.Restart(true)
	if wiped := receive(t, told); !wiped {
		t.Fatal("a wipe went unnoticed")
	}
	if _, err := c.PutState(t.Context(), "k", nil, 0, bus.Condition{Key: "k"}); err != nil {
		t.Fatalf("write after wipe: %v", err)
	}
}

func receive(t *testing.T, c chan bool) bool {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("not told within 20s")
		return false
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("condition not met within 20s")
}
