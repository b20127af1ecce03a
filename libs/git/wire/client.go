package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// agent is how the client introduces itself.
const agent = "git/sluice"

// maxRefs bounds a list of refs, as each takes some 200 bytes of memory.
const maxRefs = 1_000_000

// Ref is one ref of a server.
type Ref struct {
	Name string
	// Hash is the object the ref points at, in hex.
	Hash string
	// Peeled is the object behind an annotated tag, otherwise empty.
	Peeled string
}

// Target is the object a ref stands for: what is behind a tag, or Hash.
func (r Ref) Target() string {
	if r.Peeled != "" {
		return r.Peeled
	}
	return r.Hash
}

// FetchRequest says what to send.
type FetchRequest struct {
	// Wants are objects to send.
	Wants []string
	// Haves are commits whose complete trees, but not parents, are here: each
	// is announced as shallow together with being had, so that the server never
	// takes its history for known. Only with Shallow. With haves the pack is
	// thin: its deltas may stand on objects in the trees of Haves.
	Haves []string
	// Shallow asks for the wanted commits without their parents.
	Shallow bool
}

// transport carries messages to one repository.
type transport interface {
	// open starts a conversation and returns what the server says first.
	open(ctx context.Context) (io.ReadCloser, error)
	// send says something and returns the answer, to be closed.
	send(ctx context.Context, body []byte) (io.ReadCloser, error)
	// stateless is true where one opening serves any number of sends, in any
	// number of conversations.
	stateless() bool
	close() error
}

// Client talks to one repository. It is not for concurrent use.
type Client struct {
	transport transport
	server    *Server
	remembers bool // server came from an earlier conversation
	used      bool // a version 0 conversation that has had its fetch
}

// Server is what one advertisement told. For HTTP it can be passed to the next
// client of the same repository, which then saves the request.
type Server struct {
	v2           bool
	capabilities map[string]string
	refs         []Ref // version 0 only
	base         string
}

// Server returns what may be passed on, nil where it may not.
func (c *Client) Server() *Server {
	if c.server == nil || !c.server.v2 || !c.transport.stateless() {
		return nil
	}
	return c.server
}

// Spoke reports whether the server's capabilities are known.
func (c *Client) Spoke() bool { return c.server != nil }

// Close hangs up.
func (c *Client) Close() error { return c.transport.close() }

// Refs lists the refs that have one of the prefixes. Server filters where it
// can; it is filtered again here.
func (c *Client) Refs(ctx context.Context, prefixes ...string) ([]Ref, error) {
	remembered := c.remembers
	refs, err := c.refs(ctx, prefixes)
	if err != nil && remembered && !errors.Is(err, ErrAuthentication) && ctx.Err() == nil {
		// The server may have moved or changed since: ask afresh.
		c.server = nil
		refs, err = c.refs(ctx, prefixes)
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(refs, func(r Ref) bool { return !hasPrefix(r.Name, prefixes) }), nil
}

func (c *Client) refs(ctx context.Context, prefixes []string) ([]Ref, error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	if !c.server.v2 {
		return slices.Clone(c.server.refs), nil
	}
	return c.listV2(ctx, prefixes)
}

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// WantsAny reports whether the server hands out commits that no ref points at.
// It holds once Refs was called.
func (c *Client) WantsAny() bool {
	if c.server == nil {
		return false
	}
	_, reachable := c.server.capabilities["allow-reachable-sha1-in-want"]
	_, anything := c.server.capabilities["allow-any-sha1-in-want"]
	return c.server.v2 || reachable || anything
}

// Fetch returns the pack that answers a request. The caller closes it.
func (c *Client) Fetch(ctx context.Context, request FetchRequest) (io.ReadCloser, error) {
	if len(request.Haves) > 0 && !request.Shallow {
		return nil, errors.New("fetch: commits without their history cannot serve to complete a history")
	}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	if c.server.v2 {
		return c.fetchV2(ctx, request)
	}
	return c.fetchV0(ctx, request)
}

// connect makes sure that there is a conversation that can go on.
func (c *Client) connect(ctx context.Context) error {
	if c.server != nil && !(c.used && !c.transport.stateless()) {
		return nil
	}
	c.remembers, c.used = false, false
	answer, err := c.transport.open(ctx)
	if err != nil {
		return err
	}
	defer answer.Close()
	server, err := readAdvertisement(&packetReader{r: answer})
	if err != nil {
		return fmt.Errorf("read the advertisement: %w", err)
	}
	if format, ok := server.capabilities["object-format"]; ok && format != "sha1" {
		return fmt.Errorf("the repository uses object format %q, which is not supported", clean(format))
	}
	c.server = server
	if h, ok := c.transport.(*httpTransport); ok {
		server.base = h.base
	}
	return nil
}
