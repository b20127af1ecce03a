// Package archive reads and writes the artifact of a source: a tar.gz of its
// regular files, as consumers of Flux artifacts expect it. Symbolic links,
// submodules and empty directories have no place in it. The same files always
// give the same bytes, so that the digest names the content. It knows nothing
// of git, and never touches a disk.
package archive
