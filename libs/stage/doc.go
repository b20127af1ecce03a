// Package stage is a durable queue of object keys and one function that brings an object forward.
//
// Work is level-triggered. A trigger names an object and, as hints, why it was woken; it never says what to do. The function
// reads the present state and acts on that, so a trigger may come twice, late, or stand for ten others.
//
// What the stage guarantees on top of JetStream:
//
//   - compaction: at most one pending trigger per object; one that arrives during a run causes one more run after it;
//   - one pair of hands: a run holds a lock with a time to live, renewed while it lasts; when the lock cannot be renewed the
//     run's context ends, and the server refuses what it still tries to record (the fence);
//   - nothing lost: a trigger is acknowledged only after the next run is armed on the server and what the run kept is recorded;
//   - pace: an object that is triggered all the time runs a few times at once and then at a steady rate;
//   - parts: a run that cannot do all at once asks for More, and others that wait have their turn in between;
//   - errors say by their kind what follows: Retry (any error), After, Stall.
//
// One run, in order: lock, load record, run, arm the next run, write the record under the fence, look for a newer trigger (and then
// run again under the same lock), release, acknowledge.
//
// The stage does not know Kubernetes objects, and it does not exclude what is outside its lock: before each outside effect the
// function calls Run.Guard.
package stage
