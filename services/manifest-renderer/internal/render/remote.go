package render

import (
	"regexp"
	"strings"
)

// fetched are the beginnings, in lower case, of what kustomize's loader takes
// for something to fetch before it looks into the file system.
var fetched = []string{"http:", "https:", "ssh://", "file://", "git::", "github.com/", "github.com:"}

// user is how the address of a repository begins that git reaches by SSH.
var user = regexp.MustCompile(`^[a-z][a-z0-9-]*@.*[/:]`)

// isRemote reports whether kustomize might fetch entry. It errs towards yes.
func isRemote(entry string) bool {
	entry = strings.ToLower(entry)
	for _, prefix := range fetched {
		if strings.HasPrefix(entry, prefix) {
			return true
		}
	}
	return user.MatchString(strings.ReplaceAll(entry, "\n", " "))
}

// isRemoteSource is isRemote for an entry of a generator, which can have a key
// before the path: "key=path".
func isRemoteSource(entry string) bool {
	for rest, more := entry, true; more; _, rest, more = strings.Cut(rest, "=") {
		if isRemote(rest) {
			return true
		}
	}
	return false
}

var (
	credentials = regexp.MustCompile(`//[^/?#]*@`)
	query       = regexp.MustCompile(`\?.*`)
)

// shown is an entry without what in an address can be secret.
func shown(entry string) string {
	entry = credentials.ReplaceAllString(strings.ReplaceAll(entry, "\n", " "), "//***@")
	return query.ReplaceAllString(entry, "?…")
}

// errRemote refuses an address: allowed says that others are not refused.
func errRemote(entry string, allowed bool) *Error {
	if allowed {
		return failed("%.200q is remote: this field may only name files of the source", shown(entry))
	}
	return failed("%.200q is remote: remote bases and files are switched off here (--no-remote-bases), copy them into the source", shown(entry))
}
