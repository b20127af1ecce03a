package stage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/stage"
)

// TestPartsAreWrittenUnderTheLock: parts are read as they were written, one by one and all together, and a run that lost its lock writes none.
func TestPartsAreWrittenUnderTheLock(t *testing.T) {
	server := bustest.Start(t)
	done := make(chan error, 1)
	s := start(t, server, handlerFunc(func(ctx context.Context, run *stage.Run) (stage.Result, error) {
		done <- func() error {
			for _, name := range []string{"a/1", "a/2", "b.1"} {
				if err := run.SavePart(ctx, name, name+"!"); err != nil {
					return err
				}
			}
			if err := run.DropPart(ctx, "a/2"); err != nil {
				return err
			}
			var v string
			if found, err := run.LoadPart(ctx, "b.1", &v); err != nil || !found || v != "b.1!" {
				return errors.Join(errors.New("b.1 is "+v), err)
			}
			if found, err := run.LoadPart(ctx, "a/2", &v); err != nil || found {
				return errors.Join(errors.New("a/2 is there"), err)
			}
			return nil
		}()
		<-ctx.Done()
		<-time.After(2 * fast.LockTTL) // longer than the lock lives
		done <- run.SavePart(context.WithoutCancel(ctx), "a/1", "late")
		return stage.Result{}, nil
	}), fast)
	s.Trigger(t.Context(), app, stage.Hint{})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go s.stop()
	if err := <-done; !errors.Is(err, stage.ErrLockLost) {
		t.Errorf("a write after the lock was lost: %v", err)
	}
	parts, err := stage.ReadParts[string](t.Context(), s.Bus, "test", app, func(name string) bool { return strings.HasPrefix(name, "a/") })
	if err != nil || len(parts) != 1 || parts["a/1"].Value != "a/1!" {
		t.Errorf("parts: %v, %v", parts, err)
	}
}
