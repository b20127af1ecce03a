// Package apply makes a cluster equal to a set of objects: it applies them server-side, in the order
// they need each other, and prunes what an earlier inventory names and the new one does not.
//
// # One request for one object
//
// There is no dry run and, as a rule, no read before the write. The engine remembers what the last
// answer about an object said and sends that resourceVersion with the next patch, as a
// precondition. If it still holds then nothing happened to the object in between, so all that was
// seen then is true now: that nobody paused it with an annotation, that no other tool owns its
// fields. And an answer with the very same resourceVersion means that nothing had to change,
// because the API server gives a new one on each change and only then. No clock, no second read
// and no comparison of fields is in it.
//
// If the precondition fails, or an object is not remembered, its metadata is read once and the
// patch is sent with what was read. An object that is touched by others all the time is read
// first at once. Only if even that loses the race several times is the patch sent without a
// precondition; then the time and the fields of our own managedFields entry tell whether
// something changed. Answers are metadata only, so Secret values never come back.
//
// The package does not know where the set comes from, does not wait for health, and writes no status.
package apply
