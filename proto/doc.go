// Package proto is the root of the module proto.
package proto
