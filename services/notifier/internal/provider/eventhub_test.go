package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
)

const (
	hubKey        = "c2hhcmVkLWFjY2Vzcy1rZXktb2YtdGhlLWh1Yg=="
	hubConnection = "Endpoint=sb://sluice.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=" + hubKey + ";EntityPath=events"
)

// moved leads requests for a service's own host to a test's, and tells the host that was meant in a header.
type moved struct {
	http.RoundTripper
	to *url.URL
}

func (m moved) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Meant", r.URL.Scheme+"://"+r.URL.Host)
	r.URL.Scheme, r.URL.Host = m.to.Scheme, m.to.Host
	return m.RoundTripper.RoundTrip(r)
}

func (c *client) move(to *url.URL) { c.http.Transport = moved{c.http.Transport, to} }

func moveHub(s Sender, to *url.URL) { s.(eventHub).client.move(to) }

// hubCheck is what Azure asks for: see "Send event" and "Generate SAS token" in its reference.
func hubCheck(authorization func(string) error) accept {
	return func(c call) (string, error) {
		var e eventv1.Event
		var properties struct{ PartitionKey string }
		return "", expect(
			want("host", c.Header.Get("X-Meant"), "https://sluice.servicebus.windows.net"), want("method", c.Method, "POST"), want("path", c.URL.Path, "/events/messages"),
			want("version", c.URL.Query().Get("api-version"), "2014-01"), want("type", c.Header.Get("Content-Type"), "application/atom+xml;type=entry;charset=utf-8"),
			authorization(c.Header.Get("Authorization")), c.into(&e), atMost("body", len(c.body), 256<<10),
			json.Unmarshal([]byte(c.Header.Get("BrokerProperties")), &properties), want("prefix", strings.HasPrefix(properties.PartitionKey, "Kustomization/apps/"), true))
	}
}

func checkSharedAccess(header string) error {
	fields, err := url.ParseQuery(strings.TrimPrefix(header, "SharedAccessSignature "))
	if err != nil || !strings.HasPrefix(header, "SharedAccessSignature sr=") {
		return fmt.Errorf("%q: %w", header, err)
	}
	var ends int64
	_, err = fmt.Sscan(fields.Get("se"), &ends)
	mac := hmac.New(sha256.New, []byte(hubKey))
	fmt.Fprintf(mac, "%s\n%d", url.QueryEscape(fields.Get("sr")), ends)
	left := time.Until(time.Unix(ends, 0))
	return expect(err, want("resource", fields.Get("sr"), "https://sluice.servicebus.windows.net/events"), want("policy", fields.Get("skn"), "send"),
		want("signature", fields.Get("sig"), base64.StdEncoding.EncodeToString(mac.Sum(nil))), want("lasts", left > time.Minute && left < time.Hour, true))
}

func isBearer(header string) error { return want("authorization", header, "Bearer "+secretToken) }

func TestEventHub(t *testing.T) {
	identity := &identityOf{provider: "azure", scope: "https://eventhubs.azure.net//.default"}
	withIdentity := settings(notifyv1.AzureEventHubProvider, "sluice")
	withIdentity.Spec.Address, withIdentity.Spec.ServiceAccountName, withIdentity.Cloud = "events", "sender", identity
	withToken := settings(notifyv1.AzureEventHubProvider, "sluice.servicebus.windows.net", "token", secretToken)
	withToken.Spec.Address = "events"
	for name, k := range map[string]kit{
		"connection string":  {settings: settings(notifyv1.AzureEventHubProvider, "", "address", hubConnection), check: hubCheck(checkSharedAccess)},
		"hub in the channel": {settings: settings(notifyv1.AzureEventHubProvider, "events", "address", strings.TrimSuffix(hubConnection, ";EntityPath=events")), check: hubCheck(checkSharedAccess)},
		"identity":           {settings: withIdentity, check: hubCheck(isBearer)},
		"token":              {settings: withToken, check: hubCheck(isBearer)},
	} {
		k.machine, k.adjust = true, moveHub
		t.Run(name, func(t *testing.T) {
			t.Run("messages", k.messages)
			t.Run("busy", k.busy)
			t.Run("failures", k.failures)
			t.Run("unreachable", k.unreachable)
			t.Run("elsewhere", k.elsewhere)
			service := serve(t, k.check)
			sender, _ := k.sender(t, service.URL)
			m := hostileMessage(1 << 20)
			m.Event.Metadata, m.Event.ReportingController = nil, ""
			if _, err := sender.Send(t.Context(), m); err != nil {
				t.Errorf("%.500v", err)
			}
		})
	}
	identity.err = errors.New("no identity")
	sender, _, err := New(withIdentity)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(t.Context(), sampleMessage()); !errors.Is(err, identity.err) {
		t.Error(err)
	}
}

