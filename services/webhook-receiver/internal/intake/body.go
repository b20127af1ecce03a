package intake

import (
	"bytes"
	"io"
	"net/http"
)

// readBody reads a body that may have some bytes. Where it is not wanted it is read as far, and not kept.
func readBody(w http.ResponseWriter, r *http.Request, most int64, wanted bool) ([]byte, error) {
	if r.ContentLength > most {
		return nil, &http.MaxBytesError{Limit: most}
	}
	limited := http.MaxBytesReader(w, r.Body, most)
	if !wanted {
		_, err := io.Copy(io.Discard, limited)
		return nil, err
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(min(r.ContentLength, 64<<10)) + bytes.MinRead)
	}
	_, err := body.ReadFrom(limited)
	return body.Bytes(), err
}
