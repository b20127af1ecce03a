// Package content says for people what changed: a title, a table, who wrote the commit, where to read more. All of it is plain text; who
// sends it escapes it.
package content
