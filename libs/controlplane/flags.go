package controlplane

import "strings"

// withFlags returns ours and more, without those of ours that more sets too: a
// flag with a list would otherwise get both.
func withFlags(ours, more []string) []string {
	replaced := make(map[string]bool, len(more))
	for _, flag := range more {
		replaced[flagName(flag)] = true
	}
	var flags []string
	for _, flag := range ours {
		if !replaced[flagName(flag)] {
			flags = append(flags, flag)
		}
	}
	return append(flags, more...)
}

func flagName(flag string) string {
	name, _, _ := strings.Cut(flag, "=")
	return name
}
