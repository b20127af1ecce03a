// Package heap says how much garbage a process of ours lets lie.
package heap

import (
	"os"
	"runtime/debug"
)

// Service is the percentage for a service: it lives on little and makes much garbage at once, when a commit touches many applications.
const Service = 50

// Trim trades some processor time for memory: it has the garbage collector run when garbage is this percentage of what is in use, where
// Go's own is 100. The environment's GOGC wins.
func Trim(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
