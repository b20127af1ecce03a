// Package imagecache keeps in Redis what registries said of images, and the budgets by which all replicas together ask them.
//
// All of it can be fetched again: losing Redis costs time, never correctness. Nothing in it is trusted further than that it was
// written with our key: each value is authenticated together with the name of its key, and what fails the check counts as absent
// and is reported. Whether a value is also the latest, Redis cannot prove: registry-scanner's record on the bus names the digest
// of the listing (state.Scanned), and readers compare.
//
// Keys, all below "sluice:1:". An id is a keyed digest, so that names of images and credentials show to nobody who lists keys:
//
//	tags:{id}    listing of an image under a credential; value; kept for a week after the last scan
//	part:{id}    listing that is not read to its end yet, with where to go on; value; an hour
//	lock:{id}    who scans the image under the credential; random token; ten seconds, renewed
//	push:{id}    when somebody last said that the image was pushed; value; as long as a listing
//	digests:{id} hash of the image under the credential: keyed digest of a tag → value with its manifest digest; 30 days after the last write
//	meta:{id}    what the manifest of a digest says; value; for ever
//	begun:{id}   the same, not read to its end yet, with where to go on; value; a day
//	rate:{id}    budget of a registry host: hash of numbers, not authenticated; until it is full again
//
// A value is one byte of version (1), 32 bytes of HMAC-SHA256 over version, key (and field) and payload, and the payload: JSON,
// compressed with DEFLATE.
package imagecache
