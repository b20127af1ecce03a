package remote

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
)

// Bounds of one fetch.
const (
	defaultTimeout = 27 * time.Second // kustomize's
	longestTimeout = time.Minute
	maxAddress     = 2048
)

// target is what an address means: a file, a directory of a repository, or, where that has to be found out, maybe either.
type target struct {
	file       *url.URL
	repository *repository
}

// repository is a directory of a git repository.
type repository struct {
	url, ref, path string
	submodules     bool
	timeout        time.Duration
}

// parse reads an address with kustomize's rules.
func parse(a render.Address) (target, error) {
	if len(a.Text) > maxAddress {
		return target{}, fmt.Errorf("the address has more than %d bytes", maxAddress)
	}
	text, forced := cutPrefix(a.Text, "git::")
	r, marked, err := parseRepository(text)
	file := parseFile(text)
	switch {
	case a.Form == render.OnlyFile && file == nil:
		return target{}, errors.New("a file must be named by http or https")
	case a.Form == render.OnlyFile:
		return target{file: file}, checkUser(file)
	case err == nil && (marked || forced || file == nil || a.Form == render.OnlyDirectory):
		return target{repository: r}, nil
	case err == nil:
		return target{file, r}, checkUser(file)
	case file != nil && !forced && a.Form != render.OnlyDirectory && !errors.Is(err, errRefused):
		return target{file: file}, checkUser(file)
	}
	return target{}, err
}

// cutPrefix ignores case.
func cutPrefix(s, prefix string) (rest string, found bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

func parseFile(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil
	}
	u.Fragment = ""
	return u
}

func checkUser(u *url.URL) error {
	if u.User != nil {
		return errCredentials
	}
	return nil
}

// errRefused are addresses that are understood, and not served.
var errRefused = errors.New("refused")

var (
	errCredentials = fmt.Errorf("%w: an address must not hold credentials: make the other repository a source of its own", errRefused)
	errSSH         = fmt.Errorf("%w: SSH needs a key, and remote bases have none: name the repository by https, or make it a source of its own", errRefused)
	errMalformed   = errors.New("the address cannot be understood")
)

var (
	userHost = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@[^/:]+[/:]`)
	hostPath = regexp.MustCompile(`^([^/@]*@)?([^/@?]+)/(.+)$`)
)

// parseRepository splits the address of a directory into repository and path. marked says that it has a sign of where the repository
// ends, and so cannot be the address of a file.
func parseRepository(text string) (r *repository, marked bool, err error) {
	body, query, _ := strings.Cut(text, "?")
	scheme, rest := "", body
	for _, s := range []string{"https://", "http://"} {
		if below, ok := cutPrefix(body, s); ok {
			scheme, rest = s, below
		}
	}
	if _, ssh := cutPrefix(body, "ssh://"); ssh || scheme == "" && userHost.MatchString(body) {
		return nil, false, errSSH
	}
	if below, short := cutPrefix(rest, "github.com:"); short && scheme == "" {
		rest = "github.com/" + below
	}
	if _, github := cutPrefix(rest, "github.com/"); github {
		scheme = "https://"
	}
	parts := hostPath.FindStringSubmatch(rest)
	if scheme == "" || parts == nil {
		return nil, false, errMalformed
	}
	if strings.Contains(parts[1], ":") {
		return nil, false, errCredentials // a user alone is only a name
	}
	repo, dir, marked, err := splitPath(parts[3])
	if err != nil {
		return nil, false, err
	}
	r = &repository{url: scheme + parts[2] + "/" + repo, path: dir}
	r.options(query)
	return r, marked, nil
}

// splitPath finds where the path of the repository ends: at a double slash, behind .git, behind the name after _git/, or after two names.
func splitPath(p string) (repo, dir string, marked bool, err error) {
	names := strings.Split(p, "/")
	at := 0 // names that belong to the repository
	for i, name := range names {
		switch {
		case at > 0:
		case name == "_git" && i+1 < len(names):
			at = i + 2
		case name == "" && i > 0 && i+1 < len(names), strings.HasSuffix(name, ".git") && name != ".git":
			at = i + 1
		}
	}
	marked = at > 0
	if !marked {
		at = 2
	}
	if len(names) < at {
		return "", "", false, errMalformed
	}
	repo = strings.Trim(strings.Join(names[:at], "/"), "/")
	dir = path.Clean(strings.TrimLeft(strings.Join(names[at:], "/"), "/"))
	if dir == ".." || strings.HasPrefix(dir, "../") {
		return "", "", false, fmt.Errorf("%w: the path leads out of the repository", errRefused)
	}
	if repo == "" {
		return "", "", false, errMalformed
	}
	return repo, dir, marked, nil
}

// options reads what kustomize lets an address say after the question mark.
func (r *repository) options(query string) {
	r.submodules, r.timeout = true, defaultTimeout
	values, err := url.ParseQuery(query)
	if err != nil {
		return
	}
	r.ref = values.Get("version")
	if ref := values.Get("ref"); ref != "" {
		r.ref = ref
	}
	if wanted, err := strconv.ParseBool(values.Get("submodules")); err == nil {
		r.submodules = wanted
	}
	text := values.Get("timeout")
	d, err := time.ParseDuration(text)
	if seconds, notNumber := strconv.Atoi(text); notNumber == nil {
		d, err = time.Duration(min(seconds, 3600))*time.Second, nil
	}
	if err == nil && d > 0 {
		r.timeout = min(d, longestTimeout)
	}
}
