package provider

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
)

// query is one request to a service.
type query struct {
	Method string // POST if empty
	URL    *url.URL
	Header http.Header // nil for none
	JSON   any         // what the body is made from, or
	Body   []byte      // the body itself,
	Type   string      // which has this content type
	Most   int64       // bytes of the answer that are looked at; 0 for maxAnswer
}

// answer is what a service said.
type answer struct {
	Status int
	Header http.Header
	Body   []byte // its beginning
}

func (q query) request(ctx context.Context) (*http.Request, error) {
	method, body, kind := http.MethodPost, q.Body, q.Type
	if q.Method != "" {
		method = q.Method
	}
	if q.JSON != nil {
		var err error
		if body, err = marshal(q.JSON); err != nil {
			return nil, err
		}
		kind = "application/json"
	}
	request, err := http.NewRequestWithContext(ctx, method, q.URL.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range q.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	if kind != "" && request.Header.Get("Content-Type") == "" {
		request.Header.Set("Content-Type", kind)
	}
	request.Header.Set("User-Agent", "sluice")
	return request, nil
}

// marshal is JSON whose text is not longer than need be: no HTML is near.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// basic is the header of a name and a password.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// bearer is the header of a bearer token.
func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}
