package wire

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// command begins a version 2 command up to its arguments.
func (c *Client) command(name string) *message {
	m := new(message)
	m.printf("command=%s\n", name)
	if _, ok := c.server.capabilities["agent"]; ok {
		m.printf("agent=%s\n", agent)
	}
	if _, ok := c.server.capabilities["object-format"]; ok {
		m.printf("object-format=sha1\n")
	}
	m.delim()
	return m
}

func (c *Client) listV2(ctx context.Context, prefixes []string) ([]Ref, error) {
	m := c.command("ls-refs")
	m.printf("peel\n")
	for _, prefix := range prefixes {
		m.printf("ref-prefix %s\n", prefix)
	}
	m.flush()
	answer, err := c.transport.send(ctx, m.Bytes())
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return readRefsV2(&packetReader{r: answer})
}

func readRefsV2(p *packetReader) ([]Ref, error) {
	var refs []Ref
	for {
		line, k, err := p.line()
		if err != nil {
			return nil, fmt.Errorf("read the list of refs: %w", err)
		}
		if k == flushPacket {
			return refs, nil
		}
		fields := strings.Fields(line)
		if len(fields) < 2 || !IsHash(fields[0]) {
			if strings.HasPrefix(line, "unborn ") {
				continue
			}
			return nil, fmt.Errorf("malformed ref %q", clean(line))
		}
		ref := Ref{Hash: fields[0], Name: fields[1]}
		for _, attribute := range fields[2:] {
			if peeled, ok := strings.CutPrefix(attribute, "peeled:"); ok && IsHash(peeled) {
				ref.Peeled = peeled
			}
		}
		if refs = append(refs, ref); len(refs) > maxRefs {
			return nil, fmt.Errorf("the number of refs is %w", ErrTooLarge)
		}
	}
}

func (c *Client) fetchV2(ctx context.Context, request FetchRequest) (io.ReadCloser, error) {
	m := c.command("fetch")
	if len(request.Haves) > 0 {
		m.printf("thin-pack\n")
	}
	m.printf("ofs-delta\n")
	m.printf("no-progress\n")
	for _, want := range request.Wants {
		m.printf("want %s\n", want)
	}
	if request.Shallow {
		for _, have := range request.Haves {
			m.printf("shallow %s\n", have)
		}
		m.printf("deepen 1\n")
	}
	for _, have := range request.Haves {
		m.printf("have %s\n", have)
	}
	m.printf("done\n")
	m.flush()
	answer, err := c.transport.send(ctx, m.Bytes())
	if err != nil {
		return nil, err
	}
	packets := &packetReader{r: answer}
	if err := skipToPack(packets); err != nil {
		_ = answer.Close()
		return nil, fmt.Errorf("read the answer to the fetch: %w", err)
	}
	return &sideband{packets: packets, closer: answer}, nil
}

// skipToPack passes over the sections before the pack. The list of shallow
// commits says nothing new: it is what was asked for.
func skipToPack(p *packetReader) error {
	for {
		line, k, err := p.line()
		if err != nil {
			return err
		}
		if line == "packfile" {
			return nil
		}
		if k == flushPacket {
			return fmt.Errorf("no pack")
		}
	}
}
