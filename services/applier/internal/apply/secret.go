package apply

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the API server itself writes when it refuses an object without looking into it. Only these
// parts of a message about a Secret are shown.
var shownOfSecrets = []*regexp.Regexp{
	regexp.MustCompile(`User "[^"]*" cannot [a-z]+ resource "secrets" in API group ""(?: in the namespace "[^"]*")?`),
	regexp.MustCompile(`^admission webhook "[^"]*" denied the request`),
	regexp.MustCompile(`failed calling webhook "[^"]*"`),
	regexp.MustCompile(`exceeded quota: [-.a-z0-9]+`),
	regexp.MustCompile(`^failed to create typed patch object`),
	regexp.MustCompile(`expected (?:string|map|list|boolean|numeric)|field not declared in schema`),
	regexp.MustCompile(`illegal base64 data at input byte [0-9]+`),
}

// maskedMessage tells what is wrong with a Secret without any value: API servers and webhooks quote
// values, whole or cut, encoded or not, so nothing of the message is shown that is not known to be
// harmless. What stays are the status, the names of the fields, and the texts above.
func maskedMessage(s metav1.Status) string {
	parts := []string{cmp.Or(string(s.Reason), http.StatusText(int(s.Code)), "refused")}
	for _, shown := range shownOfSecrets {
		if part := shown.FindString(s.Message); part != "" {
			parts = append(parts, part)
		}
	}
	if d := s.Details; d != nil {
		if s.Code == http.StatusNotFound && d.Kind != "" {
			parts = append(parts, fmt.Sprintf("%s %q not found", d.Kind, d.Name))
		}
		for _, cause := range d.Causes {
			if fieldPath.MatchString(cause.Field) {
				parts = append(parts, fmt.Sprintf("%s: %s", cause.Field, cause.Type))
			}
		}
	}
	return strings.Join(parts, ": ") + " (details are not shown for a Secret)"
}

// fieldPath matches the path of a field, with keys of the kind that data can have.
var fieldPath = regexp.MustCompile(`^[a-zA-Z]+(?:\.[-a-zA-Z0-9]+|\[[-._a-zA-Z0-9]+\])*$`)
