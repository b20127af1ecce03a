package update

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/services/image-updater/internal/message"
	"github.com/sluice-cd/sluice/services/image-updater/internal/pullrequest"
)

// Annotations on an automation by which its commits go through pull requests.
const (
	// requestAnnotation names the kind of git host; without it there are no requests.
	requestAnnotation = "sluice.dev/pull-request"
	// baseAnnotation is the branch to merge into; by default the one that is checked out.
	baseAnnotation  = "sluice.dev/pull-request-base"
	titleAnnotation = "sluice.dev/pull-request-title" // a template, as the message's
	bodyAnnotation  = "sluice.dev/pull-request-body"  // a template, too
	// labelsAnnotation and reviewersAnnotation are lists with commas.
	labelsAnnotation    = "sluice.dev/pull-request-labels"
	reviewersAnnotation = "sluice.dev/pull-request-reviewers"
	mergeAnnotation     = "sluice.dev/pull-request-auto-merge" // "true"
	// groupAnnotation is all, policy, path, or regex: and an expression for names of policies, whose first group, or all of which, names the request.
	groupAnnotation = "sluice.dev/pull-request-group"
	// secretAnnotation names a Secret of the automation's namespace with token, and username where the host needs one; by default the
	// credentials for the repository are used.
	secretAnnotation = "sluice.dev/pull-request-secret"
	// apiAnnotation is the address of the host's API where it is not the usual one.
	apiAnnotation = "sluice.dev/pull-request-api"
)

const (
	defaultTitle = `Update {{ $n := len .Changed.Changes }}{{ $n }} image{{ if ne $n 1 }}s{{ end }}`
	defaultBody  = `{{ range $file, $objects := .Changed.FileChanges }}{{ range $object, $changes := $objects }}{{ range $changes -}}
- {{ $file }}{{ if $object.Kind }} ({{ $object.Kind }} {{ $object.Name }}){{ end }}: {{ .OldValue }} → {{ .NewValue }}
{{ end }}{{ end }}{{ end }}`
)

// requests is what an automation asks for.
type requests struct {
	client            *pullrequest.Client
	base              string
	title, body       *message.Template
	labels, reviewers []string
	autoMerge         bool
	group             func(policy, file string) string
}

// requestsOf reads the annotations; it is nil where there are to be no requests.
func (u *updater) requestsOf(ctx context.Context, auto *automationv1.ImageUpdateAutomation, t *target) (*requests, error) {
	notes := auto.Annotations
	kind := notes[requestAnnotation]
	if kind == "" || kind == "false" {
		return nil, nil
	}
	r := &requests{
		base: cmp.Or(notes[baseAnnotation], t.source.Ref.Branch), labels: list(notes[labelsAnnotation]), reviewers: list(notes[reviewersAnnotation]),
		autoMerge: notes[mergeAnnotation] == "true",
	}
	var err error
	if r.title, err = message.Parse(cmp.Or(notes[titleAnnotation], defaultTitle)); err != nil {
		return nil, invalidSource("annotation %s: %w", titleAnnotation, err)
	}
	if r.body, err = message.Parse(cmp.Or(notes[bodyAnnotation], defaultBody)); err != nil {
		return nil, invalidSource("annotation %s: %w", bodyAnnotation, err)
	}
	if r.group, err = grouping(notes[groupAnnotation]); err != nil {
		return nil, invalidSource("annotation %s: %w", groupAnnotation, err)
	}
	if t.push == t.source.Ref.Branch || t.push == r.base {
		t.push = "sluice/" + auto.Namespace + "-" + auto.Name
	}
	if r.base != "" && r.base != t.source.Ref.Branch { // what is to be merged into a branch stands on it
		t.source.Ref = git.Ref{Branch: r.base}
	}
	r.client, err = u.hostOf(ctx, auto, t, pullrequest.Kind(kind))
	return r, err
}

