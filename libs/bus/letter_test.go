package bus_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// TestLettersWaitInOrder: letters come out in the order in which they went in, those of one channel alone where it is named; the same one
// stored twice is one; dead ones can be sent again.
func TestLettersWaitInOrder(t *testing.T) {
	ctx := t.Context()
	conn := bustest.Start(t).Connect()
	chat, hook := types.NamespacedName{Namespace: "apps", Name: "chat.one"}, types.NamespacedName{Namespace: "apps", Name: "hook"}
	letter := func(channel types.NamespacedName, id string) bus.Letter {
		return bus.Letter{Channel: channel, Alert: "on.call", ID: id, About: "Kustomization/apps/web\nx", Since: time.Now().Round(0).UTC(), Data: []byte("{}")}
	}
	all := []bus.Letter{letter(chat, "a"), letter(hook, "b"), letter(chat, "c"), letter(chat, "d")}
	for range 2 {
		if err := conn.PutLetters(ctx, all); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(stream string, channel types.NamespacedName) []string {
		t.Helper()
		list, err := conn.Letters(ctx, stream, channel, false)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, l := range list {
			out = append(out, l.ID)
		}
		return out
	}
	if got := ids(bus.StreamOutbox, chat); !slices.Equal(got, []string{"a", "c", "d"}) {
		t.Errorf("letters of chat: %v", got)
	}
	read, err := conn.Letters(ctx, bus.StreamOutbox, types.NamespacedName{}, true)
	if err != nil || len(read) != 4 {
		t.Fatalf("all letters: %d, %v", len(read), err)
	}
	want := all[0]
	want.About, want.Sequence, want.Written = "Kustomization/apps/web x", read[0].Sequence, read[0].Written
	if diff := cmp.Diff(want, read[0]); diff != "" {
		t.Error(diff)
	}
	dead := read[2]
	dead.Reason = "refused"
	if err := conn.Bury(ctx, []bus.Letter{dead}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is gone already is no error
		if err := conn.DropLetters(ctx, bus.StreamOutbox, []bus.Letter{read[2]}); err != nil {
			t.Fatal(err)
		}
	}
	buried, err := conn.Letters(ctx, bus.StreamDead, chat, true)
	if err != nil || len(buried) != 1 || buried[0].Reason != "refused" || string(buried[0].Data) != "{}" {
		t.Fatalf("dead letters: %+v, %v", buried, err)
	}
	if err := conn.Resend(ctx, buried); err != nil {
		t.Fatal(err)
	}
	if got := ids(bus.StreamOutbox, chat); !slices.Equal(got, []string{"a", "d", "c"}) {
		t.Errorf("letters of chat after one was sent again: %v", got)
	}
	if got := ids(bus.StreamDead, chat); len(got) != 0 {
		t.Errorf("dead letters left: %v", got)
	}
}

// TestFactsAreReadFromAPlace: facts come in order, each once, and a stream that was made anew is read from its beginning.
func TestFactsAreReadFromAPlace(t *testing.T) {
	ctx := t.Context()
	server := bustest.Start(t)
	conn := server.Connect()
	tell := func(id string) {
		t.Helper()
		f := &factsv1.Fact{Id: id, Object: &factsv1.ObjectReference{Namespace: "apps", Name: "web"}, Kind: &factsv1.Fact_Recovered{Recovered: &factsv1.Recovered{}}}
		if err := conn.PublishFact(ctx, f, nil); err != nil {
			t.Fatal(err)
		}
	}
	var at bus.FactsPlace
	next := func(most int) (ids []string) {
		t.Helper()
		facts, to, err := conn.FactsAfter(ctx, at, time.Now().Add(-time.Minute), most)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range facts {
			ids = append(ids, f.GetId())
		}
		at = to
		return ids
	}
	for _, id := range []string{"1", "2", "3"} {
		tell(id)
	}
	for _, want := range [][]string{{"1", "2"}, {"3"}, nil, nil} {
		if got := next(2); !slices.Equal(got, want) {
			t.Errorf("facts %v; want %v", got, want)
		}
	}
	if err := conn.JS.DeleteStream(ctx, bus.StreamFacts); err != nil {
		t.Fatal(err)
	}
	conn.Heal()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := conn.JS.Stream(ctx, bus.StreamFacts); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	tell("4")
	if got := next(2); !slices.Equal(got, []string{"4"}) {
		t.Errorf("facts %v; want 4", got)
	}
}
