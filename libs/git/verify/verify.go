package verify

import (
	"errors"
	"strings"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
)

const tagPrefix = "refs/tags/"

// Subject is a revision as it was found in git.
type Subject struct {
	// Hash is that of the commit, Commit its object as stored.
	Hash   string
	Commit []byte
	// Reference is the full name of the ref that was followed; Tag the annotated
	// tag object that it pointed at, if it did.
	Reference string
	Tag       []byte
}

// Revision checks what the mode asks for and returns a message that names what
// was verified by which key. The error is an *Error.
func Revision(keys Keys, spec *sourcev1.GitRepositoryVerification, s Subject) (string, error) {
	message := "verified signature of"
	if spec.VerifyTag() {
		key, err := keys.tag(s)
		if err != nil {
			return "", err
		}
		message += "\n\t- tag '" + s.tagName() + "' with key '" + key + "'"
	}
	if spec.VerifyHEAD() {
		key, err := keys.commit(s)
		if err != nil {
			return "", err
		}
		message += "\n\t- commit '" + s.Hash + "' with key '" + key + "'"
	}
	return message, nil
}

func (s Subject) tagName() string { return strings.TrimPrefix(s.Reference, tagPrefix) }

func (k Keys) tag(s Subject) (string, error) {
	if !strings.HasPrefix(s.Reference, tagPrefix) {
		err := NewError(ReasonMode, errors.New("cannot verify the signature of a tag: spec.ref follows none"))
		err.Stalled = true
		return "", err
	}
	payload, signature := splitTag(s.Tag)
	if len(signature) == 0 {
		return "", failed(ReasonObject, "cannot verify signature of tag '%s' since it is not signed", s.tagName())
	}
	err := checkTag(payload, s.Hash, s.tagName())
	if err == nil {
		var key string
		if key, err = k.check(payload, signature); err == nil {
			return key, nil
		}
	}
	return "", failed(ReasonTag, "signature verification of tag '%s' failed: %w", s.tagName(), err)
}

func (k Keys) commit(s Subject) (string, error) {
	payload, signature, err := splitCommit(s.Commit)
	if err == nil {
		var key string
		if key, err = k.check(payload, signature); err == nil {
			return key, nil
		}
	}
	return "", failed(ReasonCommit, "signature verification of commit '%s' failed: %w", s.Hash, err)
}

// isUnknown tells a key that is not in the ring from a signature that does not hold.
func isUnknown(err error) bool { return errors.Is(err, pgperrors.ErrUnknownIssuer) }