func TestEventHubClouds(t *testing.T) {
	for authority, host := range map[string]string{"": "ns.servicebus.windows.net", "https://login.chinacloudapi.cn/": "ns.servicebus.chinacloudapi.cn", "https://login.microsoftonline.us/": "ns.servicebus.usgovcloudapi.net"} {
		t.Setenv("AZURE_AUTHORITY_HOST", authority)
		if got := eventHubHost("ns"); got != host {
			t.Errorf("%s: %s", authority, got)
		}
	}
}

// Tokens of an identity go to Azure alone.
func TestIdentityStaysInAzure(t *testing.T) {
	for _, s := range []Settings{
		at(settings(notifyv1.AzureEventHubProvider, "evil.example"), "events"),
		at(settings(notifyv1.AzureEventHubProvider, "ns.servicebus.windows.net.evil.example"), "events"),
		at(settings(notifyv1.AzureEventHubProvider, "evil.example/.servicebus.windows.net"), "events"),
		at(settings(notifyv1.AzureEventHubProvider, "evil.example?.servicebus.windows.net"), "events"),
		at(settings(notifyv1.AzureEventHubProvider, "evil.example#.servicebus.windows.net"), "events"),
		at(settings(notifyv1.AzureEventHubProvider, "a@evil.example:1/.servicebus.windows.net"), "events"),
		at(settings(notifyv1.AzureDevOpsProvider, ""), "https://evil.example/org/proj/_git/repo"),
		at(settings(notifyv1.AzureDevOpsProvider, ""), "https://dev.azure.com.evil.example/org/proj/_git/repo"),
		at(settings(notifyv1.AzureDevOpsProvider, ""), "http://dev.azure.com/org/proj/_git/repo"),
		at(settings(notifyv1.AzureDevOpsProvider, ""), "https://evilvisualstudio.com/proj/_git/repo"),
	} {
		identity := &identityOf{provider: "azure"}
		s.Cloud = identity
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || identity.asked.Load() > 0 {
			t.Errorf("%s %s: %v", s.Spec.Channel, s.Spec.Address, err)
		}
	}
}

func TestAzureDevOpsIdentity(t *testing.T) {
	s := azureService()
	s.accept = func(c call) error {
		return expect(want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken), want("host", c.Header.Get("X-Meant"), "https://dev.azure.com"))
	}
	identity := &identityOf{provider: "azure", scope: "499b84ac-1321-427f-aa17-267ca6975798/.default"}
	settings := at(settings(s.kind, ""), "https://dev.azure.com"+s.path)
	settings.Cloud, settings.AllowPrivate = identity, true
	sender, _, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(serveStatuses(t, s))
	if err != nil {
		t.Fatal(err)
	}
	sender.(*statuses).host.(azureDevOpsStatuses).client.move(to)
	if _, err := sender.Send(t.Context(), sampleMessage()); err != nil || s.writes != 1 {
		t.Errorf("%v, %d written", err, s.writes)
	}
}

func TestEventHubSettings(t *testing.T) {
	both := at(settings(notifyv1.AzureEventHubProvider, "ns", "token", secretToken), "events")
	both.Spec.ServiceAccountName = "sender"
	account := settings(notifyv1.AzureEventHubProvider, "", "address", hubConnection)
	account.Spec.ServiceAccountName = "sender"
	for name, s := range map[string]Settings{
		"nothing": settings(notifyv1.AzureEventHubProvider, "ns"), "no namespace": at(settings(notifyv1.AzureEventHubProvider, "", "token", secretToken), "events"),
		"no identity": at(settings(notifyv1.AzureEventHubProvider, "ns"), "events"), "two": both, "connection and account": account,
		"connection and token": settings(notifyv1.AzureEventHubProvider, "", "address", hubConnection, "token", secretToken),
		"no hub":               settings(notifyv1.AzureEventHubProvider, "", "address", strings.TrimSuffix(hubConnection, ";EntityPath=events")),
		"no key":               settings(notifyv1.AzureEventHubProvider, "", "address", "Endpoint=sb://a/;SharedAccessKeyName=b;EntityPath=c"),
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), hubKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
