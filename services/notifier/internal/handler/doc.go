// Package handler has the two stages of notifier: news turns facts into letters in the outbox, notify tells them.
package handler
