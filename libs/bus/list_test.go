package bus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
)

// TestListEndsWhenAllVanishes removes everything between the beginning of a listing and its end.
func TestListEndsWhenAllVanishes(t *testing.T) {
	server := bustest.Start(t)
	conn, raw := server.Connect(), server.Raw()
	store := conn.Artifacts()
	for i := range 1200 {
		if err := store.Put(t.Context(), fmt.Sprintf("sha256:%d", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := raw.Subscribe("$JS.API.CONSUMER.CREATE.SMALL_artifacts.>", func(*nats.Msg) {
		_ = raw.Publish("$JS.API.STREAM.PURGE.SMALL_artifacts", nil)
	})
	if err == nil {
		err = raw.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := store.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a listing took %s", took)
	}
	if left, err := store.List(t.Context()); len(left) > 0 || err != nil {
		t.Errorf("after all vanished: %d, %v", len(left), err)
	}
}

func TestListRecords(t *testing.T) {
	conn := bustest.Start(t).Connect()
	put := func(stage string, key types.NamespacedName, value string) {
		t.Helper()
		record := bus.RecordKey(stage, key)
		entry, err := conn.GetState(t.Context(), record)
		if err == nil {
			_, err = conn.PutState(t.Context(), record, []byte(value), 0, bus.Condition{Key: record, Revision: entry.Revision})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	list := func(namespace string, want int) map[types.NamespacedName][]byte {
		t.Helper()
		all, err := conn.ListRecords(t.Context(), "scan", namespace)
		if err != nil || len(all) != want {
			t.Fatalf("records of namespace %q: %d, %v; want %d", namespace, len(all), err, want)
		}
		return all
	}
	list("", 0)
	key := func(namespace string, i int) types.NamespacedName {
		return types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("app.%d", i)}
	}
	for i := range 1100 {
		put("scan", key("many", i), "first")
	}
	put("scan", key("few", 1), "one")
	put("other", key("few", 1), "of another stage")
	put("scan", key("many", 7), "second")
	list("", 1101)
	if all := list("many", 1100); string(all[key("many", 7)]) != "second" || string(all[key("many", 8)]) != "first" {
		t.Errorf("a record is not the latest: %q, %q", all[key("many", 7)], all[key("many", 8)])
	}
	if err := conn.DropState(t.Context(), bus.RecordKey("scan", key("few", 1))); err != nil {
		t.Fatal(err)
	}
	list("few", 0)
}
