// Package bus is the one place that knows what Sluice keeps in NATS JetStream: which streams, buckets and
// consumers there are, how subjects are spelled, and how to connect.
//
// What is where:
//
//   - stream WORK holds one pending trigger per object and stage (work.>) and the armed next runs (sched.>);
//   - stream FACTS holds what services tell one another (fact.>), with payloads and an age limit;
//   - stream HINTS holds what calls from outside say to look at (hint.>), durable before they are answered;
//   - bucket "state" holds the lock and the record of each object and stage;
//   - streams SMALL_artifacts and SMALL_sets hold content-addressed bytes, packed sources and sealed rendered sets, of up to 256 KiB:
//     one message each;
//   - object buckets "artifacts" and "sets" hold those that are larger.
//
// Losing all of it costs one full pass, never correctness: intent and outcome are in the Kubernetes API.
// The package does not know what a job does; that is libs/stage and the services.
package bus
