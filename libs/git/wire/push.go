package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// zero stands for no object, on either side of an update.
const zero = "0000000000000000000000000000000000000000"

// Update moves one ref of a server forward.
type Update struct {
	// Ref is a full name.
	Ref string
	// Old is what the ref must still point at for the server to move it; empty
	// where the ref must not exist yet.
	Old string
	// New is what it is to point at. There is no way to delete a ref.
	New string
}

// check is the last line before the wire. Whether New descends from Old is for
// the caller to see to, who has the commits.
func (u Update) check() error {
	switch {
	case !strings.HasPrefix(u.Ref, "refs/") || strings.ContainsFunc(u.Ref, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("+:*?[\\^~", r) }):
		return fmt.Errorf("push: %q is no full name of a ref", clean(u.Ref))
	case !IsHash(u.New) || u.New == zero:
		return fmt.Errorf("push to %s: refs are not deleted", u.Ref)
	case u.Old != "" && (!IsHash(u.Old) || u.Old == zero):
		return fmt.Errorf("push to %s: %q is no hash", u.Ref, clean(u.Old))
	case u.Old == u.New:
		return fmt.Errorf("push to %s: nothing to push", u.Ref)
	}
	return nil
}

// PushRequest is one push.
type PushRequest struct {
	// Updates are done all together or not at all. Several need a server that is Atomic.
	Updates []Update
	// Options are push options, one line each.
	Options []string
	// Pack holds the objects that the server lacks.
	Pack []byte
}

// Pusher pushes to one repository. It is not for concurrent use.
type Pusher struct {
	transport transport
	server    *Server
}

// NewHTTPPusher returns a pusher that never goes to another host; nothing is
// sent yet.
func NewHTTPPusher(o HTTPOptions) *Pusher {
	o.Confined = true
	return &Pusher{transport: newHTTPTransport(receivePack, o)}
}

// NewSSHPusher returns a pusher; nothing is sent yet.
func NewSSHPusher(o SSHOptions) *Pusher {
	return &Pusher{transport: newSSHTransport(receivePack, o)}
}

// Close hangs up.
func (p *Pusher) Close() error { return p.transport.close() }

// Refs are the server's refs and what they point at, at the moment when the
// conversation began.
func (p *Pusher) Refs(ctx context.Context) (map[string]string, error) {
	if err := p.connect(ctx); err != nil {
		return nil, err
	}
	refs := make(map[string]string, len(p.server.refs))
	for _, ref := range p.server.refs {
		refs[ref.Name] = ref.Hash
	}
	return refs, nil
}

// Atomic reports whether the server does all updates of a push or none.
func (p *Pusher) Atomic(ctx context.Context) (bool, error) {
	if err := p.connect(ctx); err != nil {
		return false, err
	}
	_, ok := p.server.capabilities["atomic"]
	return ok, nil
}

func (p *Pusher) connect(ctx context.Context) error {
	if p.server != nil {
		return nil
	}
	answer, err := p.transport.open(ctx)
	if err != nil {
		return err
	}
	defer answer.Close()
	server, err := readAdvertisement(&packetReader{r: answer})
	if err != nil {
		return fmt.Errorf("read the advertisement: %w", unreachable(ctx, err))
	}
	if format, ok := server.capabilities["object-format"]; ok && format != "sha1" {
		return fmt.Errorf("the repository uses object format %q, which is not supported", clean(format))
	}
	if _, ok := server.capabilities["report-status"]; !ok {
		return errors.New("the server does not report what became of a push")
	}
	p.server = server
	return nil
}

// Push sends the objects and asks for the updates. A server that refuses is a
// *Refusal. After any other error from the network the server may have done it.
// The conversation is over then.
func (p *Pusher) Push(ctx context.Context, r PushRequest) error {
	refs, err := p.Refs(ctx)
	if err != nil {
		return err
	}
	for _, u := range r.Updates {
		if err := u.check(); err != nil {
			return err
		}
		if now := refs[u.Ref]; now != u.Old {
			return &Refusal{Ref: u.Ref, Reason: "it has moved", kind: ErrRaceLost}
		}
	}
	body, err := p.request(r)
	if err != nil {
		return err
	}
	p.server = nil
	answer, err := p.transport.send(ctx, body)
	if err != nil {
		return fmt.Errorf("send the push: %w", err)
	}
	defer answer.Close()
	return p.outcome(ctx, answer, r.Updates)
}

func (p *Pusher) outcome(ctx context.Context, answer io.Reader, updates []Update) error {
	report, err := readReport(answer)
	if err != nil {
		return fmt.Errorf("read the answer to the push: %w", unreachable(ctx, err))
	}
	var following error
	for _, u := range updates {
		err := report.of(u.Ref)
		switch {
		case err != nil && report.follows(u.Ref):
			following = err
		case err != nil:
			return err
		}
	}
	return following
}

func (p *Pusher) request(r PushRequest) ([]byte, error) {
	chosen, err := p.capabilities(r)
	if err != nil {
		return nil, err
	}
	m := new(message)
	for i, u := range r.Updates {
		line := fmt.Sprintf("%s %s %s", orZero(u.Old), u.New, u.Ref)
		if i == 0 {
			line += "\x00 " + chosen
		}
		m.printf("%s", line)
	}
	m.flush()
	if len(r.Options) > 0 {
		for _, option := range r.Options {
			m.printf("%s", option)
		}
		m.flush()
	}
	m.Write(r.Pack)
	return m.Bytes(), nil
}

func orZero(hash string) string {
	if hash == "" {
		return zero
	}
	return hash
}

// ErrOptions says that the server takes no push options, or not these.
var ErrOptions = errors.New("push options refused")

func (p *Pusher) capabilities(r PushRequest) (string, error) {
	chosen := []string{"report-status"}
	for _, name := range []string{"side-band-64k", "quiet"} {
		if _, ok := p.server.capabilities[name]; ok {
			chosen = append(chosen, name)
		}
	}
	if len(r.Updates) > 1 {
		if _, ok := p.server.capabilities["atomic"]; !ok {
			return "", errors.New("push: the server does not move several refs together")
		}
		chosen = append(chosen, "atomic")
	}
	if len(r.Options) > 0 {
		if _, ok := p.server.capabilities["push-options"]; !ok {
			return "", fmt.Errorf("%w: the server takes none", ErrOptions)
		}
		if slices.ContainsFunc(r.Options, func(o string) bool { return strings.ContainsAny(o, "\n\x00") || len(o) > maxPacket/2 }) {
			return "", fmt.Errorf("%w: an option must be one line", ErrOptions)
		}
		chosen = append(chosen, "push-options")
	}
	if _, ok := p.server.capabilities["agent"]; ok {
		chosen = append(chosen, "agent="+agent)
	}
	return strings.Join(chosen, " "), nil
}
