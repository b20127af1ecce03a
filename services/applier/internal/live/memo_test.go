package live

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

func memoOf(n int) (Memo, []inventory.ID) {
	var m Memo
	ids := make([]inventory.ID, n)
	for i := range n {
		ids[i] = inventory.ID{Namespace: "ns", Name: fmt.Sprintf("object-%d", i), Kind: "ConfigMap"}
		e, _ := NewEntry(apply.Seen{
			UID: "u", ResourceVersion: fmt.Sprint(1000 + i), Digest: fmt.Sprintf("%064x", i), OwnFields: fmt.Sprintf("%064x", i+7), OwnTime: time.Unix(1_800_000_000, 5),
		}, []byte("key"))
		m.Put(ids[i], e)
	}
	return m, ids
}

func TestMemoComesBackAsItWas(t *testing.T) {
	m, ids := memoOf(3)
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Memo
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		want, _ := m.Get(id)
		if got, ok := back.Get(id); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
	}
	if want, _ := m.Get(ids[1]); want.Version != 1001 || want.Time != 1_800_000_000 {
		t.Errorf("entry %+v", want)
	}
	if err := json.Unmarshal([]byte(`"AAAA"`), &back); err == nil {
		t.Error("what is cut short was read")
	}
}

// The record of an application is one message of the bus, which takes a mebibyte.
func TestMemoOfManyObjectsFitsIntoAMessage(t *testing.T) {
	m, _ := memoOf(15_000)
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 900<<10 {
		t.Errorf("%d bytes", len(data))
	}
}

func TestDigestsAreKeyed(t *testing.T) {
	if Digest("d", []byte("one")) == Digest("d", []byte("two")) {
		t.Error("the digest does not depend on the key")
	}
}
