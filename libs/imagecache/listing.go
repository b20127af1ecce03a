package imagecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Scope is an image as seen with a credential: what one may see is no business of another.
type Scope struct {
	Image      string // canonical name: registry and repository
	Credential string // opaque name of the credential; empty for none
}

// Tag is a name in a listing.
type Tag struct {
	Name      string
	FirstSeen time.Time // when a listing first had it, whole seconds
}

// Gone is a tag that an earlier listing had.
type Gone struct {
	Name  string
	Since time.Time // when a listing first lacked it, whole seconds
}

// Listing is the tags of an image as they were at its last scan.
type Listing struct {
	Image string
	Tags  []Tag // by name
	// StartedAt and ScannedAt are when the first page was asked for and the last was there. The digest leaves them out.
	StartedAt, ScannedAt time.Time
	// Complete says that the registry was asked to its last page; false where there were more tags than are taken.
	Complete bool
	// PreviousCount is how many tags the listing had that was followed by another than itself; zero for none.
	PreviousCount int
	// Vanished are tags that earlier listings had and this one lacks, latest first.
	Vanished []Gone
}

const (
	listingLife = 7 * 24 * time.Hour
	// vanishedLife is how long a tag is remembered that is gone.
	vanishedLife = 7 * 24 * time.Hour
	maxVanished  = 10_000
)

// NewListing makes the listing that follows another one, which may be nil: names that the other had keep their first-seen time, and
// names that it alone has are remembered as vanished.
func NewListing(image string, names []string, complete bool, startedAt, now time.Time, before *Listing) *Listing {
	l := &Listing{Image: image, Complete: complete, StartedAt: startedAt, ScannedAt: now}
	now = now.UTC().Truncate(time.Second)
	seen := map[string]time.Time{}
	if before != nil {
		l.PreviousCount = before.PreviousCount
		for _, t := range before.Tags {
			seen[t.Name] = t.FirstSeen
		}
	}
	names = slices.Clone(names)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		first, ok := seen[name]
		if !ok {
			first = now
		}
		delete(seen, name)
		l.Tags = append(l.Tags, Tag{name, first})
	}
	if before != nil {
		l.remember(before, seen, now)
	}
	return l
}

// remember notes what the listing before had: lost are its tags that this one lacks.
func (l *Listing) remember(before *Listing, lost map[string]time.Time, now time.Time) {
	if len(lost) > 0 || len(before.Tags) != len(l.Tags) {
		l.PreviousCount = len(before.Tags)
	}
	for name := range lost {
		l.Vanished = append(l.Vanished, Gone{name, now})
	}
	slices.SortFunc(l.Vanished, func(a, b Gone) int { return strings.Compare(a.Name, b.Name) })
	for _, g := range before.Vanished {
		if !l.Has(g.Name) && now.Sub(g.Since) < vanishedLife {
			l.Vanished = append(l.Vanished, g)
		}
	}
	if len(l.Vanished) > maxVanished {
		l.Vanished = l.Vanished[:maxVanished]
	}
}

// Has says whether a tag is in the listing.
func (l *Listing) Has(tag string) bool {
	_, found := slices.BinarySearchFunc(l.Tags, tag, func(t Tag, name string) int { return strings.Compare(t.Name, name) })
	return found
}

// Shrunk says whether more than a third of the tags that were there are gone: of what the last week's listings had together.
func (l *Listing) Shrunk() bool {
	return 3*len(l.Vanished) > len(l.Tags)+len(l.Vanished)
}

