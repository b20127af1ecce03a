package provider

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
)

const commit = "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1"

// serveStatuses starts the host.
func serveStatuses(t *testing.T, s *statusService) string {
	t.Helper()
	return httptestOf(t, func(w http.ResponseWriter, c call) {
		answer, code, err := s.check(c)
		w.WriteHeader(code)
		if err != nil {
			answer = err.Error()
		}
		_, _ = w.Write([]byte(answer))
	})
}

func (s *statusService) kit() kit {
	return kit{settings: settings(s.kind, "", s.secret...), path: s.path, inSpec: true, machine: true, check: func(c call) (string, error) {
		answer, code, err := s.check(c)
		if code == 404 { // the kit's service has no such answer; nothing is the same to the sender
			return "{}", nil
		}
		return answer, err
	}}
}

func TestStatuses(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			s.kit().run(t)
		})
	}
}

// Each status once, whatever comes twice.
func TestStatusLife(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			sender, traits := s.kit().sender(t, serveStatuses(t, s))
			if traits != (Traits{CommitStatus: true, Parallel: manyAtOnce}) {
				t.Errorf("%+v", traits)
			}
			for i, step := range []struct {
				state       State
				description string
				written     bool
			}{
				{Progressing, "rendering", true}, {Progressing, "rendering", false}, {Succeeded, "applied", true}, {Succeeded, "applied", false},
				{Succeeded, "healthy", true}, {Failed, "not ready", true}, {Failed, "not ready", false}, {Progressing, "rendering", true},
				{Succeeded, "healthy", true}, {Informed, "healthy", false},
			} {
				before := s.writes
				m := sampleMessage()
				m.Status.State, m.Status.Description = step.state, step.description
				if _, err := sender.Send(t.Context(), m); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if (s.writes > before) != step.written {
					t.Errorf("step %d: %d written", i, s.writes-before)
				}
			}
			last := s.all[len(s.all)-1]
			if last.state != s.states[1] || last.url != "https://sluice.example.com/apps/web" || last.description != "healthy" {
				t.Errorf("%+v", last)
			}
			if name := last.name; name != "kustomization/web/0e6e0d34" && name != sha1Of("kustomization/web/0e6e0d34") {
				t.Errorf("context is %q", name)
			}
		})
	}
}

// Another name is another status.
func TestStatusNames(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			sender, _ := s.kit().sender(t, serveStatuses(t, s))
			for _, name := range []string{"kustomization/web/0e6e0d34", "kustomization/api/0e6e0d34", "kustomization/web/0e6e0d34"} {
				m := sampleMessage()
				m.Status.Context = name
				if _, err := sender.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			if s.writes != 2 {
				t.Errorf("%d written", s.writes)
			}
		})
	}
}

// What the host says when it is told, after it was asked.
func TestStatusFaults(t *testing.T) {
	for _, s := range statusServices() {
		t.Run(s.kind, func(t *testing.T) {
			var status int
			var header [2]string
			var body string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" {
					answer, ok := s.list(call{Request: r}, nil)
					if !ok {
						w.WriteHeader(404)
					}
					_, _ = w.Write([]byte(answer))
					return
				}
				w.Header().Set(header[0], header[1])
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}))
			t.Cleanup(server.Close)
			sender, _ := s.kit().sender(t, server.URL)
			send := func(code int, name, value, text string) error {
				status, header, body = code, [2]string{name, value}, text
				_, err := sender.Send(t.Context(), sampleMessage())
				if strings.Contains(fmt.Sprint(err), secretToken) || strings.Contains(fmt.Sprint(err), secretPassword) {
					t.Errorf("secret in %v", err)
				}
				return err
			}
			reset := fmt.Sprint(time.Now().Add(10 * time.Minute).Unix())
			for name, err := range map[string]error{
				"429":       send(429, "Retry-After", "600", ""),
				"used up":   send(403, "X-RateLimit-Remaining", "0", ""),
				"reset":     send(429, "X-RateLimit-Reset", reset, ""),
				"secondary": send(403, "X-Unused", "1", `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}`),
				"retry":     send(403, "Retry-After", "600", ""),
				"overload":  send(503, "Retry-After", "600", ""),
			} {
				busy, ok := errors.AsType[*Busy](err)
				if !ok || busy.After < 55*time.Second || busy.After > 10*time.Minute {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, code := range []int{400, 401, 403, 404, 422, 203} {
				refusal, ok := errors.AsType[*Refusal](send(code, "X-Unused", "1", s.secret[len(s.secret)-1]))
				if !ok || refusal.Status != code {
					t.Errorf("%d: %v", code, refusal)
				}
			}
			for _, code := range []int{409, 500, 502, 503} {
				s.kit().checkPassing(t, send(code, "X-Unused", "1", "conflict"))
			}
		})
	}
}

