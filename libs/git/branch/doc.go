// Package branch writes to repositories: it opens the head of a branch, makes
// one commit on top of it from the bytes of changed files, and pushes that.
//
// Branches only ever move forward here. A push names the commit that the branch
// must still be at, its commit descends from that one, and there is no way to ask
// for anything else: who loses a race opens the branch afresh, makes the change
// again and pushes again, see Update. There is no work tree; trees are edited as
// objects, and whatever a change does not touch stays byte for byte what it was.
//
// It knows nothing of Kubernetes, and not what the changes are about.
package branch
