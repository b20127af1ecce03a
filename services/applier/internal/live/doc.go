// Package live follows by watches what becomes of applied objects in the cluster, so that nobody has to ask for it: whether somebody
// changed or removed what was applied, and how healthy it is.
//
// Drift is told from metadata alone. After an apply a hash of our own entry of the object's managed fields and its time are
// remembered. Whoever changes or removes a field of ours, or takes it, changes that entry; status, defaults, autoscalers and
// annotations of others do not. The watch keeps of each object no more than that.
//
// Every replica watches on its own, one watch for each kind that an inventory names. A watch may lag, so what it says is compared by
// version with what the last apply saw: a state older than that says nothing.
//
// The package does not decide what follows: it tells that an owner is to be looked at, and answers what is known.
package live
