package provider

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/fluxcd/pkg/auth/azure"

	"github.com/sluice-cd/sluice/libs/githost"
)

const (
	eventHubVersion = "2014-01"
	eventHubType    = "application/atom+xml;type=entry;charset=utf-8"
	eventHubLimit   = 256<<10 - 8<<10 // bytes of an event in the smallest tier, with room for headers
	sharedAccessTTL = 20 * time.Minute
)

// eventHubSuffixes are where Azure has its namespaces. Tokens of cloud identities go nowhere else: the address is a user's choice, and
// whoever got the token could use it.
var eventHubSuffixes = []string{".servicebus.windows.net", ".servicebus.chinacloudapi.cn", ".servicebus.usgovcloudapi.net"}

// hostForm is a name, or one with a port.
var hostForm = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?\z`)

// newEventHub sends events to an Azure Event Hub by its HTTP interface, one request per event: the library speaks AMQP, which passes no
// proxy and keeps a connection for what is one message now and then.
func newEventHub(s Settings) (Sender, Traits, error) {
	e, err := locateEventHub(s)
	if err == nil && e.authorize == nil {
		e.authorize, err = e.bearer(s)
	}
	if err != nil {
		return nil, Traits{}, err
	}
	e.client = newClient(s, e.key)
	return e, Traits{}, nil
}

type eventHub struct {
	client    *client
	namespace string // host, and port if need be
	name      string
	key       string // of a shared access policy, or empty
	authorize authorize
}

// locateEventHub reads a connection string from the address, or else takes the address for the hub and the channel for the namespace.
func locateEventHub(s Settings) (eventHub, error) {
	place := s.place()
	switch {
	case place == "":
		return eventHub{}, fmt.Errorf("%w: an address is needed, the hub's name or a connection string", ErrSettings)
	case !strings.Contains(place, "SharedAccessKey"):
		channel, err := s.needChannel("the namespace of the event hub")
		if err == nil && !hostForm.MatchString(channel) {
			err = fmt.Errorf("%w: spec.channel is no namespace of Azure Event Hubs", ErrSettings)
		}
		return eventHub{namespace: eventHubHost(channel), name: place}, err
	case s.Spec.ServiceAccountName != "" || s.secret("token") != "":
		return eventHub{}, fmt.Errorf("%w: a connection string excludes spec.serviceAccountName and a token", ErrSettings)
	}
	return fromConnectionString(place, s.Spec.Channel)
}

// fromConnectionString reads Endpoint=sb://host/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=hub. The channel names the hub where
// EntityPath does not.
func fromConnectionString(text, channel string) (eventHub, error) {
	parts := map[string]string{"EntityPath": channel}
	for _, part := range strings.Split(text, ";") {
		if name, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok {
			parts[name] = value
		}
	}
	u, err := url.Parse(parts["Endpoint"])
	if err != nil || !hostForm.MatchString(u.Host) || parts["SharedAccessKeyName"] == "" || parts["SharedAccessKey"] == "" || parts["EntityPath"] == "" {
		return eventHub{}, fmt.Errorf("%w: the connection string needs Endpoint, SharedAccessKeyName, SharedAccessKey and EntityPath", ErrSettings)
	}
	e := eventHub{namespace: u.Host, name: parts["EntityPath"], key: parts["SharedAccessKey"]}
	e.authorize = func(context.Context) (http.Header, error) {
		return http.Header{"Authorization": {e.sign(parts["SharedAccessKeyName"], time.Now().Add(sharedAccessTTL))}}, nil
	}
	return e, nil
}

// sign makes a token of a shared access policy for the hub.
func (e eventHub) sign(policy string, ends time.Time) string {
	resource := url.QueryEscape("https://" + e.namespace + "/" + e.name)
	mac := hmac.New(sha256.New, []byte(e.key))
	fmt.Fprintf(mac, "%s\n%d", resource, ends.Unix())
	signature := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", resource, signature, ends.Unix(), url.QueryEscape(policy))
}

// bearer authorizes by the Secret's token, a JWT, or by the workload's identity.
func (e eventHub) bearer(s Settings) (authorize, error) {
	token := s.secret("token")
	switch {
	case token != "" && s.Spec.ServiceAccountName != "":
		return nil, fmt.Errorf("%w: a token in the Secret and spec.serviceAccountName exclude each other", ErrSettings)
	case token != "":
		return withHeader("Authorization", "Bearer "+token), sendable(token)
	case !hasSuffix(e.namespace, eventHubSuffixes):
		return nil, fmt.Errorf("%w: spec.channel is no namespace of Azure Event Hubs; a token of the identity would go elsewhere", ErrSettings)
	}
	return withCloud(s, azure.ProviderName, azure.ScopeEventHubs)
}

func hasSuffix(host string, suffixes []string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(strings.ToLower(host), s) {
			return true
		}
	}
	return false
}

// eventHubHost is a namespace's host. Which cloud it is in is what the workload identity's webhook writes into the environment.
func eventHubHost(namespace string) string {
	if strings.Contains(namespace, ".") {
		return namespace
	}
	authority := os.Getenv("AZURE_AUTHORITY_HOST")
	switch {
	case strings.Contains(authority, "chinacloudapi.cn"):
		return namespace + eventHubSuffixes[1]
	case strings.Contains(authority, "microsoftonline.us"):
		return namespace + eventHubSuffixes[2]
	}
	return namespace + eventHubSuffixes[0]
}

// Send sends the event. Those of one object go to one partition, which keeps their order.
func (e eventHub) Send(ctx context.Context, m Message) (Receipt, error) {
	body, err := eventWithin(m.Event, eventHubLimit)
	if err != nil {
		return Receipt{}, err
	}
	u, err := url.Parse("https://" + e.namespace + githost.Path(e.name, "messages") + "?timeout=60&api-version=" + eventHubVersion)
	if err != nil {
		return Receipt{}, &Refusal{Reason: "the namespace of the event hub cannot be understood"}
	}
	header, err := e.authorize(ctx)
	if err != nil {
		return Receipt{}, err
	}
	about := m.Event.InvolvedObject
	partition, err := json.Marshal(map[string]string{"PartitionKey": about.Kind + "/" + about.Namespace + "/" + about.Name})
	if err != nil {
		return Receipt{}, fmt.Errorf("write the partition's key: %w", err)
	}
	header = header.Clone()
	header.Set("BrokerProperties", string(partition))
	_, err = e.client.ask(ctx, query{URL: u, Header: header, Body: body, Type: eventHubType})
	return Receipt{}, err
}
