// Package letters shows what is to be told outside and what could not be told, and sends that again.
package letters

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/tools/internal/up"
)

// Options say which bus, and which letters.
type Options struct {
	Bus bus.Options
	// DataDir is that of the `sluice up` whose bus is meant; empty for Bus.
	DataDir string
	// Namespace, Provider, Alert select letters; empty for all.
	Namespace, Provider, Alert string
	// All allows to take many at once, Pending also those that still wait.
	All, Pending bool
}

// AddBusFlags defines the flags of the bus.
func (o *Options) AddBusFlags(f *pflag.FlagSet) {
	f.StringVar(&o.DataDir, "data-dir", "", "data directory of the 'sluice up' that runs on this machine, whose bus is used; instead of all --nats flags")
	f.StringVar(&o.Bus.URL, "nats-url", "nats://127.0.0.1:4222", "address of the NATS servers, separated by commas")
	f.StringVar(&o.Bus.NKeySeedFile, "nats-nkey-seed-file", "", "file with the NKey seed to authenticate with")
	f.StringVar(&o.Bus.CredsFile, "nats-creds-file", "", "credentials file (JWT and NKey) to authenticate with")
	f.StringVar(&o.Bus.User, "nats-user", "", "user to authenticate as, with --nats-password-file")
	f.StringVar(&o.Bus.PasswordFile, "nats-password-file", "", "file with the password of --nats-user")
	f.StringVar(&o.Bus.CAFile, "nats-ca-file", "", "certificate authority of the NATS servers")
	f.StringVar(&o.Bus.CertFile, "nats-cert-file", "", "client certificate for the NATS servers")
	f.StringVar(&o.Bus.KeyFile, "nats-key-file", "", "key of --nats-cert-file")
}

// AddSelectFlags defines the flags that select letters.
func (o *Options) AddSelectFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.Namespace, "namespace", "n", "", "namespace of the Provider; empty for all")
	f.StringVar(&o.Provider, "provider", "", "name of the Provider; empty for all")
	f.StringVar(&o.Alert, "alert", "", "name of the Alert; empty for all")
}

const connectTime = 10 * time.Second

func connect(ctx context.Context, o *Options) (*bus.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	to := o.Bus
	if o.DataDir != "" {
		var err error
		if to, err = up.BusOf(o.DataDir); err != nil {
			return nil, err
		}
	}
	to.Name, to.Log = "sluice notifications", slog.New(slog.DiscardHandler)
	return bus.Connect(ctx, to)
}

// read reads the letters of a stream that are selected.
func (o *Options) read(ctx context.Context, conn *bus.Conn, stream string, ids []string, bodies bool) ([]bus.Letter, error) {
	all, err := conn.Letters(ctx, stream, types.NamespacedName{}, bodies)
	if err != nil {
		return nil, err
	}
	var out []bus.Letter
	for _, l := range all {
		if o.selects(l, ids) {
			out = append(out, l)
		}
	}
	return out, nil
}

func (o *Options) selects(l bus.Letter, ids []string) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	if !is(o.Namespace, l.Channel.Namespace) || !is(o.Provider, l.Channel.Name) || !is(o.Alert, l.Alert) {
		return false
	}
	for _, id := range ids {
		if strings.HasPrefix(l.ID, id) {
			return true
		}
	}
	return len(ids) == 0
}

// List lists what waits and what could not be told.
func List(ctx context.Context, o *Options, out io.Writer) error {
	conn, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tAGE\tPROVIDER\tALERT\tABOUT\tREASON")
	for _, s := range []struct{ stream, state string }{{bus.StreamDead, "dead"}, {bus.StreamOutbox, "pending"}} {
		letters, err := o.read(ctx, conn, s.stream, nil, false)
		if err != nil {
			return err
		}
		for _, l := range letters {
			fmt.Fprintf(w, "%.12s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(l.ID), s.state, time.Since(l.Since).Round(time.Second), l.Channel, l.Alert, plain(l.About), plain(l.Reason))
		}
	}
	return w.Flush()
}

// plain is text that does nothing to a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

var errNamesNone = errors.New("name letters by the beginnings of their IDs, or say --all")

// Resend puts dead letters back into the outbox, and wakes who tells them.
func Resend(ctx context.Context, o *Options, ids []string, out io.Writer) error {
	if len(ids) == 0 && !o.All {
		return errNamesNone
	}
	conn, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	letters, err := o.read(ctx, conn, bus.StreamDead, ids, true)
	if err != nil {
		return err
	}
	if err := conn.Resend(ctx, letters); err != nil {
		return err
	}
	woken := map[types.NamespacedName]bool{}
	for _, l := range letters {
		if !woken[l.Channel] {
			woken[l.Channel] = true
			if err := stage.Wake(ctx, conn, state.StageNotify, l.Channel, stage.Hint{Cause: "resent"}); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(out, "%d letters are sent again\n", len(letters))
	return nil
}

// Drop forgets letters.
func Drop(ctx context.Context, o *Options, ids []string, out io.Writer) error {
	if len(ids) == 0 && !o.All {
		return errNamesNone
	}
	conn, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	streams := []string{bus.StreamDead}
	if o.Pending {
		streams = append(streams, bus.StreamOutbox)
	}
	n := 0
	for _, stream := range streams {
		letters, err := o.read(ctx, conn, stream, ids, false)
		if err != nil {
			return err
		}
		if err := conn.DropLetters(ctx, stream, letters); err != nil {
			return err
		}
		n += len(letters)
	}
	fmt.Fprintf(out, "%d letters are dropped\n", n)
	return nil
}
