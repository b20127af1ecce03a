package bus

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// Names of streams and buckets.
const (
	StreamWork      = "WORK"
	StreamFacts     = "FACTS"
	StreamHints     = "HINTS"
	BucketState     = "state"
	BucketArtifacts = "artifacts"
	BucketSets      = "sets"
)

// WorkSubject is where triggers of one object and stage are published: work.<stage>.<namespace>.<name>.
func WorkSubject(stage string, key types.NamespacedName) string {
	return objectSubject("work", stage, key)
}

// ScheduleSubject holds the armed next run of one object and stage: sched.<stage>.<namespace>.<name>.
func ScheduleSubject(stage string, key types.NamespacedName) string {
	return objectSubject("sched", stage, key)
}

// WorkFilter matches every trigger of a stage.
func WorkFilter(stage string) string { return "work." + stage + ".>" }

// FactSubject is where a fact of a kind about an object is published: fact.<kind>.<namespace>.<name>.
func FactSubject(kind string, key types.NamespacedName) string {
	return objectSubject("fact", kind, key)
}

// FactFilter matches every fact of a kind.
func FactFilter(kind string) string { return "fact." + kind + ".>" }

// LockKey is the key in the state bucket that says who works on an object in a stage.
func LockKey(stage string, key types.NamespacedName) string { return objectSubject("lock", stage, key) }

// RecordKey is the key in the state bucket of what a stage remembers about an object.
func RecordKey(stage string, key types.NamespacedName) string {
	return objectSubject("record", stage, key)
}

// StateSubject is the subject behind a key of the state bucket.
func StateSubject(key string) string { return "$KV." + BucketState + "." + key }

func objectSubject(first, second string, key types.NamespacedName) string {
	return first + "." + second + "." + escape(key.Namespace) + "." + escape(key.Name)
}

// ParseObjectSubject reads namespace and name back from a subject or key made by this package.
func ParseObjectSubject(subject string) (types.NamespacedName, error) {
	parts := strings.Split(subject, ".")
	if len(parts) != 4 {
		return types.NamespacedName{}, fmt.Errorf("subject %q: want 4 tokens, have %d", subject, len(parts))
	}
	ns, err := unescape(parts[2])
	if err != nil {
		return types.NamespacedName{}, fmt.Errorf("subject %q: namespace: %w", subject, err)
	}
	name, err := unescape(parts[3])
	if err != nil {
		return types.NamespacedName{}, fmt.Errorf("subject %q: name: %w", subject, err)
	}
	return types.NamespacedName{Namespace: ns, Name: name}, nil
}

const hexDigits = "0123456789ABCDEF"

// escape makes one subject token, also legal in a bucket key, of any string: letters, digits, '-' and '_' stay, every
// other byte is written =XX. The empty string (a cluster-scoped object has no namespace) is a lone '='.
func escape(s string) string {
	if s == "" {
		return "="
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isPlain(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('=')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func unescape(s string) (string, error) {
	if s == "=" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("token %q: cut short", s)
		}
		hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("token %q: bad escape", s)
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}
