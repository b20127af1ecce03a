// Package gittest runs real git servers on loopback: smart HTTP(S) by
// `git http-backend`, and SSH by a small server that starts git-upload-pack and
// git-receive-pack. Tests, the demo and the end-to-end scripts use it; it does
// not depend on package testing. It needs the git program and is no server for
// production.
package gittest
