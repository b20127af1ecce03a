package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// natsServer is a real one.
func natsServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoLog, o.NoSigs, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, t.TempDir()
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
}

// listen subscribes as a user of the server's own.
func listen(t *testing.T, s *server.Server, options ...nats.Option) (*nats.Conn, *nats.Subscription) {
	t.Helper()
	c, err := nats.Connect(s.ClientURL(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	sub, err := c.SubscribeSync("flux.events.>")
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, sub
}

func natsSettings(s *server.Server, secret ...string) Settings {
	settings := at(settings(notifyv1.NATSProvider, "flux.events.prod", secret...), s.ClientURL())
	settings.AllowPrivate = true
	return settings
}

func sendNATS(t *testing.T, s Settings, m Message) error {
	t.Helper()
	sender, traits, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	if traits != (Traits{}) {
		t.Errorf("%+v", traits)
	}
	_, err = sender.Send(t.Context(), m)
	return err
}

func users() *server.Options {
	may := &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"flux.events.prod"}}}
	return &server.Options{MaxPayload: 64 << 10, Users: []*server.User{{Username: "listener", Password: "listens"}, {Username: "me", Password: secretPassword, Permissions: may}}}
}

func TestNATS(t *testing.T) {
	s := natsServer(t, users())
	_, sub := listen(t, s, nats.UserInfo("listener", "listens"))
	good := natsSettings(s, "username", "me", "password", secretPassword)
	for _, m := range []Message{sampleMessage(), hostileMessage(0)} {
		m.Event.Metadata["big"] = ""
		if len(m.Event.Message) > 10_000 {
			t.Fatal("too long for this server")
		}
		if err := sendNATS(t, good, m); err != nil {
			t.Fatal(err)
		}
		got, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var e eventv1.Event
		if err := json.Unmarshal(got.Data, &e); err != nil || e.InvolvedObject.Kind != "Kustomization" || got.Subject != "flux.events.prod" || got.Header.Get("Nats-Msg-Id") != key {
			t.Errorf("%v %s %v %+v", err, got.Subject, got.Header, e)
		}
	}
	inURL := good
	inURL.Secret = map[string][]byte{"address": []byte(strings.Replace(s.ClientURL(), "//", "//me:"+secretPassword+"@", 1))}
	if err := sendNATS(t, inURL, sampleMessage()); err != nil {
		t.Errorf("login in the address: %v", err)
	}
	specUser := natsSettings(s, "password", secretPassword)
	specUser.Spec.Username = "me"
	if err := sendNATS(t, specUser, sampleMessage()); err != nil {
		t.Errorf("spec.username: %v", err)
	}
}

func TestNATSRefuses(t *testing.T) {
	s := natsServer(t, users())
	forbidden := natsSettings(s, "username", "me", "password", secretPassword)
	forbidden.Spec.Channel = "flux.events.other"
	huge := hostileMessage(1 << 20)
	private := natsSettings(s, "username", "me", "password", secretPassword)
	private.AllowPrivate = false
	for name, test := range map[string]struct {
		settings Settings
		message  Message
	}{
		"another password": {natsSettings(s, "username", "me", "password", secretToken), sampleMessage()},
		"nobody":           {natsSettings(s), sampleMessage()},
		"another subject":  {forbidden, sampleMessage()},
		"too large":        {natsSettings(s, "username", "me", "password", secretPassword), huge},
		"private address":  {private, sampleMessage()},
	} {
		err := sendNATS(t, test.settings, test.message)
		if !isRefusal(err) || strings.Contains(err.Error(), secretPassword) || strings.Contains(err.Error(), secretToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever sends again is not heard twice where a stream keeps the subject.
func TestNATSStream(t *testing.T) {
	o := users()
	o.JetStream = true
	s := natsServer(t, o)
	c, _ := listen(t, s, nats.UserInfo("listener", "listens"))
	js, err := c.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "EVENTS", Subjects: []string{"flux.events.>"}}); err != nil {
		t.Fatal(err)
	}
	other := sampleMessage()
	other.Key = "another"
	for _, m := range []Message{sampleMessage(), sampleMessage(), other} {
		if err := sendNATS(t, natsSettings(s, "username", "listener", "password", "listens"), m); err != nil {
			t.Fatal(err)
		}
	}
	info, err := js.StreamInfo("EVENTS")
	if err != nil || info.State.Msgs != 2 {
		t.Fatalf("%+v %v", info, err)
	}
}

// TestNATSAcknowledged: where a stream has the subject, what it does not store was not sent; who answers to the subject beside it changes nothing. Where it
// says nothing, or we may not ask whether there is one, it is enough that the server has the message.
func TestNATSAcknowledged(t *testing.T) {
	o := users()
	o.JetStream = true
	o.Users = append(o.Users, &server.User{Username: "all", Password: secretPassword})
	s := natsServer(t, o)
	c, _ := listen(t, s, nats.UserInfo("listener", "listens"))
	js, err := c.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	stream := &nats.StreamConfig{Name: "EVENTS", Subjects: []string{"flux.events.>"}, MaxMsgs: 1, Discard: nats.DiscardNew}
	if _, err := js.AddStream(stream); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe("flux.events.prod", func(m *nats.Msg) { _ = m.Respond([]byte("thanks")) }); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	all, one := natsSettings(s, "username", "all", "password", secretPassword), natsSettings(s, "username", "me", "password", secretPassword)
	other := sampleMessage()
	other.Key = "another"
	if err := sendNATS(t, all, sampleMessage()); err != nil {
		t.Error(err)
	}
	if err := sendNATS(t, all, other); err == nil || isRefusal(err) {
		t.Errorf("a stream that is full: %v", err)
	}
	if err := sendNATS(t, one, other); err != nil {
		t.Errorf("who may not ask for streams: %v", err)
	}
	stream.MaxMsgSize = 100
	stream.MaxMsgs = 2
	if _, err := js.UpdateStream(stream); err != nil {
		t.Fatal(err)
	}
	if err := sendNATS(t, all, other); !isRefusal(err) {
		t.Errorf("too large for the stream: %v", err)
	}
	stream.NoAck = true
	if _, err := js.UpdateStream(stream); err != nil {
		t.Fatal(err)
	}
	if err := sendNATS(t, all, other); err != nil {
		t.Errorf("a stream that says nothing: %v", err)
	}
}

func TestNATSKey(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	s := natsServer(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})
	for range 2 { // before username and password
		if err := sendNATS(t, natsSettings(s, "nkey", string(seed)+"\n", "username", "me", "password", secretPassword), sampleMessage()); err != nil {
			t.Error(err)
		}
	}
	if err := sendNATS(t, natsSettings(s, "username", "me", "password", secretPassword), sampleMessage()); !isRefusal(err) {
		t.Error(err)
	}
}

