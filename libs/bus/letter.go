package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"
)

// Streams of what is told outside: what waits to be told, and what could not be told.
const (
	StreamOutbox = "OUTBOX"
	StreamDead   = "DEADLETTERS"
)

// The first tokens of the subjects of letters: <box>.<namespace>.<channel>.<about whom it is told>.<id>.
const (
	boxOutbox = "outbox"
	boxDead   = "dead"
)

// Headers of a letter, for people who list them.
const (
	headerAbout  = "Sluice-About"
	headerReason = "Sluice-Reason"
	headerSince  = "Sluice-Since"
	headerAgain  = "Sluice-Again"
)

// Letter is one thing to tell through a channel. It is durable before anybody is told.
type Letter struct {
	Channel types.NamespacedName // who is told: a Provider
	Alert   string               // who wants it told: an Alert of the same namespace
	ID      string               // tells it from all others of the alert; letters, digits, '-' and '_'
	About   string               // the object that it is about, for people
	Since   time.Time            // when it was first to be told
	Reason  string               // why it could not be told; empty as long as that is tried
	Again   bool                 // somebody asked for it to be told once more
	Data    []byte

	Sequence uint64    // its place in the stream, once it was read
	Written  time.Time // when it came to that place
}

func (l *Letter) subject(box string) string {
	return channelPrefix(box, l.Channel) + escape(l.Alert) + "." + escape(l.ID)
}

func channelPrefix(box string, channel types.NamespacedName) string {
	return box + "." + escape(channel.Namespace) + "." + escape(channel.Name) + "."
}

// declareBoxes makes the streams of letters. A full outbox refuses: whoever writes into it keeps what it was told of. Dead letters push
// out the oldest.
func (c *Conn) declareBoxes(ctx context.Context, t Topology) error {
	_, err := c.declareStream(ctx, jetstream.StreamConfig{
		Name: StreamOutbox, Description: "What is to be told outside, by channel", Subjects: []string{boxOutbox + ".>"},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxBytes: t.OutboxMaxBytes, MaxAge: 30 * 24 * time.Hour,
		Duplicates: 10 * time.Minute, Storage: jetstream.FileStorage, Replicas: t.Replicas, AllowDirect: true,
	})
	if err != nil {
		return err
	}
	_, err = c.declareStream(ctx, jetstream.StreamConfig{
		Name: StreamDead, Description: "What could not be told outside, by channel", Subjects: []string{boxDead + ".>"},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, MaxBytes: t.OutboxMaxBytes / 4, MaxAge: 30 * 24 * time.Hour,
		MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage, Replicas: t.Replicas, AllowDirect: true,
	})
	return err
}

// PutLetters stores letters in the outbox, in that order, and returns when all are stored. Stored again within ten minutes, a letter is the
// same one; later it is one more, which who reads it can see by its ID.
func (c *Conn) PutLetters(ctx context.Context, letters []Letter) error {
	return c.putLetters(ctx, boxOutbox, letters, func(l *Letter) []jetstream.PublishOpt {
		return []jetstream.PublishOpt{jetstream.WithMsgID(l.subject(boxOutbox))}
	})
}

// MoveLetters stores letters in the outbox for the channels that they name now, each time as new ones: one may go away and come back. Who moves
// them removes those that it read.
func (c *Conn) MoveLetters(ctx context.Context, letters []Letter) error {
	return c.putLetters(ctx, boxOutbox, letters, noOptions)
}

// Resend puts dead letters back into the outbox, as new ones.
func (c *Conn) Resend(ctx context.Context, letters []Letter) error {
	again := make([]Letter, len(letters))
	for i, l := range letters {
		l.Since, l.Reason, l.Again = time.Now(), "", true
		again[i] = l
	}
	if err := c.putLetters(ctx, boxOutbox, again, noOptions); err != nil {
		return err
	}
	return c.DropLetters(ctx, StreamDead, letters)
}

// Bury puts letters among the dead ones.
func (c *Conn) Bury(ctx context.Context, letters []Letter) error {
	return c.putLetters(ctx, boxDead, letters, noOptions)
}

