// Package state holds what a stage saves about an object for the next stage to read: the present state behind a fact, as fresh as the
// fact. Only fields are ever added; readers meet older and newer writers. Nothing here is secret.
package state

import (
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"
)

// Names of the stages.
const (
	StageGit    = "git"    // git-watcher: a GitRepository's artifact
	StageRender = "render" // manifest-renderer: a Kustomization's rendered set
	StageApply  = "apply"  // applier: a Kustomization's objects in the cluster
	StageScan   = "scan"   // registry-scanner: an ImageRepository's tags
	StagePolicy = "policy" // image-updater: an ImagePolicy's chosen image
	StageUpdate = "update" // image-updater: an ImageUpdateAutomation's commits

	StageReceive = "receive" // webhook-receiver: a Receiver's address
	StageNews    = "news"    // notifier: what facts mean for people
	StageNotify  = "notify"  // notifier: what is told through a Provider
)

// Source is what git-watcher knows of a GitRepository.
type Source struct {
	UID      types.UID      `json:"uid"`
	Artifact *meta.Artifact `json:"artifact,omitempty"` // the same as in the object's status
	// Inputs is a digest of the spec fields that bear on the artifact beside the commit.
	Inputs string `json:"inputs,omitempty"`
	// Included are the artifacts of other sources that are in this one, in the order of spec.include.
	Included []*meta.Artifact `json:"included,omitempty"`
	// Verified says by which keys the artifact's revision was verified; empty where that was not asked for.
	Verified string `json:"verified,omitempty"`
	// Told is the artifact that was last published as a fact: revision and digest.
	Told string `json:"told,omitempty"`
	// Failed is the failure that was last told, so that the same one is told once.
	Failed string `json:"failed,omitempty"`
}

// Rendered is what manifest-renderer made of a Kustomization.
type Rendered struct {
	UID        types.UID `json:"uid"`
	Generation int64     `json:"generation"` // of the spec that was rendered
	// RequestedAt is the value of the annotation reconcile.fluxcd.io/requestedAt that this render answers.
	RequestedAt string `json:"requestedAt,omitempty"`

	// SourceRevision and SourceDigest name the artifact.
	SourceRevision string `json:"sourceRevision,omitempty"`
	SourceDigest   string `json:"sourceDigest,omitempty"`

	// Set is the name of the sealed set in the store of sets; empty as long as nothing was rendered.
	Set     string `json:"set,omitempty"`
	Objects int    `json:"objects,omitempty"`
	// ReadSet is the name, in the store of sets, of what the render read from the source.
	ReadSet string `json:"readSet,omitempty"`
	// Fingerprint is a keyed digest of everything beside the source that the render depends on.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Remotes is a keyed digest of the addresses that the render used, and of what was there; empty for none.
	Remotes string `json:"remotes,omitempty"`

	// Reason and Message say why there is no set for this generation and revision; Set is then the last good one.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`

	// FailedReadSet is the name of what the failed render read, when the same would fail in the same way: empty when it may not.
	FailedReadSet string `json:"failedReadSet,omitempty"`

	At time.Time `json:"at"`
	// Told says that a fact was published about all this.
	Told bool `json:"told,omitempty"`
}

// OK says whether the render succeeded.
func (r *Rendered) OK() bool { return r.Reason == "" }

