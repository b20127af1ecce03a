package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxPacket is the length of the longest packet, its own length included.
const maxPacket = 65520

// kind tells data from the packets that only separate.
type kind int

const (
	dataPacket  kind = iota
	flushPacket      // 0000
	delimPacket      // 0001
	endPacket        // 0002
)

// packetReader reads git's length-prefixed packets. The slice that next
// returns is valid until the call after.
type packetReader struct {
	r   io.Reader
	buf [maxPacket]byte
}

func (p *packetReader) next() (kind, []byte, error) {
	if _, err := io.ReadFull(p.r, p.buf[:4]); err != nil {
		return 0, nil, unexpectedEOF(err)
	}
	n, err := strconv.ParseUint(string(p.buf[:4]), 16, 16)
	if err != nil {
		return 0, nil, fmt.Errorf("malformed packet length %q", p.buf[:4])
	}
	switch {
	case n == 0:
		return flushPacket, nil, nil
	case n == 1:
		return delimPacket, nil, nil
	case n == 2:
		return endPacket, nil, nil
	case n < 4 || n > maxPacket:
		return 0, nil, fmt.Errorf("malformed packet length %d", n)
	}
	body := p.buf[4:n]
	if _, err := io.ReadFull(p.r, body); err != nil {
		return 0, nil, unexpectedEOF(err)
	}
	if message, ok := bytes.CutPrefix(body, []byte("ERR ")); ok {
		return 0, nil, remoteError(string(message))
	}
	return dataPacket, body, nil
}

// line returns the next packet as text without its newline; ok is false at a
// packet that separates.
func (p *packetReader) line() (text string, k kind, err error) {
	k, body, err := p.next()
	return strings.TrimSuffix(string(body), "\n"), k, err
}

// unexpectedEOF: within a conversation there is no good moment to hang up.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// remoteError is what a server says has gone wrong, in a form fit for a
// message: one line, no control characters, not long.
func remoteError(text string) error {
	text = clean(text)
	lower := strings.ToLower(text)
	for _, phrase := range []string{"not our ref", "not found", "does not exist", "does not appear to be a git repository", "could not be found", "no such repository"} {
		if strings.Contains(lower, phrase) {
			return fmt.Errorf("the server says %q: %w", text, ErrNotFound)
		}
	}
	for _, phrase := range []string{"access denied", "permission denied", "not authorized", "unauthorized"} {
		if strings.Contains(lower, phrase) {
			return fmt.Errorf("the server says %q: %w", text, ErrAuthentication)
		}
	}
	return fmt.Errorf("the server says %q", text)
}

func clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return strings.TrimSpace(text)
}

// message collects packets to send.
type message struct{ bytes.Buffer }

func (m *message) printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(&m.Buffer, "%04x%s", len(text)+4, text)
}

func (m *message) flush() { m.WriteString("0000") }
func (m *message) delim() { m.WriteString("0001") }
