package registry

import (
	"net/http"
	"regexp"
	"strings"
)

// challenge is how a registry wants to be asked.
type challenge struct {
	bearer         bool // by a token; otherwise by a password
	realm, service string
	// actions are what the token has to allow on the repository beside pull, in this registry's words.
	actions string
}

// parseChallenge picks from the headers of a 401 the first way that we know; false for none.
func parseChallenge(h http.Header, repository string) (challenge, bool) {
	for _, value := range h.Values("WWW-Authenticate") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
		switch strings.ToLower(scheme) {
		case "basic":
			return challenge{}, true
		case "bearer":
			p := parameters(rest)
			if p["realm"] == "" {
				continue
			}
			return challenge{bearer: true, realm: p["realm"], service: p["service"], actions: extraActions(p["scope"], repository)}, true
		}
	}
	return challenge{}, false
}

var parameterPattern = regexp.MustCompile(`([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))`)

func parameters(text string) map[string]string {
	found := map[string]string{}
	for _, m := range parameterPattern.FindAllStringSubmatch(text, 32) {
		value := m[3]
		if value == "" {
			value = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[2])
		}
		found[strings.ToLower(m[1])] = value
	}
	return found
}

var actionsPattern = regexp.MustCompile(`^[a-z_*]+(,[a-z_*]+)*$`)

// extraActions reads from a scope what is asked for beside pull.
func extraActions(scope, repository string) string {
	for part := range strings.FieldsSeq(scope) {
		actions, ok := strings.CutPrefix(part, "repository:"+repository+":")
		if ok && actions != "pull" && actionsPattern.MatchString(actions) {
			return actions
		}
	}
	return ""
}
