package wire

import (
	"errors"
	"fmt"
	"strings"
)

// readAdvertisement reads the server's first words, of either version.
func readAdvertisement(p *packetReader) (*Server, error) {
	line, k, err := p.line()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(line, "# service=") {
		if _, k, err = p.line(); err != nil || k != flushPacket {
			return nil, errors.Join(errors.New("no end of the service header"), err)
		}
		if line, k, err = p.line(); err != nil {
			return nil, err
		}
	}
	s := &Server{capabilities: map[string]string{}}
	if line == "version 2" {
		s.v2 = true
		return s, s.readCapabilities(p)
	}
	if line == "version 1" {
		if line, k, err = p.line(); err != nil {
			return nil, err
		}
	}
	return s, s.readRefs(p, line, k)
}

func (s *Server) readCapabilities(p *packetReader) error {
	for {
		line, k, err := p.line()
		if err != nil || k == flushPacket {
			return err
		}
		name, value, _ := strings.Cut(line, "=")
		s.capabilities[name] = value
	}
}

// readRefs reads version 0's list: the capabilities hang on the first ref, and
// the object behind a tag follows it under the tag's name and `^{}`.
func (s *Server) readRefs(p *packetReader, line string, k kind) error {
	line, capabilities, _ := strings.Cut(line, "\x00")
	for _, c := range strings.Fields(capabilities) {
		name, value, _ := strings.Cut(c, "=")
		s.capabilities[name] = value
	}
	for k != flushPacket {
		if err := s.addRef(line); err != nil {
			return err
		}
		var err error
		if line, k, err = p.line(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) addRef(line string) error {
	if strings.HasPrefix(line, "shallow ") {
		return nil
	}
	hash, name, ok := strings.Cut(line, " ")
	if !ok || !IsHash(hash) {
		return fmt.Errorf("malformed ref %q", clean(line))
	}
	if name == "capabilities^{}" {
		return nil // an empty repository
	}
	if tag, peeled := strings.CutSuffix(name, "^{}"); peeled {
		if last := len(s.refs) - 1; last >= 0 && s.refs[last].Name == tag {
			s.refs[last].Peeled = hash
		}
		return nil
	}
	if s.refs = append(s.refs, Ref{Name: name, Hash: hash}); len(s.refs) > maxRefs {
		return fmt.Errorf("the number of refs is %w", ErrTooLarge)
	}
	return nil
}

// IsHash reports whether text is a full SHA-1 in lower-case hex.
func IsHash(text string) bool {
	return len(text) == 40 && strings.Trim(text, "0123456789abcdef") == ""
}
