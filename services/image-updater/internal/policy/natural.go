package policy

import (
	"cmp"
	"strings"
)

// natural compares names the way a reader would, runs of digits as numbers:
// build-9 comes before build-10. It is how tags look before anything else is
// known of them.
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da == 0 || db == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		if c := compareDigits(a[:da], b[:db]); c != 0 {
			return c
		}
		a, b = a[da:], b[db:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is how many digits the text begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
