package provider

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// msteams tells a channel of Microsoft Teams, by a workflow's URL in Adaptive Cards or by a connector of the old sort.
type msteams struct {
	*client
	to        *url.URL
	connector bool
}

// teamsSize is what a card may have in bytes: Teams takes 28 KB with what workflows add.
const teamsSize = 22_000

func newMSTeams(s Settings) (Sender, Traits, error) {
	to, err := s.address()
	if err != nil {
		return nil, Traits{}, err
	}
	t := &msteams{newClient(s), to, strings.HasSuffix(to.Hostname(), ".webhook.office.com")}
	if t.connector {
		// learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using: 60 in 30 seconds, 100 in an hour.
		return t, Traits{Groups: true, Every: 36 * time.Second, Burst: 30}, nil
	}
	// learn.microsoft.com/connectors/teams, throttling limits of what workflows post with: 25 in 300 seconds.
	return t, Traits{Groups: true, Every: 12 * time.Second, Burst: 20}, nil
}

func (t *msteams) Send(ctx context.Context, m Message) (Receipt, error) {
	body := teamsMessage(m.Content)
	if t.connector {
		body = connectorCard(m.Content)
	}
	a, err := t.ask(ctx, query{URL: t.to, JSON: body})
	if err != nil || !t.connector {
		return Receipt{}, err
	}
	return Receipt{}, t.delivered(a)
}

var connectorError = regexp.MustCompile(`(?i)HTTP error (\d{3})`)

// delivered looks into the answers of connectors, which have status 200 whatever Teams itself said.
func (t *msteams) delivered(a answer) error {
	found := connectorError.FindSubmatch(a.Body)
	if found == nil {
		return nil
	}
	a.Status, _ = strconv.Atoi(string(found[1]))
	return t.judge(t.to, a)
}

// teamsMessage is an Adaptive Card 1.4, whose text stands in runs: they know no markup.
func teamsMessage(c Content) object {
	card := teamsCard{left: teamsSize}
	card.add(textRun(verbatim.line(c.heading(), maxTitle), object{"size": "large", "weight": "bolder", "color": teamsColor(c.State)}))
	if text := lines(c.Text); text != "" {
		for line := range strings.SplitSeq(verbatim.fit(text, slackText), "\n") {
			card.add(textRun(line, nil))
		}
	}
	for _, f := range c.fields(maxFields) {
		card.add(textRun(verbatim.fit(f.Name, maxName)+": ", object{"weight": "bolder"}), textRun(verbatim.fit(f.Value, maxValue), nil))
	}
	card.rows(c)
	content := object{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": card.body,
		"msteams": object{"width": "Full"},
	}
	if actions := teamsActions(c); len(actions) > 0 {
		content["actions"] = actions
	}
	return object{"type": "message", "attachments": []any{object{"contentType": "application/vnd.microsoft.card.adaptive", "content": content}}}
}

// teamsCard is the body of a card that is being filled.
type teamsCard struct {
	body []any
	left int // bytes
}

// add writes a line of runs, or says that it does not fit.
func (t *teamsCard) add(runs ...any) bool {
	block := object{"type": "RichTextBlock", "inlines": runs}
	data, err := marshal(block)
	if err != nil || len(data)+1 > t.left {
		return false
	}
	t.left -= len(data) + 1
	t.body = append(t.body, block)
	return true
}

func (t *teamsCard) rows(c Content) {
	t.left -= 100 // for the last line
	shown := 0
	for _, r := range c.Rows {
		detail := verbatim.line(r.Detail, maxDetail)
		if !t.add(textRun(r.State.icon()+" ", nil), textRun(verbatim.line(r.Object, maxObject), object{"weight": "bolder"}), textRun(" "+detail, nil)) {
			break
		}
		shown++
	}
	t.left += 100
	if rest := len(c.Rows) - shown + c.RowsMore; rest > 0 {
		t.add(textRun(more(rest), nil))
	}
}

func textRun(text string, style object) object {
	if text == "" {
		text = " "
	}
	run := object{"type": "TextRun", "text": text}
	for name, value := range style {
		run[name] = value
	}
	return run
}

func teamsColor(s State) string {
	return map[State]string{Progressing: "warning", Succeeded: "good", Failed: "attention", Informed: "default"}[s.known()]
}

func teamsActions(c Content) []any {
	var found []any
	for _, l := range c.links() {
		if len(l.URL) <= 800 {
			found = append(found, object{"type": "Action.OpenUrl", "title": verbatim.fit(l.Text, maxName), "url": l.URL})
		}
	}
	return found
}

// connectorCard is the form of Office 365 connectors, without Markdown.
func connectorCard(c Content) object {
	facts := []any{}
	for _, f := range c.fields(maxFields) {
		facts = append(facts, object{"name": htmlMarkup.fit(f.Name, maxName), "value": htmlMarkup.fit(f.Value, maxValue)})
	}
	body := Content{State: c.State, Text: c.Text, Rows: c.Rows, RowsMore: c.RowsMore, Links: c.Links}
	title := plainMarkdown.line(c.heading(), maxTitle) // what it is read as is nowhere said
	return object{
		"@type": "MessageCard", "@context": "http://schema.org/extensions", "themeColor": fmt.Sprintf("%06X", c.State.colorNumber()),
		"summary": title, "title": title,
		"sections": []any{object{"markdown": false, "text": composeBody(body, htmlMarkup, teamsSize/3), "facts": facts}},
	}
}
