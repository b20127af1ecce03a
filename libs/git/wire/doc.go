// Package wire speaks the fetching half of git's protocol, version 2 and, with
// servers that know no better, version 0, over HTTP and SSH. It lists refs and
// asks for packs; what a pack holds is not its business.
//
// It is written out here, and not taken from a git library, for four reasons:
// protocol 2 lets the server filter refs (a poll of a repository with a hundred
// thousand refs answers in bytes instead of megabytes) and hand out any commit
// by its hash; listing and fetching share one connection and one advertisement;
// redirects, credentials and the size of every answer are under one rule; and
// each fetch says exactly which shallow commits it stands on (see FetchRequest).
package wire
