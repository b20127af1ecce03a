package provider

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// edited changes a message in place, and sends a new one where that message cannot be changed any more: it is gone, or too old.
func edited(edit, post func() (Receipt, error)) (Receipt, error) {
	receipt, err := edit()
	if _, refused := errors.AsType[*Refusal](err); refused {
		return post()
	}
	return receipt, err
}

// numbered is a receipt for a message with a number; 0 where the service did not say it.
func numbered(id int64) Receipt {
	if id == 0 {
		return Receipt{}
	}
	return Receipt{ID: strconv.FormatInt(id, 10)}
}

const maxAuthor = 80 // characters

// author is the name that a chat shows as the sender: the Provider's, or the reporting controller's as in Flux. Names know no markup.
func (s Settings) author(m Message) string {
	name := s.username()
	if name == "" {
		name = m.Event.ReportingController
	}
	name = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" -_./()", r) {
			return r
		}
		return -1
	}, name)
	return verbatim.line(name, maxAuthor)
}
