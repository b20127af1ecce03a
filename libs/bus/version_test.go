package bus

import (
	"errors"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for version, good := range map[string]bool{
		"2.15.2": true, "2.14.5": true, "2.14.5-RC.1": true, "3.0.0": true, "v2.20.0": true,
		"2.14.4": false, "2.9.10": false, "1.99.99": false, "": false, "dev": false,
	} {
		if err := checkVersion(version); (err == nil) != good || (err != nil && !errors.Is(err, ErrServerVersion)) {
			t.Errorf("checkVersion(%q) = %v; good is %v", version, err, good)
		}
	}
}
