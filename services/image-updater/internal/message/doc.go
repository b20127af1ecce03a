// Package message makes commit messages, and the titles and bodies of pull requests, from templates that users write.
package message
