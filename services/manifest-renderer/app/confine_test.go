package app

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestConfine(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	restore, err := Confine(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "a warning that quotes a source")
	log.Print("another one")
	if _, err := http.Get(server.URL); err == nil || !strings.Contains(err.Error(), "opens no connections") || asked {
		t.Errorf("a request by the default transport: %v", err)
	}
	restore()
	fmt.Fprint(os.Stderr, "the end")
	_ = w.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "the end" {
		t.Errorf("on standard error: %q, %v", got, err)
	}
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatalf("after restore: %v", err)
	}
	_ = answer.Body.Close()
}

func TestIsCloud(t *testing.T) {
	for address, want := range map[string]bool{
		"https://sts.googleapis.com/v1/token": true, "http://sts.googleapis.com/": false, "https://googleapis.com.example.com": false,
		"https://sts.googleapis.com@example.com/": false, "http://metadata.google.internal/x": true, "http://169.254.169.254/x": false,
		"https://sts.eu-west-1.amazonaws.com/": true, "https://sts.cn-north-1.amazonaws.com.cn/": true, "http://sts.eu-west-1.amazonaws.com/": false,
		"https://bucket.s3.amazonaws.com/": false, "https://sts.eu-west-1.amazonaws.com.example.com/": false,
		"https://login.microsoftonline.com/t/oauth2/v2.0/token": true, "https://xlogin.microsoftonline.com/": false,
	} {
		u, err := url.Parse(address)
		if err != nil || isCloud(u) != want {
			t.Errorf("%s: want %v, %v", address, want, err)
		}
	}
}
