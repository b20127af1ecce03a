package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/guard"
)

// maxWait bounds what a service can make us wait.
const maxWait = time.Hour

// judge is what an answer means; nil if the service took what it was sent.
func (c *client) judge(u *url.URL, a answer) error {
	limited := a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != ""
	switch {
	case a.Status >= 200 && a.Status < 300:
		return nil
	case limited:
		return &Busy{After: a.wait(time.Now())}
	case a.Status >= 500, a.Status == http.StatusRequestTimeout, a.Status == http.StatusTooEarly:
		return fmt.Errorf("%s answered with status %d: %s", c.hidden.host(u), a.Status, c.reason(a))
	case a.Status >= 300 && a.Status < 400:
		return &Refusal{Status: a.Status, Reason: "the address leads elsewhere, which is not followed"}
	}
	login := a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden || a.Status == http.StatusProxyAuthRequired
	return &Refusal{Status: a.Status, Reason: c.reason(a), Login: login}
}

// wait is how long the service wants to be left alone: by its header in seconds or as a date, or by its body as Discord, Telegram, Zulip
// and Matrix say it.
func (a answer) wait(now time.Time) time.Duration {
	header := strings.TrimSpace(a.Header.Get("Retry-After"))
	if at, err := http.ParseTime(header); err == nil {
		return bounded(at.Sub(now).Seconds())
	}
	var body struct {
		Seconds    float64 `json:"retry_after"`
		Dashed     float64 `json:"retry-after"`
		Millis     float64 `json:"retry_after_ms"`
		Parameters struct {
			Seconds float64 `json:"retry_after"`
		} `json:"parameters"`
	}
	_ = json.Unmarshal(a.Body, &body) // most say nothing there
	seconds, _ := strconv.ParseFloat(header, 64)
	return bounded(max(seconds, body.Seconds, body.Dashed, body.Millis/1000, body.Parameters.Seconds))
}

func bounded(seconds float64) time.Duration {
	switch {
	case !(seconds > 0): // also not a number
		return 0
	case seconds > maxWait.Seconds():
		return maxWait
	}
	return time.Duration(seconds * float64(time.Second))
}

// reason is what the service says about why, in one short line.
func (c *client) reason(a answer) string {
	said := strings.ToValidUTF8(string(a.Body[:min(len(a.Body), 64<<10)]), "")
	if found := message(a.Body); found != "" {
		said = found
	} else if strings.HasPrefix(strings.TrimSpace(said), "<") || strings.TrimSpace(said) == "" {
		said = strings.ToLower(http.StatusText(a.Status))
	}
	return c.hidden.clean(said)
}

// message is where services put the words for people into the JSON of an error.
func message(body []byte) string {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return ""
	}
	if inner, ok := fields["error"].(map[string]any); ok {
		fields = inner
	}
	for _, name := range []string{"message", "description", "msg", "detail", "error", "errors"} {
		switch found := fields[name].(type) {
		case string:
			if found != "" {
				return found
			}
		case []any:
			return strings.Trim(fmt.Sprint(found), "[]")
		}
	}
	return ""
}

// unreached is about a request that no answer came to. Only the cause is told: the rest of what Go says names addresses.
func (c *client) unreached(ctx context.Context, u *url.URL, err error) error {
	if over := ctx.Err(); over != nil {
		return fmt.Errorf("send: %w", over)
	}
	if refused, ok := errors.AsType[*guard.Error](err); ok {
		return &Refusal{Reason: c.hidden.clean(refused.Error())}
	}
	return fmt.Errorf("%s cannot be reached: %s", c.hidden.host(u), c.cause(err))
}

func (c *client) cause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", c.timeout)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return c.hidden.clean(withoutURL(err).Error())
}