// Digest names the content of the listing: what it says, not when it was looked at.
func (l *Listing) Digest() string {
	w := l.wire()
	w.StartedAt, w.ScannedAt = 0, 0
	data, err := json.Marshal(w)
	if err != nil { // strings and numbers alone
		panic(err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// wireListing is a Listing in the cache: names apart from times pack well.
type wireListing struct {
	Image         string   `json:"image"`
	Names         []string `json:"names,omitempty"`
	FirstSeen     []int64  `json:"firstSeen,omitempty"` // Unix seconds, one for each name
	StartedAt     int64    `json:"startedAt,omitempty"` // Unix milliseconds
	ScannedAt     int64    `json:"scannedAt,omitempty"`
	Complete      bool     `json:"complete,omitempty"`
	PreviousCount int      `json:"previousCount,omitempty"`
	Vanished      []string `json:"vanished,omitempty"`
	VanishedAt    []int64  `json:"vanishedAt,omitempty"`
}

func (l *Listing) wire() *wireListing {
	w := &wireListing{
		Image: l.Image, StartedAt: l.StartedAt.UnixMilli(), ScannedAt: l.ScannedAt.UnixMilli(), Complete: l.Complete, PreviousCount: l.PreviousCount,
	}
	for _, t := range l.Tags {
		w.Names, w.FirstSeen = append(w.Names, t.Name), append(w.FirstSeen, t.FirstSeen.Unix())
	}
	for _, g := range l.Vanished {
		w.Vanished, w.VanishedAt = append(w.Vanished, g.Name), append(w.VanishedAt, g.Since.Unix())
	}
	return w
}

func (w *wireListing) listing() (*Listing, error) {
	if len(w.Names) != len(w.FirstSeen) || len(w.Vanished) != len(w.VanishedAt) {
		return nil, fmt.Errorf("listing of %d tags has %d times", len(w.Names), len(w.FirstSeen))
	}
	l := &Listing{
		Image: w.Image, StartedAt: time.UnixMilli(w.StartedAt).UTC(), ScannedAt: time.UnixMilli(w.ScannedAt).UTC(), Complete: w.Complete, PreviousCount: w.PreviousCount,
		Tags: make([]Tag, len(w.Names)),
	}
	for i, name := range w.Names {
		l.Tags[i] = Tag{name, time.Unix(w.FirstSeen[i], 0).UTC()}
	}
	for i, name := range w.Vanished {
		l.Vanished = append(l.Vanished, Gone{name, time.Unix(w.VanishedAt[i], 0).UTC()})
	}
	return l, nil
}

// Listing returns the listing of an image under a credential; nil when there is none.
func (c *Cache) Listing(ctx context.Context, s Scope) (*Listing, error) {
	return c.listing(s, c.redis.Get(ctx, c.listingKey(s)))
}

func (c *Cache) listing(s Scope, command *redis.StringCmd) (*Listing, error) {
	var w wireListing
	found, err := c.answer(command, "tags", c.listingKey(s), &w)
	if err != nil || !found {
		return nil, err
	}
	return w.listing()
}

// Latest returns the listing of an image under a credential, nil when there is none, and when somebody last spoke of a push of the image.
func (c *Cache) Latest(ctx context.Context, s Scope) (*Listing, time.Time, error) {
	pipe := c.redis.Pipeline()
	listing, pushed := pipe.Get(ctx, c.listingKey(s)), pipe.Get(ctx, c.pushedKey(s.Image))
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, time.Time{}, unavailable("read tags", err)
	}
	at, err := c.pushed(s.Image, pushed)
	if err != nil {
		return nil, at, err
	}
	l, err := c.listing(s, listing)
	return l, at, err
}

// ListingOf returns the listing that a record names by its digest; nil when the cache has none or another one: then the record
// will be another soon, or the scanner has to be asked for a scan.
func (c *Cache) ListingOf(ctx context.Context, s Scope, digest string) (*Listing, error) {
	l, err := c.Listing(ctx, s)
	if err != nil || l == nil || l.Digest() != digest {
		return nil, err
	}
	return l, nil
}

// PutListing stores a listing in place of the one before.
func (c *Cache) PutListing(ctx context.Context, s Scope, l *Listing) error {
	return c.put(ctx, "tags", c.listingKey(s), l.wire(), listingLife)
}

func (c *Cache) listingKey(s Scope) string { return c.codec.key("tags", s.Image, s.Credential) }

// NewScope names an image as seen by an access, whose ID may be a digest of a weak password: only its keyed digest goes out.
func (c *Cache) NewScope(image, accessID string) Scope {
	s := Scope{Image: image}
	if accessID != "" {
		s.Credential = c.codec.id("credential", accessID)
	}
	return s
}
