package letters

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/state"
)

var (
	chat = types.NamespacedName{Namespace: "apps", Name: "chat"}
	hook = types.NamespacedName{Namespace: "infra", Name: "hook"}
)

// desk is a bus with letters: two dead ones of each channel, and one of each that waits.
func desk(t *testing.T) (*bus.Conn, *Options) {
	t.Helper()
	server := bustest.Start(t)
	conn := server.Connect()
	letter := func(channel types.NamespacedName, id string) bus.Letter {
		return bus.Letter{Channel: channel, Alert: channel.Name + "-alert", ID: id, About: "Kustomization/apps/web\x1b[31m", Since: time.Now().Add(-time.Minute), Data: []byte("{}")}
	}
	var dead []bus.Letter
	for _, l := range []bus.Letter{letter(chat, "aaa1"), letter(chat, "aab2"), letter(hook, "bbb3"), letter(hook, "bbc4")} {
		l.Reason = "refused with status 422"
		dead = append(dead, l)
	}
	if err := conn.Bury(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	if err := conn.PutLetters(t.Context(), []bus.Letter{letter(chat, "ccc5"), letter(hook, "ccd6")}); err != nil {
		t.Fatal(err)
	}
	return conn, &Options{Bus: bus.Options{URL: server.ClientURL()}}
}

// left are the IDs of the letters of a stream, in their order.
func left(t *testing.T, conn *bus.Conn, stream string) string {
	t.Helper()
	list, err := conn.Letters(t.Context(), stream, types.NamespacedName{}, false)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range list {
		ids = append(ids, l.ID)
	}
	return strings.Join(ids, " ")
}

// TestList: all letters are listed with what people want to know, those of a namespace, Provider or Alert alone where that is asked; nothing in them moves a terminal.
func TestList(t *testing.T) {
	_, all := desk(t)
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(*Options) {}, "aaa1 aab2 bbb3 bbc4 ccc5 ccd6"},
		{func(o *Options) { o.Namespace = "apps" }, "aaa1 aab2 ccc5"},
		{func(o *Options) { o.Provider = "hook" }, "bbb3 bbc4 ccd6"},
		{func(o *Options) { o.Alert = "chat-alert" }, "aaa1 aab2 ccc5"},
		{func(o *Options) { o.Namespace, o.Provider = "apps", "hook" }, ""},
	} {
		o := *all
		c.change(&o)
		var out bytes.Buffer
		if err := List(t.Context(), &o, &out); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for line := range strings.Lines(out.String()) {
			ids = append(ids, strings.Fields(line)[0])
		}
		if got := strings.Join(ids[1:], " "); got != c.want {
			t.Errorf("%+v: %s; want %s", o, got, c.want)
		}
		if text := out.String(); c.want == "aaa1 aab2 bbb3 bbc4 ccc5 ccd6" {
			for _, want := range []string{"dead", "pending", "apps/chat", "chat-alert", "refused with status 422", "1m0s"} {
				if !strings.Contains(text, want) {
					t.Errorf("the list lacks %q:\n%s", want, text)
				}
			}
			if strings.ContainsRune(text, '\x1b') {
				t.Errorf("the list moves the terminal: %q", text)
			}
		}
	}
}

// TestResend: dead letters go back to the outbox, those that are named or selected, and who tells them is woken.
func TestResend(t *testing.T) {
	conn, o := desk(t)
	var out bytes.Buffer
	if err := Resend(t.Context(), o, nil, &out); err == nil {
		t.Error("all letters without --all")
	}
	if err := Resend(t.Context(), o, []string{"aaa", "bbc4"}, &out); err != nil || !strings.Contains(out.String(), "2 letters") {
		t.Errorf("%v, %s", err, out.String())
	}
	if dead, waits := left(t, conn, bus.StreamDead), left(t, conn, bus.StreamOutbox); dead != "aab2 bbb3" || waits != "ccc5 ccd6 aaa1 bbc4" {
		t.Errorf("dead: %s; waiting: %s", dead, waits)
	}
	for _, channel := range []types.NamespacedName{chat, hook} {
		if woken, err := conn.LastTrigger(t.Context(), state.StageNotify, channel); err != nil || woken == nil {
			t.Errorf("%s is not woken: %v", channel, err)
		}
	}
	o.Provider, o.All = "hook", true
	if err := Resend(t.Context(), o, nil, &out); err != nil || left(t, conn, bus.StreamDead) != "aab2" {
		t.Errorf("all of hook: %v, dead: %s", err, left(t, conn, bus.StreamDead))
	}
}

// TestDrop: letters are forgotten, those that wait only where that is said.
func TestDrop(t *testing.T) {
	conn, o := desk(t)
	var out bytes.Buffer
	if err := Drop(t.Context(), o, nil, &out); err == nil {
		t.Error("all letters without --all")
	}
	if err := Drop(t.Context(), o, []string{"aaa1", "ccc5"}, &out); err != nil || left(t, conn, bus.StreamDead) != "aab2 bbb3 bbc4" || left(t, conn, bus.StreamOutbox) != "ccc5 ccd6" {
		t.Errorf("%v, dead: %s; waiting: %s", err, left(t, conn, bus.StreamDead), left(t, conn, bus.StreamOutbox))
	}
	o.All, o.Pending, o.Namespace = true, true, "infra"
	if err := Drop(t.Context(), o, nil, &out); err != nil || left(t, conn, bus.StreamDead) != "aab2" || left(t, conn, bus.StreamOutbox) != "ccc5" {
		t.Errorf("%v, dead: %s; waiting: %s", err, left(t, conn, bus.StreamDead), left(t, conn, bus.StreamOutbox))
	}
}

// TestNoBus: where no `sluice up` runs with a data directory, or a file is missing, that is said at once.
func TestNoBus(t *testing.T) {
	for _, o := range []Options{{DataDir: t.TempDir()}, {Bus: bus.Options{URL: "nats://127.0.0.1:1", User: "x", PasswordFile: filepath.Join(t.TempDir(), "none")}}} {
		if err := List(t.Context(), &o, &bytes.Buffer{}); err == nil {
			t.Errorf("%+v: listed", o)
		}
	}
}
