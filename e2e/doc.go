// Package e2e is the root of the module e2e.
package e2e
