package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/libs/git/sign"
	"github.com/sluice-cd/sluice/services/image-updater/internal/message"
)

// defaultTimeout is that of a GitRepository which says none.
const defaultTimeout = time.Minute

// specError is a fault of the object's spec, or of what it refers to.
type specError struct {
	reason  string
	stalled bool // nothing changes before the spec does
	error
}

func (e *specError) Unwrap() error { return e.error }

func invalidSource(format string, args ...any) error {
	return &specError{automationv1.InvalidSourceConfigReason, true, fmt.Errorf(format, args...)}
}

// target is what an automation asks for, read and checked.
type target struct {
	source   git.Source
	push     string // branch to push to
	options  branch.PushOptions
	path     string // of the files to look at
	author   branch.Person
	signer   branch.Signer
	template *message.Template
	values   map[string]string
	timeout  time.Duration // of one attempt
	requests *requests     // nil where commits go through none
}

// lockName is that of the lock which all have in common who push to the branch.
func (t *target) lockName() string {
	sum := sha256.Sum256([]byte(t.source.URL + "\x00" + t.push))
	return hex.EncodeToString(sum[:16])
}

func (u *updater) target(ctx context.Context, auto *automationv1.ImageUpdateAutomation) (*target, error) {
	repo, err := u.repository(ctx, auto)
	if err != nil {
		return nil, err
	}
	spec := auto.Spec.GitSpec
	t := &target{author: branch.Person{Name: spec.Commit.Author.Name, Email: spec.Commit.Author.Email}, values: spec.Commit.MessageTemplateValues, timeout: defaultTimeout}
	if repo.Spec.Timeout != nil && repo.Spec.Timeout.Duration > 0 {
		t.timeout = repo.Spec.Timeout.Duration
	}
	if auto.Spec.Update != nil {
		t.path = auto.Spec.Update.Path
	}
	if t.template, err = message.Parse(spec.Commit.MessageTemplate); err != nil {
		return nil, &specError{automationv1.UpdateFailedReason, true, fmt.Errorf("unable to create commit message template from spec: %w", err)}
	}
	if t.source, err = u.Git.Source(ctx, repo); err != nil {
		return nil, fmt.Errorf("failed to read how to get into %s: %w", sourceOf(auto), err)
	}
	if spec.Checkout != nil {
		t.source.Ref = git.RefFrom(&spec.Checkout.Reference)
	}
	if err := t.destination(spec.Push); err != nil {
		return nil, err
	}
	if t.requests, err = u.requestsOf(ctx, auto, t); err != nil {
		return nil, err
	}
	return t, u.signWith(ctx, auto, t)
}

// repository reads the GitRepository that the automation names.
func (u *updater) repository(ctx context.Context, auto *automationv1.ImageUpdateAutomation) (*sourcev1.GitRepository, error) {
	ref, key := auto.Spec.SourceRef, sourceOf(auto)
	if err := checkStrategy(auto); err != nil {
		return nil, err
	}
	switch strategy := auto.Spec.Update; {
	case strategy != nil && strategy.Strategy != "" && strategy.Strategy != automationv1.UpdateStrategySetters:
		return nil, &specError{automationv1.InvalidUpdateStrategyReason, true, fmt.Errorf("unknown update strategy '%s'", strategy.Strategy)}
	case ref.Kind != "" && ref.Kind != sourcev1.GitRepositoryKind:
		return nil, invalidSource("source kind '%s' not supported", ref.Kind)
	case auto.Spec.GitSpec == nil:
		return nil, invalidSource("source kind '%s' necessitates field .spec.git", sourcev1.GitRepositoryKind)
	case u.Env.NoCrossNamespaceRefs && key.Namespace != auto.Namespace:
		return nil, &specError{acl.AccessDeniedReason, true, fmt.Errorf("can't access '%s/%s', cross-namespace references have been blocked", sourcev1.GitRepositoryKind, key)}
	}
	repo := &sourcev1.GitRepository{}
	err := u.cluster.Client.Get(ctx, key, repo)
	if apierrors.IsNotFound(err) {
		return nil, &specError{automationv1.SourceManagerFailedReason, false, fmt.Errorf("GitRepository %s: %w", key, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("read git repository: %w", err)
	}
	return repo, nil
}

// destination reads where to push to.
func (t *target) destination(spec *automationv1.PushSpec) error {
	if spec == nil {
		spec = &automationv1.PushSpec{}
	}
	t.push = spec.Branch
	if ref := t.source.Ref; t.push == "" && ref.Tag == "" && ref.SemVer == "" && ref.Name == "" && ref.Commit == "" {
		t.push = ref.Branch
	}
	if t.push == "" {
		return invalidSource("push branch not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref")
	}
	if spec.Refspec != "" {
		if _, err := branch.Destination(spec.Refspec); err != nil {
			return invalidSource("refspec: %w", err)
		}
	}
	t.options.Refspec = spec.Refspec
	for _, key := range slices.Sorted(maps.Keys(spec.Options)) {
		option := key
		if value := spec.Options[key]; value != "" {
			option += "=" + value
		}
		t.options.Options = append(t.options.Options, option)
	}
	return nil
}

// signWith reads the key that commits are signed with.
func (u *updater) signWith(ctx context.Context, auto *automationv1.ImageUpdateAutomation, t *target) error {
	key := auto.Spec.GitSpec.Commit.SigningKey
	if key == nil {
		return nil
	}
	name := types.NamespacedName{Namespace: auto.Namespace, Name: key.SecretRef.Name}
	data, err := u.cluster.Secret(ctx, name)
	if err != nil {
		return &specError{automationv1.SourceManagerFailedReason, false, fmt.Errorf("signing key: %w", err)}
	}
	signer, err := sign.New(string(key.Type), data)
	if errors.Is(err, sign.ErrKey) {
		return &specError{automationv1.SourceManagerFailedReason, false, fmt.Errorf("secret %s: %w", name, err)}
	}
	t.signer = signer
	return err
}
