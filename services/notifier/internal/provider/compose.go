package provider

import "strings"

// What a part of a message may take, in characters.
const (
	maxTitle  = 200
	maxFields = 20 // of a message
	maxName   = 60
	maxValue  = 300
	maxObject = 200
	maxDetail = 250
)

// page is a message that is being written: what does not fit is left out.
type page struct {
	markup
	left int // what may still be added
	b    strings.Builder
}

// add writes a line of markup, or nothing if it does not fit.
func (p *page) add(line string) bool {
	if line == "" {
		return true
	}
	if p.b.Len() > 0 {
		line = p.newline + line
	}
	if p.size(line) > p.left {
		return false
	}
	p.left -= p.size(line)
	p.b.WriteString(line)
	return true
}

// compose writes a whole Content in at most limit. What it leaves out, rows first, it counts.
func compose(c Content, m markup, limit int) string {
	heading := m.strong(m.line(c.heading(), min(maxTitle, limit/2)))
	body := composeBody(c, m, limit-m.size(heading+m.newline))
	if body == "" {
		return heading
	}
	return heading + m.newline + body
}

// composeBody is compose without the heading.
func composeBody(c Content, m markup, limit int) string {
	p := page{markup: m, left: limit}
	links := p.linkLine(c)
	p.left -= m.size(links) + m.size(m.newline)
	p.body(c)
	p.left += m.size(links) + m.size(m.newline)
	p.add(links)
	return p.b.String()
}

// body is all between heading and links.
func (p *page) body(c Content) {
	if text := lines(c.Text); text != "" && p.left > 100 {
		p.add(p.fit(text, p.left/2))
	}
	for _, f := range c.fields(maxFields) {
		p.add(p.strong(p.fit(f.Name, maxName)+":") + " " + p.fit(f.Value, maxValue))
	}
	p.rows(c)
}

func (p *page) rows(c Content) {
	reserve := p.size(p.newline + p.line(more(1_000_000), 100))
	p.left -= reserve
	shown := 0
	for _, r := range c.Rows {
		if !p.add(p.row(r)) {
			break
		}
		shown++
	}
	p.left += reserve
	if rest := len(c.Rows) - shown + c.RowsMore; rest > 0 {
		p.add(p.line(more(rest), 100))
	}
}

func (p *page) row(r Row) string {
	line := r.State.icon() + " " + p.strong(p.line(r.Object, maxObject))
	if detail := p.line(r.Detail, maxDetail); detail != "" {
		line += " " + p.line("–", 10) + " " + detail
	}
	return line
}

func (p *page) linkLine(c Content) string {
	var all []string
	for _, l := range c.links() {
		all = append(all, p.link(p.line(l.Text, maxName), l.URL))
	}
	return strings.Join(all, " · ")
}
