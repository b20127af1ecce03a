package gittest

import (
	"bytes"
	"crypto/subtle"
	"io"
	"net/http"
)

// handler counts and authenticates requests, then hands them to git.
func (s *Server) handler() http.Handler {
	backend := s.backend(s.dir)
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
	hook, fault := s.hook, s.fault
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
	if fault != nil {
		fault(backend, w, r)
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
