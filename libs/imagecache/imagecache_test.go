package imagecache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/imagecache/imagecachetest"
	"github.com/sluice-cd/sluice/libs/registry"
)

// each runs a test against a real Redis, against a real Valkey where one is installed, and against the embedded server.
func each(t *testing.T, test func(t *testing.T, o imagecache.Options)) {
	t.Run("redis", func(t *testing.T) { test(t, imagecachetest.Start(t).Options()) })
	t.Run("valkey", func(t *testing.T) { test(t, imagecachetest.StartValkey(t).Options()) })
	t.Run("embedded", func(t *testing.T) {
		server, o, err := imagecache.StartEmbeddedIn(t.TempDir())
		imagecachetest.Must(t, err)
		t.Cleanup(server.Stop)
		test(t, o)
	})
}

func raw(t *testing.T, o imagecache.Options) *redis.Client {
	t.Helper()
	password, err := os.ReadFile(o.PasswordFile)
	imagecachetest.Must(t, err)
	c := redis.NewClient(&redis.Options{Addr: o.Addrs[0], Password: strings.TrimSpace(string(password))})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var scope = imagecache.Scope{Image: "ghcr.io/org/app", Credential: "somebody"}

func listing(names ...string) *imagecache.Listing {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return imagecache.NewListing(scope.Image, names, true, now.Add(-time.Second), now, nil)
}

func TestWhatIsPutComesBack(t *testing.T) {
	each(t, func(t *testing.T, o imagecache.Options) {
		c, ctx := imagecachetest.Connect(t, o), t.Context()
		if got, err := c.Listing(ctx, scope); got != nil || err != nil {
			t.Fatalf("an empty cache has %v, %v", got, err)
		}
		want := listing("2.0", "1.0", "1.0")
		imagecachetest.Must(t, c.PutListing(ctx, scope, want))
		got, err := imagecachetest.Connect(t, o).ListingOf(ctx, scope, want.Digest())
		imagecachetest.Must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, other := range []imagecache.Scope{{Image: scope.Image}, {Image: "ghcr.io/org/ap", Credential: "psomebody"}} {
			if got, err := c.Listing(ctx, other); got != nil || err != nil {
				t.Errorf("%v has the listing of another: %v, %v", other, got, err)
			}
		}
		if got, err := c.ListingOf(ctx, scope, "sha256:another"); got != nil || err != nil {
			t.Errorf("a listing of another digest: %v, %v", got, err)
		}
		d := imagecache.Digest{Digest: "sha256:1", At: time.Now().UTC()}
		imagecachetest.Must(t, c.PutDigest(ctx, scope, "1.0", d))
		digests, err := c.Digests(ctx, scope, []string{"1.0", "2.0"})
		imagecachetest.Must(t, err)
		if diff := cmp.Diff(map[string]imagecache.Digest{"1.0": d}, digests); diff != "" {
			t.Error(diff)
		}
		m := &registry.Metadata{Digest: "sha256:1", Created: time.Now().UTC(), Platforms: []string{"linux/amd64"}, Labels: map[string]string{"a": "b"}}
		imagecachetest.Must(t, c.PutMetadata(ctx, "ghcr.io", m))
		gotMeta, err := c.Metadata(ctx, "ghcr.io", "sha256:1")
		imagecachetest.Must(t, err)
		if diff := cmp.Diff(m, gotMeta); diff != "" {
			t.Error(diff)
		}
		p := &imagecache.Partial{Names: []string{"1.0"}, Next: "/v2/?last=1.0", StartedAt: time.Now().UTC(), Pages: 1}
		imagecachetest.Must(t, c.PutPartial(ctx, scope, p))
		if diff := cmp.Diff(p, begin(t, c, want).Partial); diff != "" {
			t.Error(diff)
		}
		imagecachetest.Must(t, c.DropPartial(ctx, scope))
		if p := begin(t, c, want).Partial; p != nil {
			t.Errorf("a dropped part is there: %v", p)
		}
	})
}

// TestNobodyElseWrites plays a pod that can write to Redis, and one that reads all keys.
func TestNobodyElseWrites(t *testing.T) {
	each(t, func(t *testing.T, o imagecache.Options) {
		c, ctx, r := imagecachetest.Connect(t, o), t.Context(), raw(t, o)
		other := imagecache.Scope{Image: scope.Image, Credential: "other"}
		imagecachetest.Must(t, c.PutListing(ctx, scope, listing("1.0")))
		imagecachetest.Must(t, c.PutListing(ctx, other, listing("evil")))
		imagecachetest.Must(t, c.PutDigest(ctx, scope, "1.0", imagecache.Digest{Digest: "sha256:1"}))
		keys, err := r.Keys(ctx, "*").Result()
		imagecachetest.Must(t, err)
		var tags []string
		for _, key := range keys {
			for _, word := range []string{"ghcr", "org", "app", "somebody", "1.0"} {
				if strings.Contains(strings.TrimPrefix(key, "sluice:1:"), word) {
					t.Errorf("key %q tells of %q", key, word)
				}
			}
			if strings.HasPrefix(key, "sluice:1:tags:") {
				tags = append(tags, key)
			}
		}
		if len(tags) != 2 {
			t.Fatalf("keys of listings: %v", tags)
		}
		one, err := r.Get(ctx, tags[0]).Bytes()
		imagecachetest.Must(t, err)
		two, err := r.Get(ctx, tags[1]).Bytes()
		imagecachetest.Must(t, err)
		absent := func(what string) {
			t.Helper()
			for _, s := range []imagecache.Scope{scope, other} {
				if got, err := c.Listing(ctx, s); got != nil || err != nil {
					t.Errorf("%s: listing %v, %v", what, got, err)
				}
			}
		}
		imagecachetest.Must(t, r.MSet(ctx, tags[0], two, tags[1], one).Err())
		absent("values of each other")
		for i := range len(one) {
			one[i] ^= 1
		}
		imagecachetest.Must(t, r.MSet(ctx, tags[0], one, tags[1], "").Err())
		absent("changed and empty values")
		one[0] = 9
		imagecachetest.Must(t, r.MSet(ctx, tags[0], one, tags[1], "nonsense that is long enough to have a header of 33 bytes").Err())
		absent("values of another version")
		digests := ""
		for _, key := range keys {
			if strings.HasPrefix(key, "sluice:1:digests:") {
				digests = key
			}
		}
		fields, err := r.HKeys(ctx, digests).Result()
		imagecachetest.Must(t, err)
		imagecachetest.Must(t, r.HSet(ctx, digests, fields[0], "evil").Err())
		if found, err := c.Digests(ctx, scope, []string{"1.0"}); len(found) != 0 || err != nil {
			t.Errorf("digests %v, %v", found, err)
		}
	})
}

func TestAnotherKeyReadsNothing(t *testing.T) {
	s := imagecachetest.Start(t)
	imagecachetest.Must(t, s.Connect().PutListing(t.Context(), scope, listing("1.0")))
	imagecachetest.Must(t, os.WriteFile(s.Options().CacheKeyFile, []byte(strings.Repeat("k", 32)), 0o600))
	if got, err := s.Connect().Listing(t.Context(), scope); got != nil || err != nil {
		t.Errorf("listing %v, %v", got, err)
	}
	imagecachetest.Must(t, os.WriteFile(s.Options().CacheKeyFile, []byte("short"), 0o600))
	if _, err := imagecache.Connect(s.Options(), nil, nil); err == nil {
		t.Error("a short key is taken")
	}
}

func TestRedisAway(t *testing.T) {
	s := imagecachetest.Start(t)
	c, ctx := s.Connect(), t.Context()
	imagecachetest.Must(t, c.PutListing(ctx, scope, listing("1.0")))
	s.Stop()
	if _, err := c.Listing(ctx, scope); !errors.Is(err, imagecache.ErrUnavailable) {
		t.Errorf("err = %v, want %v", err, imagecache.ErrUnavailable)
	}
	if _, err := c.NewBudget(imagecache.Rate{}).Take(ctx, "host", "tags"); !errors.Is(err, imagecache.ErrUnavailable) {
		t.Errorf("err = %v, want %v", err, imagecache.ErrUnavailable)
	}
	s.Run()
	if got, err := c.Listing(ctx, scope); got != nil || err != nil {
		t.Errorf("after an empty start: %v, %v", got, err)
	}
	imagecachetest.Must(t, c.PutListing(ctx, scope, listing("1.0")))
}

func TestPasswordChanges(t *testing.T) {
	s := imagecachetest.Start(t)
	c := s.Connect()
	imagecachetest.Must(t, c.Ping(t.Context()))
	imagecachetest.Must(t, os.WriteFile(s.Options().PasswordFile, []byte("wrong"), 0o600))
	if err := s.Connect().Ping(t.Context()); err == nil || strings.Contains(err.Error(), "wrong\"") {
		t.Errorf("err = %v for a wrong password", err)
	}
}

func TestListingsFollowEachOther(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return start.Add(time.Duration(hours) * time.Hour) }
	follow := func(before *imagecache.Listing, hours int, names ...string) *imagecache.Listing {
		return imagecache.NewListing("i", names, true, at(hours), at(hours), before)
	}
	first := follow(nil, 0, "a", "b", "c", "d")
	second := follow(first, 1, "a", "b", "c", "d", "e")
	if second.PreviousCount != 4 || second.Shrunk() || second.Tags[0].FirstSeen != at(0) || second.Tags[4].FirstSeen != at(1) {
		t.Errorf("second is %+v", second)
	}
	same := follow(second, 2, "e", "d", "c", "b", "a")
	if same.Digest() != second.Digest() || same.PreviousCount != 4 {
		t.Error("the same tags later make another digest")
	}
	third := follow(same, 3, "a", "b")
	if third.PreviousCount != 5 || !third.Shrunk() || len(third.Vanished) != 3 || third.Vanished[0] != (imagecache.Gone{Name: "c", Since: at(3)}) {
		t.Errorf("third is %+v", third)
	}
	fourth := follow(third, 4, "a", "b", "f")
	if !fourth.Shrunk() || len(fourth.Vanished) != 3 {
		t.Errorf("a tag more hides that three are gone: %+v", fourth)
	}
	back := follow(fourth, 5, "a", "b", "c", "d", "e", "f")
	if back.Shrunk() || len(back.Vanished) != 0 || back.Tags[2].FirstSeen != at(5) {
		t.Errorf("all back: %+v", back)
	}
	empty := follow(back, 6)
	if !empty.Shrunk() || empty.PreviousCount != 6 || len(empty.Vanished) != 6 {
		t.Errorf("empty is %+v", empty)
	}
	if later := follow(empty, 6+24*8); later.Shrunk() || len(later.Vanished) != 0 {
		t.Errorf("a week later: %+v", later)
	}
}

