// Package applier is the root of the module services/applier.
package applier