// An address that a host would not take is left out or replaced.
func TestStatusLongAddress(t *testing.T) {
	for _, s := range statusServices() {
		sender, _ := s.kit().sender(t, serveStatuses(t, s))
		m := sampleMessage()
		m.Status.TargetURL = "https://sluice.example.com/" + strings.Repeat("x", 1000)
		if _, err := sender.Send(t.Context(), m); err != nil {
			t.Errorf("%s: %v", s.kind, err)
		}
	}
}

func TestStatusNeedsCommit(t *testing.T) {
	s := githubService()
	sender, _ := s.kit().sender(t, serveStatuses(t, s))
	without, short, hostile := sampleMessage(), sampleMessage(), sampleMessage()
	without.Status = nil
	short.Status.Commit = commit[:7]
	hostile.Status.Commit = "../../../../user" + strings.Repeat("/", 24)
	for _, m := range []Message{without, short, hostile} {
		if _, err := sender.Send(t.Context(), m); s.writes > 0 || err == nil {
			t.Errorf("%v", err)
		} else if _, ok := errors.AsType[*Refusal](err); !ok {
			t.Error(err)
		}
	}
}

// Two at once: the second finds the state already there when GitLab refuses it.
func TestGitLabRace(t *testing.T) {
	s := gitlabService()
	list := s.list
	first := true
	s.list = func(c call, all []posted) (string, bool) {
		if first { // before the other came
			first = false
			return "[]", true
		}
		return list(c, all)
	}
	s.all = []posted{{name: "kustomization/web/0e6e0d34", state: "pending", description: "of the other"}}
	sender, _ := s.kit().sender(t, serveStatuses(t, s))
	m := sampleMessage()
	m.Status.State = Progressing
	if _, err := sender.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	s.refuse = func([]posted, posted) string { return "Cannot transition status via :success from :canceled" }
	m.Status.State = Succeeded
	if _, err := sender.Send(t.Context(), m); err == nil {
		t.Error("a refusal is taken for success")
	}
}

func TestStatusSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"no address":            settings(notifyv1.GitHubProvider, "", "token", secretToken),
		"no token":              at(settings(notifyv1.GitHubProvider, ""), "https://github.com/org/repo"),
		"group only":            at(settings(notifyv1.GitLabProvider, "", "token", secretToken), "https://gitlab.com/group"),
		"three parts":           at(settings(notifyv1.GitHubProvider, "", "token", secretToken), "https://github.com/a/b/c"),
		"lines in the token":    at(settings(notifyv1.GiteaProvider, "", "token", "a\nHost: evil"), "https://gitea.com/a/b"),
		"data center by SSH":    at(settings(notifyv1.BitbucketServerProvider, "", "token", secretToken), "ssh://git@bb.example.com/scm/a/b"),
		"data center, no scm":   at(settings(notifyv1.BitbucketServerProvider, "", "token", secretToken), "https://bb.example.com/a/b"),
		"user without password": at(settings(notifyv1.BitbucketServerProvider, "", "username", "me"), "https://bb.example.com/scm/a/b"),
		"azure, no identity":    at(settings(notifyv1.AzureDevOpsProvider, ""), "https://dev.azure.com/org/proj/_git/repo"),
		"bad certificate":       at(settings(notifyv1.GitLabProvider, "", "token", secretToken, "ca.crt", "none"), "https://gitlab.com/a/b"),
		"file":                  at(settings(notifyv1.GitHubProvider, "", "token", secretToken), "file:///etc/passwd"),
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), secretToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func at(s Settings, address string) Settings {
	s.Spec.Address = address
	return s
}

// Services with published limits are spared; servers of one's own are not slowed down.
func TestPace(t *testing.T) {
	for address, test := range map[string]struct {
		kind  string
		every time.Duration
	}{
		"https://github.com/o/r": {notifyv1.GitHubProvider, 400 * time.Millisecond}, "git@github.com:o/r2": {notifyv1.GitHubPullRequestCommentProvider, 7200 * time.Millisecond},
		"https://github.com/o/r3": {notifyv1.GitHubDispatchProvider, 400 * time.Millisecond}, "https://github.example.com/o/r": {notifyv1.GitHubProvider, 0},
		"https://gitlab.com/o/r": {notifyv1.GitLabProvider, 0}, "https://gitlab.com/o/r2": {notifyv1.GitLabMergeRequestCommentProvider, 200 * time.Millisecond},
		"https://bitbucket.org/o/r": {notifyv1.BitbucketProvider, 7200 * time.Millisecond}, "https://gitea.example.com/o/r": {notifyv1.GiteaProvider, 0},
	} {
		_, traits, err := New(at(settings(test.kind, "", "token", "a:b"), address))
		if err != nil || traits.Every != test.every || traits.Every > 0 && traits.Burst < 1 {
			t.Errorf("%s %s: %+v %v", test.kind, address, traits, err)
		}
	}
}
