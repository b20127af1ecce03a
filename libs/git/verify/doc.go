// Package verify checks the signatures of git commits and annotated tags
// against public keys, OpenPGP and SSH, and that what was signed is what is used.
//
// It works on the objects as git stores them: what is verified are the very
// bytes from which the tree is read, never a copy put together again.
package verify
