package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MinServerVersion is the oldest NATS server Sluice works with. Older ones accept settings that they do not know and
// ignore them (schedules), or can stop taking writes on a stream with a limit per subject.
const MinServerVersion = "2.14.5"

// ErrServerVersion says that the server is too old for Sluice.
var ErrServerVersion = errors.New("NATS server is too old: Sluice needs " + MinServerVersion + " or newer")

func checkVersion(have string) error {
	h, err := parseVersion(have)
	if err != nil {
		return fmt.Errorf("%w: version %q: %w", ErrServerVersion, have, err)
	}
	want, _ := parseVersion(MinServerVersion)
	for i := range want {
		if h[i] > want[i] {
			return nil
		}
		if h[i] < want[i] {
			return fmt.Errorf("%w: this one is %s", ErrServerVersion, have)
		}
	}
	return nil
}

func parseVersion(v string) (out [3]int, err error) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
	parts := strings.Split(v, ".")
	if len(parts) < 3 {
		return out, errors.New("want major.minor.patch")
	}
	for i := range out {
		if out[i], err = strconv.Atoi(parts[i]); err != nil {
			return out, err
		}
	}
	return out, nil
}
