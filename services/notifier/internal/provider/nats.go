package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// newNATS publishes events on a subject of NATS.
func newNATS(s Settings) (Sender, Traits, error) {
	if s.place() == "" {
		return nil, Traits{}, fmt.Errorf("%w: an address is needed, that of the NATS server", ErrSettings)
	}
	subject, err := s.needChannel("the subject to publish on")
	if err != nil {
		return nil, Traits{}, err
	}
	if strings.ContainsAny(subject, " \t\r\n*>") || strings.HasPrefix(subject, ".") || strings.HasSuffix(subject, ".") || strings.Contains(subject, "..") {
		return nil, Traits{}, fmt.Errorf("%w: spec.channel is no subject of NATS that can be published on", ErrSettings)
	}
	login, err := natsLogin(s)
	if err != nil {
		return nil, Traits{}, err
	}
	n := natsSender{client: newClient(s), servers: s.place(), subject: subject, options: []nats.Option{nats.Name("sluice notifier"), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}}
	if login != nil {
		n.options = append(n.options, login)
	}
	if s.TLS != nil {
		n.options = append(n.options, nats.Secure(s.TLS.Clone()))
	}
	return n, Traits{}, nil
}

// natsLogin is the first that the Secret has of creds, nkey, token, and username with password; nil for none.
func natsLogin(s Settings) (nats.Option, error) {
	switch {
	case len(s.Secret["creds"]) > 0:
		if _, err := nkeys.ParseDecoratedUserNKey(s.Secret["creds"]); err != nil {
			return nil, fmt.Errorf("%w: key creds of the Secret is no file of credentials", ErrSettings)
		}
		return nats.UserCredentialBytes(s.Secret["creds"]), nil
	case s.secret("nkey") != "":
		pair, err := nkeys.FromSeed([]byte(s.secret("nkey")))
		if err != nil {
			return nil, fmt.Errorf("%w: key nkey of the Secret is no seed", ErrSettings)
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("%w: key nkey of the Secret has no public key", ErrSettings)
		}
		return nats.Nkey(public, pair.Sign), nil
	case s.secret("token") != "":
		return nats.Token(s.secret("token")), nil
	case s.username() != "" && s.secret("password") != "":
		return nats.UserInfo(s.username(), s.secret("password")), nil
	}
	return nil, nil
}

type natsSender struct {
	client  *client
	servers string
	subject string
	options []nats.Option
}

// Send publishes the event, and returns when it is stored where a stream of the server's has the subject, and when the server has it elsewhere.
// The message's key goes along as Nats-Msg-Id, by which a stream knows what it has already.
func (n natsSender) Send(ctx context.Context, m Message) (Receipt, error) {
	body, err := json.Marshal(m.Event)
	if err != nil {
		return Receipt{}, fmt.Errorf("write the event: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, n.client.timeout)
	defer cancel()
	options := append([]nats.Option{nats.SetCustomDialer(natsDialer{ctx, n.client}), nats.Timeout(n.client.timeout)}, n.options...)
	connection, err := nats.Connect(n.servers, options...)
	if err != nil {
		return Receipt{}, n.judge(err)
	}
	defer connection.Close()
	message := nats.NewMsg(n.subject)
	message.Data = body
	if m.Key != "" {
		message.Header.Set(nats.MsgIdHdr, m.Key)
	}
	talk := &natsTalk{connection: connection, reply: connection.NewRespInbox()}
	stored, err := talk.isStored(ctx, n.subject)
	if err == nil && stored {
		return Receipt{}, n.judge(talk.store(ctx, message))
	}
	if err == nil {
		err = talk.say(ctx, message)
	}
	return Receipt{}, n.judge(err)
}

// judge tells what is final: too large an event, and lacking rights as long as nobody gives them.
func (n natsSender) judge(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return &Refusal{Reason: n.client.hidden.clean(err.Error()), Login: true}
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), isStreamRefusal(err):
		return &Refusal{Reason: n.client.hidden.clean(err.Error())}
	}
	if refused := refusedAddress(err); refused != nil {
		return refused
	}
	return fmt.Errorf("publish on %s: %s", n.subject, n.client.cause(err))
}

// natsDialer connects where the client may.
type natsDialer struct {
	ctx    context.Context //nolint:containedctx // the library dials without one
	client *client
}

func (d natsDialer) Dial(network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.client.timeout, ControlContext: d.client.control}
	return dialer.DialContext(d.ctx, network, address)
}
