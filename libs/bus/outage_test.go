package bus_test

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
)

// TestRequestsEndWithoutTheServer: whoever has minutes of time must not wait for them when a reply is lost.
func TestRequestsEndWithoutTheServer(t *testing.T) {
	server := bustest.Start(t)
	conn := server.Connect()
	key := types.NamespacedName{Namespace: "shop", Name: "web"}
	data := []byte("x")
	if err := conn.Sets().Put(t.Context(), bus.Digest(data), data); err != nil {
		t.Fatal(err)
	}
	opened, err := conn.Sets().Open(t.Context(), bus.Digest(data))
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	for what, request := range map[string]func() error{
		"GetState": func() error { _, err := conn.GetState(ctx, "record.a.b.c"); return err },
		"PutState": func() error {
			_, err := conn.PutState(ctx, "record.a.b.c", data, 0, bus.Condition{Key: "record.a.b.c"})
			return err
		},
		"LastTrigger": func() error { _, err := conn.LastTrigger(ctx, "git", key); return err },
		"Schedule":    func() error { return conn.Schedule(ctx, "git", key, time.Now(), nil, false) },
		"Put":         func() error { return conn.Sets().Put(ctx, "sha256:y", data) },
		"Get":         func() error { _, err := conn.Sets().Get(ctx, "sha256:y"); return err },
		"Has":         func() error { _, err := conn.Sets().Has(ctx, "sha256:y"); return err },
		"Read":        func() error { _, err := opened.Read(make([]byte, 1)); return err },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			go func() { ended <- request() }()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("no error")
				}
			case <-time.After(20 * time.Second):
				t.Error("it still waits for a server that is gone")
			}
		})
	}
}
