package bus_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-cd/sluice/libs/bus"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// received is a message as the bus delivers it.
type received struct {
	jetstream.Msg
	data []byte
}

func (r received) Data() []byte    { return r.data }
func (r received) Subject() string { return "facts" }

// What consumers take from a fact they can use: a kind that they know or none, and an object whose subjects stay within their tokens.
func FuzzParseFact(f *testing.F) {
	for _, fact := range []*factsv1.Fact{
		{Object: &factsv1.ObjectReference{Namespace: "n", Name: "a.b"}, Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{ChangedPaths: []string{"a", "/b"}}}},
		{Object: &factsv1.ObjectReference{Namespace: "*", Name: ">"}, Kind: &factsv1.Fact_HealthChanged{HealthChanged: &factsv1.HealthChanged{}}},
		{Kind: &factsv1.Fact_Applied{Applied: &factsv1.Applied{Counts: &factsv1.ApplyCounts{Created: -1}}}},
	} {
		data, err := proto.Marshal(fact)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x0a\x03abc"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fact, err := bus.ParseFact(received{data: data})
		if err != nil {
			return
		}
		object := bus.FactObject(fact)
		if object.Namespace == "" || object.Name == "" {
			return
		}
		key, err := bus.ParseObjectSubject(bus.WorkSubject("apply", object))
		if err != nil || key != object {
			t.Fatalf("%q comes back as %q, %v", object, key, err)
		}
	})
}
