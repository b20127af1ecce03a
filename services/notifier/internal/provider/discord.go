package provider

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// discord tells a channel by its webhook, and edits what it told.
type discord struct {
	*client
	settings Settings
	to       *url.URL
}

// Limits of messages (docs.discord.com/developers/resources/message#embed-object-embed-limits).
const (
	discordTitle       = 256
	discordDescription = 4096
	discordEmbed       = 6000 // characters of all of it
)

func newDiscord(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	// Flux speaks to the form of the webhook that takes Slack's messages: it may be written in the address.
	to.Path = strings.TrimSuffix(strings.TrimSuffix(to.Path, "/"), "/slack")
	// docs.discord.com/developers/topics/rate-limits names no numbers for webhooks; answers name 5 in 2 seconds and 30 in a minute.
	return &discord{newClient(s), s, to}, Traits{Groups: true, Edits: true, Every: 2 * time.Second, Burst: 5}, nil
}

func (d *discord) Send(ctx context.Context, m Message) (Receipt, error) {
	if _, err := strconv.ParseUint(m.Edit, 10, 64); err == nil {
		return edited(func() (Receipt, error) { return d.edit(ctx, m) }, func() (Receipt, error) { return d.post(ctx, m) })
	}
	return d.post(ctx, m)
}

func (d *discord) post(ctx context.Context, m Message) (Receipt, error) {
	to, message := *d.to, discordMessage(m.Content)
	asked := to.Query()
	asked.Set("wait", "true") // so that the answer is the message
	to.RawQuery = asked.Encode()
	if name := d.settings.author(m); name != "" {
		message["username"] = name
	}
	return d.call(ctx, query{URL: &to, JSON: message})
}

func (d *discord) edit(ctx context.Context, m Message) (Receipt, error) {
	to := *d.to
	to.Path += "/messages/" + m.Edit
	return d.call(ctx, query{Method: http.MethodPatch, URL: &to, JSON: discordMessage(m.Content)})
}

func (d *discord) call(ctx context.Context, q query) (Receipt, error) {
	var said struct {
		ID string `json:"id"`
	}
	err := d.tell(ctx, q, &said)
	return Receipt{ID: said.ID}, err
}

var discordMarkup = markup{
	escape: backslashes, size: characters, newline: "\n",
	bold: func(s string) string { return "**" + s + "**" },
	link: markdownLink,
}

// discordMessage is one embed; mentions of any sort stay words.
func discordMessage(c Content) object {
	title := discordMarkup.line(c.heading(), discordTitle)
	left := discordEmbed - characters(title)
	fields := []any{}
	for _, f := range c.fields(maxFields) {
		name, value := discordMarkup.fit(f.Name, maxName), discordMarkup.fit(f.Value, maxValue)
		if left < discordEmbed/3 {
			break
		}
		left -= characters(name + value)
		fields = append(fields, object{"name": name, "value": value, "inline": characters(value) < 40})
	}
	body := Content{State: c.State, Text: c.Text, Rows: c.Rows, RowsMore: c.RowsMore, Links: c.Links}
	embed := object{"title": title, "color": c.State.colorNumber(), "fields": fields}
	if text := composeBody(body, discordMarkup, min(left, discordDescription)); text != "" {
		embed["description"] = text
	}
	return object{"embeds": []any{embed}, "allowed_mentions": object{"parse": []any{}}}
}
