package pullrequest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestRequestsOfForksAreOthers: who opens a request from a branch of the same name in another repository neither keeps Sluice's own from being
// opened nor has theirs merged.
func TestRequestsOfForksAreOthers(t *testing.T) {
	const list, values = `[%s]`, `{"values":[%s],"isLastPage":true}`
	for kind, c := range map[Kind]struct{ list, one, own, fork string }{
		GitHub: {list, `{"number":1,"state":"open","head":{"ref":"auto","repo":%s},"base":{"ref":"main","repo":{"full_name":"org/repo"}}}`,
			`{"full_name":"org/repo"}`, `{"full_name":"mallory/repo"}`},
		Gitea: {list, `{"number":1,"state":"open","head":{"ref":"auto","repo":%s},"base":{"ref":"main","repo":{"full_name":"org/repo"}}}`,
			`{"full_name":"org/repo"}`, `null`},
		GitLab: {list, `{"iid":1,"state":"opened","source_branch":"auto","target_branch":"main","target_project_id":7,"source_project_id":%s}`, `7`, `8`},
		Bitbucket: {values, `{"id":1,"state":"OPEN","source":{"branch":{"name":"auto"},"repository":{"full_name":%s}},"destination":{"branch":{"name":"main"},"repository":{"full_name":"org/repo"}}}`,
			`"org/repo"`, `"mallory/repo"`},
		BitbucketServer: {values, `{"id":1,"state":"OPEN","fromRef":{"displayId":"auto","repository":{"id":%s}},"toRef":{"displayId":"main","repository":{"id":7}}}`, `7`, `8`},
		Azure: {`{"value":[%s]}`, `{"pullRequestId":1,"status":"active","sourceRefName":"refs/heads/auto","targetRefName":"refs/heads/main","forkSource":%s}`,
			`null`, `{"name":"refs/heads/auto"}`},
	} {
		t.Run(string(kind), func(t *testing.T) {
			for end, want := range map[string]int{c.own: 1, c.fork: 0} {
				host := answering(t, kind, func(w http.ResponseWriter, r *http.Request) {
					if n := r.URL.Query().Get("page"); n != "" && n != "1" {
						_, _ = io.WriteString(w, strings.ReplaceAll(c.list, "%s", ""))
						return
					}
					_, _ = fmt.Fprintf(w, c.list, fmt.Sprintf(c.one, end))
				})
				if found, err := host.ByBranch(t.Context(), "auto"); err != nil || len(found) != want {
					t.Errorf("from %s: %+v, %v", end, found, err)
				}
			}
		})
	}
}
