// Package heap says how much garbage a process of ours lets lie.
package heap

import (
	"os"
	"runtime/debug"
)

// Trim trades some processor time for memory: our processes live on little and make much garbage at once, when a commit touches many
// applications. The environment's GOGC wins.
func Trim() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