// Scanned is what registry-scanner knows of an ImageRepository. The tags themselves are in the image cache, under Image and Credential;
// they count only where the listing there has the digest that is named here.
type Scanned struct {
	UID        types.UID `json:"uid"`
	Generation int64     `json:"generation"` // of the spec that was scanned
	Image      string    `json:"image"`      // canonical name
	// Credential names the credential in the cache; a keyed digest.
	Credential string `json:"credential,omitempty"`
	// Listing is the digest of the listing in the cache; empty as long as nothing was scanned.
	Listing string `json:"listing,omitempty"`
	// Exclusions are the regular expressions of tags that do not count.
	Exclusions []string `json:"exclusions,omitempty"`

	Tags     int `json:"tags"`               // after the exclusions
	Total    int `json:"total"`              // before them
	Previous int `json:"previous,omitempty"` // total of the listing before
	Vanished int `json:"vanished,omitempty"` // tags that were there in the last week and are gone
	// Complete says that the registry was asked to its last page, Shrunk that more than a third of the tags are gone.
	Complete bool `json:"complete,omitempty"`
	Shrunk   bool `json:"shrunk,omitempty"`
	// Revision is a digest of the tags that count, as in the object's status.
	Revision  string    `json:"revision,omitempty"`
	ScannedAt time.Time `json:"scannedAt,omitzero"`

	// Requested is the value of the annotation reconcile.fluxcd.io/requestedAt that was last seen, and RequestedSince when it was first
	// seen: a scan that began later answers it.
	Requested      string    `json:"requested,omitempty"`
	RequestedSince time.Time `json:"requestedSince,omitzero"`
	// Told is the listing and the tags that were last published as a fact; Failed the failure that was last told.
	Told   string `json:"told,omitempty"`
	Failed string `json:"failed,omitempty"`
}

// Chosen is what image-updater's stage policy decided for an ImagePolicy.
type Chosen struct {
	UID        types.UID `json:"uid"`
	Generation int64     `json:"generation"` // of the spec that decided
	// Image is the canonical name, Name the one that the ImageRepository writes, which is the one for manifests; Tag and Digest are what
	// of it was chosen. Digest is empty where the policy reflects none. All are empty as long as nothing was chosen.
	Image  string `json:"image,omitempty"`
	Name   string `json:"name,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Created is when the chosen image was built; zero where the policy does not ask for it.
	Created time.Time `json:"created,omitzero"`
	// Before is the choice before this one, as name:tag@digest.
	Before string `json:"before,omitempty"`
	// Repository names the ImageRepository, Listing the digest of the listing that the choice was made from.
	Repository types.NamespacedName `json:"repository"`
	Listing    string               `json:"listing,omitempty"`
	// Credential names, in the cache, the credential that the listing is for.
	Credential string `json:"credential,omitempty"`
	// Held says why no update may be made to this choice now, such as a listing that shrank; empty: none. HeldReason says it in one word.
	Held       string    `json:"held,omitempty"`
	HeldReason string    `json:"heldReason,omitempty"`
	At         time.Time `json:"at"` // when the choice was made
	// Rules names the rules by which it was made: they are others when somebody asked for something else.
	Rules string `json:"rules,omitempty"`
	// Decision says of how many tags it was made and why others were not chosen.
	Decision *Decision `json:"decision,omitempty"`
	// LookedUp is how many tags a registry was asked about since the last choice.
	LookedUp int `json:"lookedUp,omitempty"`
	// Told is the choice that was last published as a fact; Failed the failure that was last told.
	Told   string `json:"told,omitempty"`
	Failed string `json:"failed,omitempty"`
}

// Ref is the choice as it stands in a manifest, name:tag or name:tag@digest; empty as long as nothing was chosen.
func (c *Chosen) Ref() string {
	switch {
	case c.Name == "":
		return ""
	case c.Digest == "":
		return c.Name + ":" + c.Tag
	}
	return c.Name + ":" + c.Tag + "@" + c.Digest
}

// Decision is why an ImagePolicy did not choose other tags.
type Decision struct {
	Considered int            `json:"considered"`       // tags there were
	Counts     map[string]int `json:"counts,omitempty"` // rejected tags, by reason
	// Rejected are the first of them, best first.
	Rejected []Rejection `json:"rejected,omitempty"`
}

// Rejection is a tag that was not chosen.
type Rejection struct {
	Tag    string    `json:"tag"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"` // when the reason ends by itself; zero: it does not
}
