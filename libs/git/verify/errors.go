package verify

import "fmt"

// The reasons that the condition SourceVerified gives, as in Flux.
const (
	// ReasonKeys: the Secret with the keys cannot be read.
	ReasonKeys = "VerificationError"
	// ReasonMode: the mode asks for a tag where no tag is followed.
	ReasonMode = "InvalidVerificationMode"
	// ReasonObject: the tag is not signed or not even an object.
	ReasonObject = "InvalidGitObject"
	// ReasonTag and ReasonCommit: the signature is missing, of another kind, or not by a trusted key.
	ReasonTag    = "InvalidTagSignature"
	ReasonCommit = "InvalidCommitSignature"
)

// Error says why a revision is not verified.
type Error struct {
	// Reason is one of the above.
	Reason string
	// Stalled is true where nothing changes before the spec does.
	Stalled bool
	err     error
}

// NewError wraps err as a failure to verify.
func NewError(reason string, err error) *Error { return &Error{Reason: reason, err: err} }

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

func failed(reason, format string, args ...any) error {
	return NewError(reason, fmt.Errorf(format, args...))
}
