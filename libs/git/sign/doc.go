// Package sign makes the signatures of commits, with OpenPGP and SSH keys from
// the Secrets that an ImageUpdateAutomation's signingKey names. Package verify
// checks them.
package sign
