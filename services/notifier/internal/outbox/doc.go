// Package outbox plans what is told through a channel of what waits for it: which letters make one message, which wait for others, which have
// become pointless. It decides by what it is given and has no effects.
package outbox
