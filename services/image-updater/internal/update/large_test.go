package update

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// TestAThousandPolicies: all of them change at once, in a repository of 2,000 files, and one commit has them all.
func TestAThousandPolicies(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a thousand objects")
	}
	const policies, files = 1000, 2000
	w := newWorld(t, gittest.Options{})
	w.quiet = time.Second
	content := map[string]string{}
	for i := range files {
		text := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c-%d\n", i)
		if i < policies {
			text = strings.ReplaceAll(deployment, "web", fmt.Sprintf("app-%d", i))
		}
		content[fmt.Sprintf("apps/team-%d/app-%d.yaml", i%40, i)] = text
	}
	w.commit("first", content)
	w.start(func(c *Config) { c.MaxWait = time.Minute }) // a machine with much to do tells them over more than ten seconds
	w.source()
	for i := range policies {
		w.policy(fmt.Sprintf("app-%d", i), "*")
	}
	w.automation()
	w.request()
	started := time.Now()
	for i := range policies {
		w.choose(fmt.Sprintf("app-%d", i), "1.1.0")
	}
	chosen := time.Since(started)
	w.until("a commit", func() bool { return w.get().Status.LastPushCommit != "" })
	t.Logf("%d policies were told within %s, their commit was pushed and told after %s", policies, chosen, time.Since(started))
	if got := w.gitOut("diff", "--shortstat", "main~1", "main"); !strings.HasPrefix(got, fmt.Sprintf("%d files changed", policies)) || w.gitOut("rev-list", "--count", "main") != "2" {
		t.Errorf("not one commit with all of them: %s", got)
	}
}