func TestNATSToken(t *testing.T) {
	s := natsServer(t, &server.Options{Authorization: secretToken})
	if err := sendNATS(t, natsSettings(s, "token", secretToken+"\n"), sampleMessage()); err != nil {
		t.Error(err)
	}
}

// signed is a claim as text.
func signed(t *testing.T, claim interface {
	Encode(nkeys.KeyPair) (string, error)
}, by nkeys.KeyPair) string {
	t.Helper()
	text, err := claim.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func pairOf(t *testing.T, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public
}

func TestNATSCredentials(t *testing.T) {
	operator, operatorKey := pairOf(t, nkeys.CreateOperator)
	account, accountKey := pairOf(t, nkeys.CreateAccount)
	user, userKey := pairOf(t, nkeys.CreateUser)
	claims, err := jwt.DecodeOperatorClaims(signed(t, jwt.NewOperatorClaims(operatorKey), operator))
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(accountKey, signed(t, jwt.NewAccountClaims(accountKey), operator)); err != nil {
		t.Fatal(err)
	}
	s := natsServer(t, &server.Options{TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver})
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(signed(t, jwt.NewUserClaims(userKey), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	_, sub := listen(t, s, nats.UserCredentialBytes(file))
	if err := sendNATS(t, natsSettings(s, "creds", string(file), "nkey", "ignored"), sampleMessage()); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(10 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestNATSAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // which accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	silent := settings(notifyv1.NATSProvider, "events", "password", secretPassword, "address", "nats://me:"+secretPassword+"@"+listener.Addr().String())
	silent.AllowPrivate, silent.Spec.Timeout = true, &metav1.Duration{Duration: 100 * time.Millisecond}
	gone := silent
	gone.Secret = map[string][]byte{"address": []byte("nats://me:" + secretPassword + "@127.0.0.1:1")}
	for name, s := range map[string]Settings{"silent": silent, "gone": gone} {
		began := time.Now()
		err := sendNATS(t, s, sampleMessage())
		if err == nil || isRefusal(err) || strings.Contains(fmt.Sprint(err), secretPassword) || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(began))
		}
	}
}

func TestNATSSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"no address": settings(notifyv1.NATSProvider, "events"), "no subject": at(settings(notifyv1.NATSProvider, ""), "nats://nats:4222"),
		"wildcard": at(settings(notifyv1.NATSProvider, "a.>"), "nats://nats:4222"), "space": at(settings(notifyv1.NATSProvider, "a b"), "nats://nats:4222"),
		"line end": at(settings(notifyv1.NATSProvider, "a\r\nPUB x 1"), "nats://nats:4222"), "empty part": at(settings(notifyv1.NATSProvider, "a..b"), "nats://nats:4222"),
		"bad creds": at(settings(notifyv1.NATSProvider, "a", "creds", "hunter2"), "nats://nats:4222"), "bad seed": at(settings(notifyv1.NATSProvider, "a", "nkey", "hunter2"), "nats://nats:4222"),
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
