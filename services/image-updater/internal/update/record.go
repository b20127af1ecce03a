package update

import (
	"encoding/json"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/stage"
)

// record is what the stage remembers of an automation. Losing it costs nothing that the object, or the history of the branch, does not say.
type record struct {
	UID types.UID `json:"uid"`
	// Written is, by policy, what was last taken for the branch; noted before the push.
	Written map[string]written `json:"written,omitempty"`
	// Holds are, by policy, the versions that somebody has set back. They are in an annotation of the object, too.
	Holds map[string]hold `json:"holds,omitempty"`
	// Done is a digest of the choices that the last finished run was about.
	Done    string  `json:"done,omitempty"`
	Waiting waiting `json:"waiting,omitzero"`
	// Pushed is the last commit, noted before its push; Concluded says that status, fact and Event tell of it.
	Pushed *pushed `json:"pushed,omitempty"`
	// Requests are, by branch, what was done to pull requests beside opening them.
	Requests map[string]furnished `json:"requests,omitempty"`
	// Failed is the failure, HeldTold what is held, Skipped what was not looked at, that was last told.
	Failed   string `json:"failed,omitempty"`
	HeldTold string `json:"heldTold,omitempty"`
	Skipped  string `json:"skipped,omitempty"`
	// Lost says that the bus lost what was written, so that history is asked about every change.
	Lost bool `json:"lost,omitempty"`
}

// written is a choice that was taken, under the rule of its policy at that time.
type written struct {
	Ref  string `json:"ref"`
	Rule string `json:"rule"`
}

// hold is a version that somebody has set back.
type hold struct {
	Ref    string    `json:"ref"`     // the version that is not written again
	Tag    string    `json:"tag"`     // its tag
	Now    string    `json:"present"` // what was there instead
	By     string    `json:"by,omitempty"`
	Commit string    `json:"commit,omitempty"`
	Since  time.Time `json:"since"`
}

// waiting are changes that wait for others.
type waiting struct {
	Choices string    `json:"choices,omitempty"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
}

// pushed is a commit.
type pushed struct {
	Commit    string   `json:"commit"`
	URL       string   `json:"url"` // of the repository, without anything secret
	Branch    string   `json:"branch"`
	Message   string   `json:"message"`
	Changes   []change `json:"changes,omitempty"` // the first of them
	Count     int      `json:"count"`
	Concluded bool     `json:"concluded,omitempty"`
	// Rest is the refspec whose ref does not have the commit yet, or may not.
	Rest string `json:"rest,omitempty"`
}

// furnished is what a pull request was given.
type furnished struct {
	ID int64 `json:"id"`
	// Labels and Reviewers are digests of those that were added.
	Labels    string `json:"labels,omitempty"`
	Reviewers string `json:"reviewers,omitempty"`
	// Head is the last commit that was pushed for it, Merge the head at which the host was asked to merge it by itself.
	Head  string `json:"head,omitempty"`
	Merge string `json:"merge,omitempty"`
}

// change is one value that a commit changed.
type change struct {
	Policy string `json:"policy,omitempty"`
	Path   string `json:"path"`
	Old    string `json:"old"`
	New    string `json:"new"`
}

// holdsAnnotation keeps what somebody has set back, for when the bus lost it. It is written by image-updater.
const holdsAnnotation = "sluice.dev/held-versions"

func loadRecord(run *stage.Run, auto *automationv1.ImageUpdateAutomation) (*record, error) {
	r := &record{}
	if _, err := run.Load(r); err != nil {
		return nil, err
	}
	if r.UID != auto.UID {
		r = recall(auto)
	}
	if r.Written == nil {
		r.Written = map[string]written{}
	}
	if r.Holds == nil {
		r.Holds = map[string]hold{}
	}
	if r.Requests == nil {
		r.Requests = map[string]furnished{}
	}
	return r, nil
}

// recall finds in the object what the bus does not know.
func recall(auto *automationv1.ImageUpdateAutomation) *record {
	r := &record{UID: auto.UID, Written: map[string]written{}, Lost: auto.Status.LastPushCommit != ""}
	for name, ref := range auto.Status.ObservedPolicies {
		r.Written[name] = written{Ref: ref.String()}
	}
	_ = json.Unmarshal([]byte(auto.Annotations[holdsAnnotation]), &r.Holds) // somebody else wrote into it: history says it again
	return r
}

// never says that an image was not written before by a key, so that nobody can have set it back. It cannot be said where nothing is known of
// the key: a cluster, an automation or a policy may be new, and the files are not.
func (r *record) never(key, ref string) bool {
	last, known := r.Written[key]
	return known && last.Ref != ref && !r.Lost
}

// collect says how long to wait for more changes after those of the choices, of which the latest was made at a time.
func (r *record) collect(choices string, latest, now time.Time, quiet, most time.Duration) time.Duration {
	w := &r.Waiting
	switch {
	case choices == r.Done:
		*w = waiting{}
	case w.First.IsZero():
		*w = waiting{Choices: choices, First: now, Last: now}
	case w.Choices != choices && latest.After(w.Last) && latest.Before(now):
		w.Choices, w.Last = choices, latest
	case w.Choices != choices:
		w.Choices, w.Last = choices, now
	}
	return w.left(now, quiet, most)
}

// left is how long changes wait for others yet. Until then nobody need look at them.
func (w *waiting) left(now time.Time, quiet, most time.Duration) time.Duration {
	if w.First.IsZero() {
		return 0
	}
	return max(0, min(w.Last.Add(quiet).Sub(now), w.First.Add(most).Sub(now)))
}
