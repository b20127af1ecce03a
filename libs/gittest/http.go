package gittest

import (
	"bytes"
	"crypto/subtle"
	"io"
	"net/http"
	"net/http/cgi"
)

// handler counts and authenticates requests, then hands them to git.
func (s *Server) handler() http.Handler {
	backend := &cgi.Handler{
		Path:   s.git,
		Args:   []string{"http-backend"},
		Env:    append(environment(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=gittest"),
		Stderr: io.Discard, // what git says of a missing repository, the client hears too
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Authorization: r.Header.Get("Authorization")}
		counted := &countingWriter{ResponseWriter: w}
		s.serve(backend, counted, r)
		seen.ResponseBytes = counted.written
		s.record(seen)
	})
}

func (s *Server) serve(backend http.Handler, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	if !s.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="gittest"`)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	if s.options.ProtocolV0 {
		r.Header.Del("Git-Protocol")
	}
	r.Header.Del("Authorization")
	if r.ContentLength < 0 && !bufferBody(w, r) {
		return
	}
	backend.ServeHTTP(w, r)
}

// bufferBody gives a chunked request the length that CGI needs.
func bufferBody(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return true
}

func (s *Server) authorized(r *http.Request) bool {
	o := s.options
	if o.BearerToken != "" {
		return same(r.Header.Get("Authorization"), "Bearer "+o.BearerToken)
	}
	if o.Username == "" && o.Password == "" {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && same(user, o.Username) && same(password, o.Password)
}

func same(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

func (s *Server) record(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

type countingWriter struct {
	http.ResponseWriter
	written int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