func TestExclude(t *testing.T) {
	l := listing("1.0", "1.0.sig", "latest")
	tags, err := l.Exclude([]string{`^.*\.sig$`, "late"})
	if err != nil || len(tags) != 1 || tags[0].Name != "1.0" {
		t.Errorf("%v, %v", tags, err)
	}
	if _, err := l.Exclude([]string{"("}); err == nil {
		t.Error("a bad expression is taken")
	}
}

// begin begins a scan, checks that it goes on from a listing, and lets go.
func begin(t *testing.T, c *imagecache.Cache, want *imagecache.Listing) *imagecache.Lock {
	t.Helper()
	lock, err := c.Begin(t.Context(), scope)
	imagecachetest.Must(t, err)
	lock.Release(t.Context())
	if diff := cmp.Diff(want, lock.Listing); diff != "" {
		t.Error(diff)
	}
	return lock
}

func TestLock(t *testing.T) {
	each(t, func(t *testing.T, o imagecache.Options) {
		a, b, ctx := imagecachetest.Connect(t, o), imagecachetest.Connect(t, o), t.Context()
		lock, err := a.Begin(ctx, scope)
		if lock == nil || err != nil {
			t.Fatalf("%v, %v", lock, err)
		}
		if again, err := b.Begin(ctx, scope); again != nil || err != nil {
			t.Fatalf("taken twice: %v, %v", again, err)
		}
		former := *lock
		lock.Release(ctx)
		next, err := b.Begin(ctx, scope)
		if next == nil || err != nil {
			t.Fatalf("%v, %v", next, err)
		}
		former.Release(ctx) // no longer ours
		if again, err := a.Begin(ctx, scope); again != nil || err != nil {
			t.Errorf("a former holder released it: %v, %v", again, err)
		}
		imagecachetest.Must(t, a.PutPartial(ctx, scope, &imagecache.Partial{Names: []string{"1.0"}, StartedAt: time.Now()}))
		made := listing("1.0")
		imagecachetest.Must(t, next.Finish(ctx, made))
		if after := begin(t, a, made); after.Partial != nil {
			t.Errorf("a listing that is finished is gone on with: %+v", after.Partial)
		}
	})
}

