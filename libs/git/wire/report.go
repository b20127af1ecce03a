package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// report is what became of a push.
type report struct {
	unpack string // "ok" or what went wrong
	refs   map[string]string
	said   firstBytes
}

// readReport reads the report, which travels in band 1 where there are bands.
func readReport(answer io.Reader) (*report, error) {
	r := &report{refs: map[string]string{}}
	packets := &packetReader{r: answer}
	var inner bytes.Buffer
	for {
		k, body, err := packets.next()
		if err != nil {
			return nil, err
		}
		if k != dataPacket {
			break
		}
		if isReport(body) { // without bands
			if err := r.line(string(body)); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.band(&inner, body); err != nil {
			return nil, err
		}
	}
	return r, r.lines(&inner)
}

func isReport(body []byte) bool {
	return bytes.HasPrefix(body, []byte("unpack ")) || bytes.HasPrefix(body, []byte("ok ")) || bytes.HasPrefix(body, []byte("ng "))
}

func (r *report) band(inner *bytes.Buffer, body []byte) error {
	if len(body) > 0 && body[0] == 2 {
		_, _ = r.said.Write(body[1:])
		return nil
	}
	part, err := demultiplex(body)
	if err != nil {
		return err
	}
	if inner.Len()+len(part) > 1<<20 {
		return fmt.Errorf("the report is %w", ErrTooLarge)
	}
	inner.Write(part)
	return nil
}

func (r *report) lines(inner *bytes.Buffer) error {
	packets := &packetReader{r: inner}
	for inner.Len() > 0 {
		line, k, err := packets.line()
		if err != nil {
			return err
		}
		if k != dataPacket {
			break
		}
		if err := r.line(line); err != nil {
			return err
		}
	}
	if r.unpack == "" {
		return errors.New("the server did not say what became of the push")
	}
	return nil
}

func (r *report) line(text string) error {
	what, rest, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
	switch what {
	case "unpack":
		r.unpack = rest
	case "ok":
		r.refs[rest] = "ok"
	case "ng":
		ref, reason, _ := strings.Cut(rest, " ")
		r.refs[ref] = "ng " + reason
	default:
		return fmt.Errorf("unexpected %q in the report", clean(text))
	}
	return nil
}

// of is nil when the ref was moved. A ref that the report does not mention was not.
func (r *report) of(ref string) error {
	outcome := r.refs[ref]
	if r.unpack == "ok" && outcome == "ok" {
		return nil
	}
	reason := strings.TrimPrefix(outcome, "ng ")
	if r.unpack != "ok" {
		reason = strings.TrimSpace("unpack " + r.unpack + " " + strings.TrimPrefix(reason, "unpacker error"))
	}
	return newRefusal(ref, reason, r.said.text())
}

// follows reports whether a ref was not moved for no reason but that another one was not.
func (r *report) follows(ref string) bool {
	return r.unpack == "ok" && strings.TrimPrefix(r.refs[ref], "ng ") == "atomic push failure"
}
