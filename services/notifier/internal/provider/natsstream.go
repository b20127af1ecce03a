package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// natsTalk is what is said to a server, and its answers, by a plain connection: the library's own way to publish into streams takes a server that has
// none, or does not let us ask, for one that does not answer.
type natsTalk struct {
	connection *nats.Conn
	reply      string // where answers go
}

// streamError is what JetStream answers to what it does not do.
type streamError struct {
	Code        int    `json:"code"`
	Description string `json:"description"`
}

func (e *streamError) Error() string { return fmt.Sprintf("%s (code %d)", e.Description, e.Code) }

// isStreamRefusal says whether a stream will never take a message: it is too large, or another than the stream wants.
func isStreamRefusal(err error) bool {
	e, ok := errors.AsType[*streamError](err)
	return ok && e.Code >= 400 && e.Code < 500
}

// errNobody says that nobody answers on a subject.
var errNobody = errors.New("nobody answers")

// say publishes a message, and waits until the server has it.
func (t *natsTalk) say(ctx context.Context, m *nats.Msg) error {
	before := t.connection.LastError()
	if err := t.connection.PublishMsg(m); err != nil {
		return err
	}
	if err := t.connection.FlushWithContext(ctx); err != nil { // the server objects before it answers this
		return err
	}
	if err := t.connection.LastError(); err != before {
		return err
	}
	return nil
}

// ask publishes a message, and hands its answers to take until that wants no more. It may not do so where it may not subscribe to answers either.
func (t *natsTalk) ask(ctx context.Context, m *nats.Msg, take func(*nats.Msg) (done bool)) error {
	answers, err := t.connection.SubscribeSync(t.reply)
	if err != nil {
		return err
	}
	defer func() { _ = answers.Unsubscribe() }()
	m.Reply = t.reply
	if err := t.say(ctx, m); err != nil {
		return err
	}
	for {
		answer, err := answers.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) {
			return errNobody
		}
		if err != nil {
			return err
		}
		if take(answer) {
			return nil
		}
	}
}

// isStored asks the server whether a stream has the subject and tells who publishes. Where there are no streams, or we may not ask for them, none has.
func (t *natsTalk) isStored(ctx context.Context, subject string) (bool, error) {
	question, err := json.Marshal(map[string]string{"subject": subject})
	if err != nil {
		return false, err
	}
	var found struct {
		Streams []struct {
			Config struct {
				NoAck bool `json:"no_ack"`
			} `json:"config"`
		} `json:"streams"`
	}
	m := nats.NewMsg("$JS.API.STREAM.LIST")
	m.Data = question
	err = t.ask(ctx, m, func(answer *nats.Msg) bool {
		_ = json.Unmarshal(answer.Data, &found) // of nobody who answers, and of what is no answer, it stays empty
		return true
	})
	if errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, errNobody) {
		return false, nil
	}
	return len(found.Streams) == 1 && !found.Streams[0].Config.NoAck, err
}

// store publishes a message and waits until the stream has it. Others who answer to the subject do not count.
func (t *natsTalk) store(ctx context.Context, m *nats.Msg) error {
	var refused error
	err := t.ask(ctx, m, func(answer *nats.Msg) bool {
		var said struct {
			Stream string       `json:"stream"`
			Error  *streamError `json:"error"`
		}
		if json.Unmarshal(answer.Data, &said) != nil {
			return false
		}
		if said.Error != nil {
			refused = said.Error
		}
		return said.Error != nil || said.Stream != ""
	})
	return errors.Join(err, refused)
}
