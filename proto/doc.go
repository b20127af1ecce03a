// Package proto is the root of the module proto: the types that cross process
// boundaries, written as Protocol Buffers below sluice/ and generated into Go
// packages beside it. It holds no behaviour.
package proto
