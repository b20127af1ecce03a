// Package policy decides which tag of an image a policy chooses, and why it
// does not choose each other one. It is pure: tags and what is known of them go
// in, a decision comes out. Where the tags come from, and what is done with the
// choice, is not its matter.
package policy