// hostOf is the client of the git host.
func (u *updater) hostOf(ctx context.Context, auto *automationv1.ImageUpdateAutomation, t *target, kind pullrequest.Kind) (*pullrequest.Client, error) {
	auth := t.source.Auth
	c := pullrequest.Config{
		Kind: kind, Repository: t.source.URL, API: auto.Annotations[apiAnnotation], Username: auth.Username, Token: cmp.Or(auth.BearerToken, auth.Password),
		Insecure: strings.HasPrefix(t.source.URL, "http://"),
	}
	if len(auth.Identity) > 0 { // the password is that of the key
		c.Username, c.Token = "", ""
	}
	if name := auto.Annotations[secretAnnotation]; name != "" {
		key := types.NamespacedName{Namespace: auto.Namespace, Name: name}
		data, err := u.cluster.Secret(ctx, key)
		if apierrors.IsNotFound(err) {
			return nil, &specError{automationv1.SourceManagerFailedReason, false, fmt.Errorf("annotation %s: %w", secretAnnotation, err)}
		}
		if err != nil {
			return nil, err
		}
		c.Username, c.Token = strings.TrimSpace(string(data["username"])), strings.TrimSpace(string(cmp.Or(string(data["token"]), string(data["password"]))))
	} else if !sameHost(c.API, c.Repository) {
		// Whoever may write an automation may not read the Secret of the repository, so it goes to no host of their choice.
		return nil, invalidSource("annotation %s names another host than the repository's, for which annotation %s must name a Secret", apiAnnotation, secretAnnotation)
	}
	transport, err := transportFor(auth)
	if err != nil {
		return nil, invalidSource("%w", err)
	}
	c.Transport = transport
	client, err := pullrequest.New(c)
	if err != nil {
		return nil, invalidSource("pull requests: %w", err)
	}
	return client, nil
}

func sameHost(api, repository string) bool {
	if api == "" {
		return true
	}
	a, err1 := url.Parse(api)
	r, err2 := url.Parse(repository)
	return err1 == nil && err2 == nil && a.Host != "" && a.Host == r.Host && a.Scheme == r.Scheme
}

// transportFor carries the certificates and the proxy of the repository.
func transportFor(auth git.Auth) (http.RoundTripper, error) {
	own, ok := http.DefaultTransport.(*http.Transport)
	if len(auth.CA) == 0 && auth.Proxy == "" || !ok {
		return nil, nil
	}
	own = own.Clone()
	if len(auth.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(auth.CA) {
			return nil, errors.New("the certificate authority of the repository cannot be read")
		}
		own.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if auth.Proxy != "" {
		proxy, err := url.Parse(auth.Proxy)
		if err != nil {
			return nil, errors.New("the address of the proxy cannot be read")
		}
		own.Proxy = http.ProxyURL(proxy)
	}
	return own, nil
}

func list(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// grouping says which request a change belongs to; the empty name is that of the only one.
func grouping(text string) (func(policy, file string) string, error) {
	switch text {
	case "", "all":
		return func(string, string) string { return "" }, nil
	case "policy":
		return func(policy, _ string) string { return policy }, nil
	case "path":
		return func(_, file string) string { return path.Dir(file) }, nil
	}
	expression, ok := strings.CutPrefix(text, "regex:")
	if !ok {
		return nil, fmt.Errorf("%.50q is neither all, policy, path nor regex:<expression>", text)
	}
	compiled, err := regexp.Compile(expression)
	if err != nil {
		return nil, err
	}
	return func(policy, _ string) string {
		found := compiled.FindStringSubmatch(policy)
		switch {
		case len(found) > 1 && found[1] != "":
			return found[1]
		case len(found) > 0:
			return found[0]
		}
		return "others"
	}, nil
}

var notInBranch = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// branchOf is the branch of a group. Names that are made fit for one get a part that keeps them apart.
func branchOf(push, group string) string {
	if group == "" {
		return push
	}
	fit := strings.Trim(notInBranch.ReplaceAllString(group, "-"), "-")
	if fit != group || len(fit) > 60 {
		sum := sha256.Sum256([]byte(group))
		fit = fit[:min(len(fit), 60)] + "-" + hex.EncodeToString(sum[:4])
	}
	return push + "-" + fit
}
