package wire

import (
	"errors"
	"fmt"
	"io"
)

// sideband takes the pack out of the packets that carry it.
type sideband struct {
	packets *packetReader
	closer  io.Closer
	rest    []byte
	done    bool
}

func (s *sideband) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.done {
			return 0, io.EOF
		}
		k, body, err := s.packets.next()
		if err != nil {
			return 0, err
		}
		if k != dataPacket {
			s.done = true
			continue
		}
		if s.rest, err = demultiplex(body); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *sideband) Close() error { return s.closer.Close() }

// demultiplex returns the bytes of the pack in a packet; those of progress have none.
func demultiplex(body []byte) ([]byte, error) {
	if len(body) == 0 {
		return nil, errors.New("empty packet in the pack")
	}
	switch body[0] {
	case 1:
		return body[1:], nil
	case 2:
		return nil, nil
	case 3:
		return nil, remoteError(string(body[1:]))
	}
	return nil, fmt.Errorf("unexpected %q", clean(string(body[:min(len(body), 60)])))
}
