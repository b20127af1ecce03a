package render

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// minSecret is the length from which a value is looked for in messages; taking
// out shorter ones would leave no sense in them.
const minSecret = 3

// quoting are the places at which kustomize's messages quote the source.
var quoting = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile("(?s)with config: `.*`"), "with its config"},
	{regexp.MustCompile(`(?s)\[patch: ".*"\]`), "an inline patch"},
	{regexp.MustCompile(`(?s)\bin object .*`), "in an object"},
	{regexp.MustCompile("(?s)`.*`"), "…"},
	{regexp.MustCompile(`&?\{?0x[0-9a-f]{6,}( <nil>)?\}?`), "…"}, // an address, another each time
	{regexp.MustCompile(`\[\d+( \d+)+\]`), "…"},                  // text as a list of bytes
	{regexp.MustCompile(`(?s)\n.*`), ""},
}

// redact makes a message of kustomize fit to be shown: without what it quotes
// from the source, without anything that a Secret of this build holds, and with
// paths relative to the source.
func (b *build) redact(message string) string {
	for _, q := range quoting {
		message = q.pattern.ReplaceAllString(message, q.with)
	}
	message = strings.NewReplacer(tree.Root+"/", "", tree.Root, ".").Replace(message)
	return withoutSecrets(message, b.secrets())
}

func withoutSecrets(message string, secrets []string) string {
	// Longer ones first, as one may hold another.
	slices.SortFunc(secrets, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	for _, s := range slices.Compact(secrets) {
		message = strings.ReplaceAll(message, s, "***")
	}
	return message
}
