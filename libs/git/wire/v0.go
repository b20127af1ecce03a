package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

func (c *Client) fetchV0(ctx context.Context, request FetchRequest) (io.ReadCloser, error) {
	if _, ok := c.server.capabilities["side-band-64k"]; !ok {
		return nil, errors.New("the server cannot send packs by side-band-64k")
	}
	if _, ok := c.server.capabilities["shallow"]; !ok {
		request.Shallow, request.Haves = false, nil
	}
	c.used = true
	answer, err := c.transport.send(ctx, c.requestV0(request))
	if err != nil {
		return nil, err
	}
	packets := &packetReader{r: answer}
	band, err := acknowledgements(packets, request.Shallow)
	if err != nil {
		_ = answer.Close()
		return nil, fmt.Errorf("read the answer to the fetch: %w", err)
	}
	return &sideband{packets: packets, closer: answer, rest: band}, nil
}

func (c *Client) requestV0(request FetchRequest) []byte {
	m := new(message)
	for i, want := range request.Wants {
		if i == 0 {
			m.printf("want %s %s\n", want, c.capabilitiesV0())
			continue
		}
		m.printf("want %s\n", want)
	}
	if request.Shallow {
		for _, have := range request.Haves {
			m.printf("shallow %s\n", have)
		}
		m.printf("deepen 1\n")
	}
	m.flush()
	for _, have := range request.Haves {
		m.printf("have %s\n", have)
	}
	m.printf("done\n")
	return m.Bytes()
}

// capabilitiesV0 chooses from what the server offers. Some servers serve only
// clients that know multi_ack_detailed.
func (c *Client) capabilitiesV0() string {
	chosen := []string{}
	for _, name := range []string{"multi_ack_detailed", "side-band-64k", "thin-pack", "ofs-delta", "no-progress"} {
		if _, ok := c.server.capabilities[name]; ok {
			chosen = append(chosen, name)
		}
	}
	if _, ok := c.server.capabilities["agent"]; ok {
		chosen = append(chosen, "agent="+agent)
	}
	return strings.Join(chosen, " ")
}

// acknowledgements passes over what comes before the pack and returns the first
// packet of it. Acknowledgements are text; a packet of the pack begins with the
// number of its band.
func acknowledgements(p *packetReader, shallow bool) ([]byte, error) {
	for shallow {
		line, k, err := p.line()
		if err != nil {
			return nil, err
		}
		if k == flushPacket {
			break
		}
		if !strings.HasPrefix(line, "shallow ") && !strings.HasPrefix(line, "unshallow ") {
			return nil, fmt.Errorf("unexpected %q", clean(line))
		}
	}
	for {
		k, body, err := p.next()
		if err != nil {
			return nil, err
		}
		switch {
		case k != dataPacket:
			return nil, errors.New("no pack")
		case bytes.HasPrefix(body, []byte("ACK ")), bytes.HasPrefix(body, []byte("NAK")):
		default:
			return demultiplex(body)
		}
	}
}
