// Package registry asks container registries what they hold: tags, digests, and what manifests say. It reads alone.
//
// It speaks the HTTP API of the OCI distribution specification itself, rather than through go-containerregistry's client, of which it
// takes the names, the credentials and the manifest types: one request per page with no ping before, bounded bodies, a budget before
// each request, listings that can be gone on with, and rules on where credentials may go.
//
//   - A credential goes to the registry that it is for, and to the token service that the registry names if that is on the same host
//     or registrable domain, or among Options.TokenHosts. A redirect never gets one.
//   - Nothing is asked of link-local addresses, where clouds keep secrets, and nobody but the object itself can direct a request to this
//     machine's loopback.
//   - Plain HTTP is spoken where Access.Insecure allows it, and to loopback.
package registry
