// Package message makes commit messages, and the titles and bodies of pull requests, from templates that users write. Templates are hostile: they
// reach no file, network, environment or clock, and are bounded in time and size.
package message