// TestLockIsKept makes a lock old and looks whether its holder renews it, and nobody does after the scan.
func TestLockIsKept(t *testing.T) {
	s := imagecachetest.Start(t)
	c, r, ctx := s.Connect(), s.Raw(), t.Context()
	lock, err := c.Begin(ctx, scope)
	imagecachetest.Must(t, err)
	keys, err := r.Keys(ctx, "sluice:1:lock:*").Result()
	imagecachetest.Must(t, err)
	imagecachetest.Must(t, r.PExpire(ctx, keys[0], 5*time.Second).Err())
	for end := time.Now().Add(10 * time.Second); r.PTTL(ctx, keys[0]).Val() <= 5*time.Second; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a lock is not renewed while its scan lasts")
		}
	}
	lock.Release(ctx)
	if n := r.Exists(ctx, keys[0]).Val(); n != 0 {
		t.Error("a released lock is there")
	}
}

// TestBudgetOfTenReplicas holds that ten replicas together never get more than the rate and one burst.
func TestBudgetOfTenReplicas(t *testing.T) {
	each(t, func(t *testing.T, o imagecache.Options) {
		const rate, burst, span = 50.0, 20, 2 * time.Second
		var granted atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		start := time.Now()
		var all sync.WaitGroup
		for range 10 {
			b := imagecachetest.Connect(t, o).NewBudget(imagecache.Rate{PerSecond: rate, Burst: burst})
			for range 4 {
				all.Go(func() {
					for ctx.Err() == nil {
						wait, err := b.Take(ctx, "host", "tags")
						switch {
						case err != nil:
							return
						case wait == 0:
							granted.Add(1)
						default:
							select {
							case <-ctx.Done():
							case <-time.After(min(wait, 50*time.Millisecond)):
							}
						}
					}
				})
			}
		}
		all.Wait()
		most := rate*time.Since(start).Seconds() + burst
		if n := float64(granted.Load()); n > most+1 || n < rate*span.Seconds()*0.7 {
			t.Errorf("%v requests granted in %s, want at most %.0f and not much less", n, time.Since(start), most)
		}
	})
}

