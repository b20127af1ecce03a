// Package handler turns one ImagePolicy into the choice of an image, a status and a fact.
package handler

import (
	"context"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

// Config is what the stage stands on.
type Config struct {
	Env        *service.Env
	Events     *kube.Events
	Cache      *imagecache.Cache
	Registries *registry.Client
	Access     *imageaccess.Resolver
	Slots      int // policies evaluated at once
	// VanishedHold is how long a choice that is gone from its registry holds one that ranks above it.
	VanishedHold time.Duration
}

// patience grows up to five minutes: what a policy waits for may come without telling, as a label of a namespace does.
var patience = stage.Backoff{Base: time.Second, Max: 5 * time.Minute}

// Policies is the handler of stage policy.
type Policies struct {
	Config
	turns *turns
}

// New makes the stage, and watches what wakes it. It is called before the cache of the cluster starts.
func New(ctx context.Context, c Config) (*stage.Stage, error) {
	p := &Policies{c, newTurns(c.Slots)}
	cluster := c.Env.Cluster
	if err := indexRepositories(ctx, cluster); err != nil {
		return nil, err
	}
	if err := indexImages(ctx, cluster.Cache); err != nil {
		return nil, err
	}
	if _, err := cluster.Cache.GetInformer(ctx, &imagev1.ImageRepository{}); err != nil {
		return nil, fmt.Errorf("watch image repositories: %w", err)
	}
	s := stage.New(c.Env.Stages, state.StagePolicy, p, stage.Options{
		Slots: c.Slots, Objects: p.list, Backoff: patience, Facts: []string{bus.FactImageScanned}, Map: p.followers, Hints: p.hinted,
	})
	if err := cluster.Watch(ctx, &imagev1.ImagePolicy{}, handled, s); err != nil {
		return nil, err
	}
	return s, nil
}

// handled reads from an ImagePolicy's status what it answers.
func handled(obj client.Object) (int64, string) {
	policy, ok := obj.(*imagev1.ImagePolicy)
	if !ok {
		return 0, ""
	}
	return policy.Status.ObservedGeneration, policy.Status.LastHandledReconcileAt
}

const repositoryIndex = "repository"

func indexRepositories(ctx context.Context, c *kube.Cluster) error {
	err := c.Cache.IndexField(ctx, &imagev1.ImagePolicy{}, repositoryIndex, func(o client.Object) []string {
		if policy, ok := o.(*imagev1.ImagePolicy); ok {
			return []string{repositoryOf(policy).String()}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("index image repositories of policies: %w", err)
	}
	return nil
}

func repositoryOf(policy *imagev1.ImagePolicy) types.NamespacedName {
	ref := policy.Spec.ImageRepositoryRef
	key := types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
	if key.Namespace == "" {
		key.Namespace = policy.Namespace
	}
	return key
}

// list lists the ImagePolicies in the cache.
func (p *Policies) list(ctx context.Context) ([]types.NamespacedName, error) {
	return p.find(ctx)
}

// followers lists the policies that choose from the image that a fact is about.
func (p *Policies) followers(ctx context.Context, f *factsv1.Fact) ([]types.NamespacedName, error) {
	return p.find(ctx, client.MatchingFields{repositoryIndex: bus.FactObject(f).String()})
}

func (p *Policies) find(ctx context.Context, which ...client.ListOption) ([]types.NamespacedName, error) {
	var list imagev1.ImagePolicyList
	if err := p.Env.Cluster.Cache.List(ctx, &list, which...); err != nil {
		return nil, fmt.Errorf("list image policies: %w", err)
	}
	keys := make([]types.NamespacedName, len(list.Items))
	for i := range list.Items {
		keys[i] = client.ObjectKeyFromObject(&list.Items[i])
	}
	return keys, nil
}

// Run brings one ImagePolicy forward.
func (p *Policies) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	policy := &imagev1.ImagePolicy{}
	err := p.Env.Cluster.Read(ctx, run.Key, policy, run.Hint.Generation)
	switch {
	case apierrors.IsNotFound(err):
		return stage.Result{Gone: true}, nil
	case err != nil:
		// An API server that is away is no fault of the policy: the patience does not grow.
		return stage.Result{}, stage.After(5*time.Second, fmt.Errorf("read image policy: %w", err))
	case policy.DeletionTimestamp != nil:
		return p.release(ctx, run, policy)
	case policy.Spec.Suspend:
		return stage.Result{}, nil
	}
	j := &job{Policies: p, run: run, policy: policy}
	if err := j.load(); err != nil {
		return stage.Result{}, err
	}
	defer j.endTurn()
	err = j.choose(ctx)
	if err == nil {
		err = j.succeeded(ctx)
	}
	switch {
	case kube.IsConflict(err): // what was read is older than what is there
		return stage.Result{}, stage.After(250*time.Millisecond, err)
	case err != nil:
		return j.failed(ctx, err)
	}
	return stage.Result{Next: j.next()}, nil
}

// release lets a deleted object go that has a finalizer from Flux.
func (p *Policies) release(ctx context.Context, run *stage.Run, policy *imagev1.ImagePolicy) (stage.Result, error) {
	if err := run.Guard(); err != nil {
		return stage.Result{}, err
	}
	if err := p.Env.Cluster.RemoveFinalizer(ctx, policy); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Gone: true}, nil
}
