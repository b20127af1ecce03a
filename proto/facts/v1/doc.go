// Package factsv1 holds what the stages of Sluice tell each other and the
// outside. It is generated from proto/sluice/facts/v1/facts.proto, where every
// message is explained.
package factsv1