func TestBudgetSendsAwayOneAfterTheOther(t *testing.T) {
	each(t, func(t *testing.T, o imagecache.Options) {
		b := imagecachetest.Connect(t, o).NewBudget(imagecache.Rate{PerSecond: 1, Burst: 2})
		var waits []time.Duration
		for i := range 6 {
			wait, err := b.Take(t.Context(), "host", "tags")
			imagecachetest.Must(t, err)
			if (i < 2) != (wait == 0) {
				t.Fatalf("request %d: wait %s", i, wait)
			}
			if wait > 0 {
				waits = append(waits, wait)
			}
		}
		for i := 1; i < len(waits); i++ {
			if d := waits[i] - waits[i-1]; d < 500*time.Millisecond || d > 1500*time.Millisecond {
				t.Errorf("waits %v are not a second apart", waits)
			}
		}
		if wait, err := b.Take(t.Context(), "another", "tags"); wait != 0 || err != nil {
			t.Errorf("another host waits %s, %v", wait, err)
		}
	})
}

func TestBlock(t *testing.T) {
	each(t, func(t *testing.T, o imagecache.Options) {
		b, other := imagecachetest.Connect(t, o).NewBudget(imagecache.Rate{}), imagecachetest.Connect(t, o).NewBudget(imagecache.Rate{})
		take := func(host, class string) time.Duration {
			t.Helper()
			wait, err := other.Take(t.Context(), host, class)
			imagecachetest.Must(t, err)
			return wait
		}
		imagecachetest.Must(t, b.Block(t.Context(), "host", "manifests", time.Minute))
		if take("host", "tags") != 0 || take("host", "manifests") < 55*time.Second {
			t.Error("a block of one class is none of another")
		}
		imagecachetest.Must(t, b.Block(t.Context(), "host", "", 10*time.Second))
		if w := take("host", "tags"); w < 9*time.Second || w > 11*time.Second {
			t.Errorf("blocked for %s, want 10s", w)
		}
		imagecachetest.Must(t, b.Block(t.Context(), "host", "", time.Second)) // shortens nothing
		if take("host", "tags") < 9*time.Second || take("free", "tags") != 0 {
			t.Error("the block of ten seconds is gone, or another host has it")
		}
		for range 5 { // at once: one strike
			imagecachetest.Must(t, b.Block(t.Context(), "silent", "", 0))
		}
		if w := take("silent", "tags"); w < 4*time.Second || w > 6*time.Second {
			t.Errorf("blocked for %s, want 5s", w)
		}
	})
}

