package provider

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/libs/plain"
)

const (
	shortestSecret = 4   // characters: hiding less would hide everything
	shortestToken  = 16  // of a part of an address that is no word
	longestReason  = 300 // characters of what is told
)

// hidden takes secrets out of what services and the network say.
type hidden struct {
	words *strings.Replacer
	all   []string
}

// hide knows the Secret's values in the forms in which they come back, and addresses beyond their host; the host too where the Secret
// names it.
func hide(s Settings, more []string) hidden {
	words := slices.Clone(more)
	for key, value := range s.Secret {
		if key == "address" || key == "username" || key == "ca.crt" || key == "tls.crt" {
			continue
		}
		words = append(words, linesOf(string(value))...)
	}
	if password := s.secret("password"); password != "" {
		words = append(words, base64.StdEncoding.EncodeToString([]byte(s.username()+":"+password)))
	}
	words = append(words, partsOf(s.Spec.Address, shortestToken, false)...)
	words = append(words, partsOf(s.secret("address"), shortestSecret+2, true)...)
	if s.Proxy != nil {
		words = append(words, partsOf(s.Proxy.String(), shortestToken, false)...)
	}
	return newHidden(words)
}

func newHidden(words []string) hidden {
	var all []string
	for _, w := range words {
		for _, form := range []string{w, url.PathEscape(w), url.QueryEscape(w)} {
			if len(form) >= shortestSecret && !slices.Contains(all, form) {
				all = append(all, form)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, w := range all {
		pairs = append(pairs, w, "***")
	}
	return hidden{words: strings.NewReplacer(pairs...), all: all}
}

// linesOf is a value, its lines, and what follows the colon in them, as in headers.
func linesOf(value string) []string {
	found := []string{strings.TrimSpace(value)}
	for line := range strings.Lines(value) {
		found = append(found, strings.TrimSpace(line))
		if _, after, ok := strings.Cut(line, ":"); ok {
			found = append(found, strings.Trim(after, " \t\r\n\"'"))
		}
	}
	return found
}

// partsOf are the parts of an address that may be secret: all of it, and each of its parts of at least so many characters.
func partsOf(address string, shortest int, host bool) []string {
	address = strings.TrimSpace(address)
	u, err := url.Parse(address)
	if address == "" || err != nil {
		return []string{address}
	}
	parts := strings.Split(u.Path, "/")
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return len(p) < shortest })
	if u.User != nil {
		password, _ := u.User.Password()
		parts = append(parts, u.User.String(), u.User.Username(), password, strings.TrimPrefix(basic(u.User.Username(), password), "Basic "))
	}
	if host {
		parts = append(parts, u.Host, u.Hostname())
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		parts = append(parts, address)
	}
	if len(u.RequestURI()) >= shortest {
		parts = append(parts, u.RequestURI(), u.RawQuery)
	}
	return parts
}

// clean is one short line without secrets.
func (h hidden) clean(s string) string { return plain.Line(h.words.Replace(s), longestReason) }

// host is how errors call the place of a request.
func (h hidden) host(u *url.URL) string {
	if slices.Contains(h.all, u.Host) || slices.Contains(h.all, u.Hostname()) {
		return "the service at the Secret's address"
	}
	return h.clean(u.Host)
}