func noOptions(*Letter) []jetstream.PublishOpt { return nil }

func (c *Conn) putLetters(ctx context.Context, box string, letters []Letter, options func(*Letter) []jetstream.PublishOpt) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	for len(letters) > 0 {
		some := letters[:min(len(letters), 256)]
		letters = letters[len(some):]
		futures := make([]jetstream.PubAckFuture, len(some))
		for i := range some {
			l := &some[i]
			m := message(l.subject(box), l.Data, map[string]string{
				headerAbout: headerText(l.About), headerReason: headerText(l.Reason), headerSince: l.Since.UTC().Format(time.RFC3339Nano),
				headerAgain: againText[l.Again],
			})
			var err error
			if futures[i], err = c.JS.PublishMsgAsync(m, options(l)...); err != nil {
				return fmt.Errorf("store letter about %s: %w", l.About, err)
			}
		}
		for i, f := range futures {
			if err := awaitAck(ctx, f); err != nil {
				c.healIfGone(err)
				return fmt.Errorf("store letter about %s: %w", some[i].About, err)
			}
		}
	}
	return nil
}

var againText = map[bool]string{true: "true"}

func awaitAck(ctx context.Context, f jetstream.PubAckFuture) error {
	timeout, cancel := oneRequest(ctx)
	defer cancel()
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-timeout.Done():
		return timeout.Err()
	}
}

func (c *Conn) healIfGone(err error) {
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) {
		c.Heal()
	}
}

// headerText is text as a header may hold it.
func headerText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	const most = 1024
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// Letters reads the letters of a channel, oldest first; all channels' when it has no name. stream is StreamOutbox or StreamDead. Without
// bodies only the headers are read.
func (c *Conn) Letters(ctx context.Context, stream string, channel types.NamespacedName, bodies bool) ([]Letter, error) {
	box := boxOutbox
	if stream == StreamDead {
		box = boxDead
	}
	filter := box + ".>"
	if channel.Name != "" {
		filter = channelPrefix(box, channel) + ">"
	}
	var out []Letter
	err := c.each(ctx, stream, filter, !bodies, func(m jetstream.Msg) error {
		l, err := parseLetter(m)
		if err == nil {
			out = append(out, l)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list letters: %w", err)
	}
	return out, nil
}

func parseLetter(m jetstream.Msg) (Letter, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Letter{}, err
	}
	l := Letter{Data: m.Data(), Sequence: meta.Sequence.Stream, Written: meta.Timestamp, Since: meta.Timestamp}
	parts := strings.Split(m.Subject(), ".")
	if len(parts) != 5 {
		return l, fmt.Errorf("subject %q: want 5 tokens, have %d", m.Subject(), len(parts))
	}
	for i, to := range []*string{&l.Channel.Namespace, &l.Channel.Name, &l.Alert, &l.ID} {
		var err error
		if *to, err = unescape(parts[i+1]); err != nil {
			return l, fmt.Errorf("subject %q: %w", m.Subject(), err)
		}
	}
	l.About, l.Reason = m.Headers().Get(headerAbout), m.Headers().Get(headerReason)
	l.Again = m.Headers().Get(headerAgain) == againText[true]
	if since, err := time.Parse(time.RFC3339Nano, m.Headers().Get(headerSince)); err == nil {
		l.Since = since
	}
	return l, nil
}

// DropLetters removes letters that were read; those that are gone already are fine.
func (c *Conn) DropLetters(ctx context.Context, stream string, letters []Letter) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	s, err := c.openStream(ctx, stream)
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	errs := make([]error, len(letters))
	places := make(chan struct{}, 16)
	for i := range letters {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			one, cancel := oneRequest(ctx)
			defer cancel()
			errs[i] = dropLetter(one, s, letters[i].Sequence)
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove letters: %w", err)
	}
	return nil
}

func dropLetter(ctx context.Context, s jetstream.Stream, sequence uint64) error {
	err := s.DeleteMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		if _, missing := s.GetMsg(ctx, sequence); errors.Is(missing, jetstream.ErrMsgNotFound) {
			return nil
		}
	}
	return err
}
