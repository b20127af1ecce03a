package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrArtifactNotFound says that nothing is stored under a digest (any more).
var ErrArtifactNotFound = errors.New("artifact not found")

// ArtifactStore keeps bytes under a name made from their content. Putting a name twice is one object.
type ArtifactStore interface {
	// Put stores data under name ("sha256:<hex>" or another digest) and refreshes its time when it is there already.
	Put(ctx context.Context, name string, data []byte) error
	// Get returns the bytes under name; ErrArtifactNotFound when there are none.
	Get(ctx context.Context, name string) ([]byte, error)
	// Open streams the bytes under name; ErrArtifactNotFound when there are none.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// Has says whether name is stored.
	Has(ctx context.Context, name string) (bool, error)
	// List returns everything stored.
	List(ctx context.Context) ([]ArtifactInfo, error)
	// Delete removes name; removing what is not there is no error.
	Delete(ctx context.Context, name string) error
}

// ArtifactInfo describes one stored artifact.
type ArtifactInfo struct {
	Name     string
	Size     int64     // bytes
	Modified time.Time // when it was last put

	sequence uint64 // of the message that a small artifact is; zero for a large one
}

// Artifacts is the store of packed sources.
func (c *Conn) Artifacts() ArtifactStore { return c.artifactStore(BucketArtifacts) }

// Sets is the store of sealed rendered sets.
func (c *Conn) Sets() ArtifactStore { return c.artifactStore(BucketSets) }

// streamOf is the stream behind an object bucket.
func streamOf(bucket string) string { return "OBJ_" + bucket }

// objectStore is an ArtifactStore in a JetStream object bucket.
type objectStore struct {
	conn   *Conn
	bucket string
}

func (s *objectStore) open(ctx context.Context) (jetstream.ObjectStore, error) {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	store, err := s.conn.JS.ObjectStore(ctx, s.bucket)
	if err != nil {
		s.conn.Heal()
		return nil, fmt.Errorf("open bucket %s: %w", s.bucket, err)
	}
	return store, nil
}

func (s *objectStore) Put(ctx context.Context, name string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime+time.Duration(len(data)/minBytesPerSecond)*time.Second)
	defer cancel()
	store, err := s.open(ctx)
	if err != nil {
		return err
	}
	if info, err := store.GetInfo(ctx, name); err == nil && info.Size == uint64(len(data)) {
		// UpdateMeta writes the same description again, with a new time: the collector sees that it is wanted.
		return store.UpdateMeta(ctx, name, info.ObjectMeta)
	}
	meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize(len(data))}}
	if _, err := store.Put(ctx, meta, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("put %s into bucket %s: %w", name, s.bucket, err)
	}
	return nil
}

// chunkSize keeps small objects in one message and large ones in chunks below the server's payload limit.
func chunkSize(n int) uint32 {
	const most = 512 << 10
	return uint32(max(1, min(n, most)))
}

func (s *objectStore) Get(ctx context.Context, name string) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s from bucket %s: %w", name, s.bucket, err)
	}
	return data, nil
}

func (s *objectStore) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	store, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	request, cancel := oneRequest(ctx)
	defer cancel()
	info, err := store.GetInfo(request, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("%s in bucket %s: %w", name, s.bucket, ErrArtifactNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s from bucket %s: %w", name, s.bucket, err)
	}
	stream, err := s.conn.openStream(request, streamOf(s.bucket))
	if err != nil {
		return nil, err
	}
	return &chunkReader{ctx: ctx, stream: stream, subject: "$O." + s.bucket + ".C." + info.NUID, left: info.Size}, nil
}

func (s *objectStore) Has(ctx context.Context, name string) (bool, error) {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	store, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	_, err = store.GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up %s in bucket %s: %w", name, s.bucket, err)
	}
	return true, nil
}

func (s *objectStore) List(ctx context.Context) ([]ArtifactInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	store, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	infos, err := store.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", s.bucket, err)
	}
	out := make([]ArtifactInfo, 0, len(infos))
	for _, i := range infos {
		out = append(out, ArtifactInfo{Name: i.Name, Size: int64(i.Size), Modified: i.ModTime})
	}
	return out, nil
}

func (s *objectStore) Delete(ctx context.Context, name string) error {
	ctx, cancel := oneRequest(ctx)
	defer cancel()
	store, err := s.open(ctx)
	if err != nil {
		return err
	}
	if err := store.Delete(ctx, name); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("delete %s from bucket %s: %w", name, s.bucket, err)
	}
	return nil
}

// deleteListed deletes what List gave, if it was not put again since.
func (s *objectStore) deleteListed(ctx context.Context, a ArtifactInfo) error {
	request, cancel := oneRequest(ctx)
	defer cancel()
	store, err := s.open(request)
	if err != nil {
		return err
	}
	info, err := store.GetInfo(request, a.Name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s in bucket %s: %w", a.Name, s.bucket, err)
	}
	if info.ModTime.After(a.Modified) {
		return nil
	}
	return s.Delete(ctx, a.Name)
}

// removeOrphans purges chunks that no object names and that are older than age: what a Put that was
// killed half-way leaves behind. It returns how many such uploads it removed.
func (s *objectStore) removeOrphans(ctx context.Context, age time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	store, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	stream, err := s.conn.JS.Stream(ctx, streamOf(s.bucket))
	if err != nil {
		return 0, fmt.Errorf("open stream of bucket %s: %w", s.bucket, err)
	}
	prefix := "$O." + s.bucket + ".C."
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return 0, fmt.Errorf("list chunks of bucket %s: %w", s.bucket, err)
	}
	named, err := namedUploads(ctx, store)
	if err != nil {
		return 0, err
	}
	removed := 0
	for subject := range info.State.Subjects {
		if named[strings.TrimPrefix(subject, prefix)] || !s.olderThan(ctx, stream, subject, age) {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return removed, fmt.Errorf("purge orphan chunks of bucket %s: %w", s.bucket, err)
		}
		removed++
	}
	return removed, nil
}

func namedUploads(ctx context.Context, store jetstream.ObjectStore) (map[string]bool, error) {
	infos, err := store.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	named := make(map[string]bool, len(infos))
	for _, i := range infos {
		named[i.NUID] = true
	}
	return named, nil
}

func (s *objectStore) olderThan(ctx context.Context, stream jetstream.Stream, subject string, age time.Duration) bool {
	last, err := stream.GetLastMsgForSubject(ctx, subject)
	return err == nil && time.Since(last.Time) > age
}

// message builds a message with headers for a subject.
func message(subject string, data []byte, header map[string]string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = data
	for k, v := range header {
		if v != "" {
			m.Header[k] = []string{v} // not Set: header names are case-sensitive here
		}
	}
	return m
}
