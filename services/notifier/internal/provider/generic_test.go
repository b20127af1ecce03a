package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/libs/plain"
)

const moreHeaders = "Authorization: Bearer " + secretPassword + "\nX-Forwarded-Proto: https\n"

// genericCheck is what Flux's document promises to whoever is called.
func genericCheck(signed bool) accept {
	return func(c call) (string, error) {
		var e eventv1.Event
		err := expect(want("method", c.Method, "POST"), want("path", c.URL.Path, "/hook/secret-part-of-the-path"), want("type", c.Header.Get("Content-Type"), "application/json"),
			c.into(&e), want("component", c.Header.Get("Gotk-Component"), plain.Line(e.ReportingController, 60)),
			want("kind", e.InvolvedObject.Kind, "Kustomization"), want("authorization", c.Header.Get("Authorization"), "Bearer "+secretPassword),
			want("header", c.Header.Get("X-Forwarded-Proto"), "https"), want("key", c.Header.Get("Idempotency-Key"), key))
		if signed {
			mac := hmac.New(sha256.New, []byte(secretToken+"\n"))
			mac.Write(c.body)
			err = errors.Join(err, want("signature", c.Header.Get("X-Signature"), fmt.Sprintf("sha256=%x", mac.Sum(nil))))
		} else {
			err = errors.Join(err, want("signature", c.Header.Get("X-Signature"), ""))
		}
		return "ok", err
	}
}

func TestGeneric(t *testing.T) {
	kit{settings: settings(notifyv1.GenericProvider, "", "headers", moreHeaders), path: "/hook/secret-part-of-the-path", machine: true, check: genericCheck(false)}.run(t)
}

func TestGenericHMAC(t *testing.T) {
	kit{settings: settings(notifyv1.GenericHMACProvider, "", "headers", moreHeaders, "token", secretToken+"\n"), path: "/hook/secret-part-of-the-path", machine: true, check: genericCheck(true)}.run(t)
}

// The event arrives as it was, with the names that it has in Flux.
func TestGenericEvent(t *testing.T) {
	service := serve(t, func(call) (string, error) { return "", nil })
	sender, _ := kit{settings: settings(notifyv1.GenericProvider, "")}.sender(t, service.URL)
	if _, err := sender.Send(t.Context(), sampleMessage()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(service.last(t).body, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"involvedObject", "severity", "timestamp", "message", "reason", "metadata", "reportingController", "reportingInstance"} {
		if got[name] == nil {
			t.Errorf("no %s", name)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more: %v", got)
	}
}

func TestGenericSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"no address":      settings(notifyv1.GenericProvider, ""),
		"no URL":          at(settings(notifyv1.GenericProvider, ""), "hunter2"),
		"no key":          at(settings(notifyv1.GenericHMACProvider, ""), "https://example.org"),
		"headers no map":  at(settings(notifyv1.GenericProvider, "", "headers", "- hunter2"), "https://example.org"),
		"headers of maps": at(settings(notifyv1.GenericProvider, "", "headers", "a: {b: hunter2}"), "https://example.org"),
		"bad name":        at(settings(notifyv1.GenericProvider, "", "headers", "'a b': hunter2"), "https://example.org"),
		"bad value":       at(settings(notifyv1.GenericProvider, "", "headers", "a: \"hunter2\\r\\nX: y\""), "https://example.org"),
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
