package tree

import "path"

// Touched reports whether a change of the paths can change an answer in s. It says yes also where a listed directory has the path below it
// but the render did not care; that a path was changed, and not added or removed, is not known here.
func (s ReadSet) Touched(paths []string) bool {
	for _, p := range paths {
		if s.touched(p) {
			return true
		}
	}
	return false
}

func (s ReadSet) touched(p string) bool {
	if s.facts == nil {
		return true
	}
	if _, asked := s.facts[p]; asked {
		return true
	}
	for p != "." && p != "/" { // paths of a fact are relative, but a fact is only a message
		above := path.Dir(p)
		if fact := s.facts[above]; fact != "" {
			// A name in a listed directory, or the first in a directory that was missing.
			return fact[0] == wasListed || fact[0] == isAbsent
		}
		p = above
	}
	return false
}