// TestSentinel, TestCluster and TestTLS hold the other ways to Redis against the same values.
func TestSentinel(t *testing.T) {
	s := imagecachetest.Start(t)
	o := s.Options()
	password, err := os.ReadFile(o.PasswordFile)
	imagecachetest.Must(t, err)
	port := imagecachetest.FreePort(t)
	host, masterPort, _ := strings.Cut(s.Addr(), ":")
	sentinel(t, port, fmt.Sprintf("sentinel monitor main %s %s 1\nsentinel auth-pass main %s\n", host, masterPort, strings.TrimSpace(string(password))))
	o.Addrs, o.Master = []string{fmt.Sprintf("127.0.0.1:%d", port)}, "main"
	works(t, o)
}

func works(t *testing.T, o imagecache.Options) {
	t.Helper()
	c := imagecachetest.Connect(t, o)
	for i := range 20 { // on several slots
		s := imagecache.Scope{Image: fmt.Sprint("image", i)}
		imagecachetest.Must(t, c.PutListing(t.Context(), s, listing("1.0")))
		if got, err := c.Listing(t.Context(), s); got == nil || err != nil {
			t.Fatalf("%v, %v", got, err)
		}
		imagecachetest.Must(t, c.PutDigest(t.Context(), s, "1.0", imagecache.Digest{}))
		lock, err := c.Begin(t.Context(), s)
		imagecachetest.Must(t, err)
		lock.Release(t.Context())
		if wait, err := c.NewBudget(imagecache.Rate{PerSecond: 10, Burst: 10}).Take(t.Context(), s.Image, "tags"); wait != 0 || err != nil {
			t.Fatalf("%v, %v", wait, err)
		}
	}
}
