package policy

import "time"

// Tag is one tag of an image repository and what is known of its image.
type Tag struct {
	Name string
	// FirstSeen is when a listing had the tag for the first time. Zero: not known.
	FirstSeen time.Time
	// Created is when the image was built. Zero: not known.
	Created time.Time
	// Platforms are those that the image has, as os/arch or os/arch/variant.
	// Nil: not known.
	Platforms []string
	// Gone is set when the tag is listed and its manifest cannot be had.
	Gone bool
}

// Reason is why a tag was not chosen, a word from a closed list.
type Reason string

const (
	// Lower is a tag that ranks below the chosen one.
	Lower Reason = "Lower"
	// Invalid is a name that no tag can have.
	Invalid Reason = "Invalid"
	// Filtered is a tag that a filter does not match.
	Filtered Reason = "Filtered"
	// Latest is the tag latest, which says no version, unless it is asked for.
	Latest Reason = "Latest"
	// NotAVersion is a tag that is no semantic version.
	NotAVersion Reason = "NotAVersion"
	// OutOfRange is a version outside the range of the policy.
	OutOfRange Reason = "OutOfRange"
	// NotANumber is a tag that is no number.
	NotANumber Reason = "NotANumber"
	// NoBuildTime is a tag whose build time must be known and is not.
	NoBuildTime Reason = "NoBuildTime"
	// Gone is a tag whose manifest cannot be had.
	Gone Reason = "Gone"
	// TooYoung is a tag that was first seen too short a time ago.
	TooYoung Reason = "TooYoung"
	// AgeUnknown is a tag of which it is not known when it was first seen.
	AgeUnknown Reason = "AgeUnknown"
	// OtherPlatform is a tag that has no image for the platform asked for.
	OtherPlatform Reason = "OtherPlatform"
	// PlatformUnknown is a tag whose platforms are not known yet.
	PlatformUnknown Reason = "PlatformUnknown"
)

// Rejection is one tag that was not chosen.
type Rejection struct {
	Tag    string
	Reason Reason
	// Until is when the reason ends by itself. Zero: it does not.
	Until time.Time
}

// MaxRejections is the most rejected tags that a Result names; it counts all.
const MaxRejections = 100

// Result is the decision over a list of tags.
type Result struct {
	// Chosen is the tag to run. Its name is empty when there is none.
	Chosen Tag
	// Considered is how many tags there were.
	Considered int
	// Counts says how many tags were rejected for each reason.
	Counts map[Reason]int
	// Rejected are the rejected tags, best first: those that rank above the
	// chosen one, those below it, those that have no rank.
	Rejected []Rejection
	// Incomplete is set when the choice needs build times that are not known
	// yet; nothing is chosen then.
	Incomplete bool
	// Missing are tags, best or newest-looking first, of which build time or
	// platforms must be fetched. There are at most MaxRejections.
	Missing []string
	// NextAt is when a tag that ranks above the chosen one comes of age. Zero: none does.
	NextAt time.Time
}
