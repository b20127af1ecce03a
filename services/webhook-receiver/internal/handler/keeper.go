package handler

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/verify"
)

const (
	// fresh is how old the keys of a door may be that is called; older ones are read again beside the call.
	fresh = 30 * time.Second
	// againAfter is how often, at most, the keys of a Receiver are read because a call did not prove good by those that are known.
	againAfter  = time.Second
	loaders     = 8
	secretIndex = "webhook-receiver/secret"
)

// Keeper keeps the doors of this replica as Receivers and Secrets say.
type Keeper struct {
	cluster              *kube.Cluster
	doors                *door.Doors
	log                  *slog.Logger
	noCrossNamespaceRefs bool
	queue                workqueue.TypedRateLimitingInterface[types.NamespacedName]

	mu     sync.Mutex
	loaded map[types.NamespacedName]time.Time // when the keys were last read
}

// NewKeeper makes a Keeper, and watches what it follows. It is called before the cache of the cluster starts. w is woken by changes of Secrets
// that ask for it by their label.
func NewKeeper(ctx context.Context, c *kube.Cluster, doors *door.Doors, log *slog.Logger, noCrossNamespaceRefs bool, w kube.Waker) (*Keeper, error) {
	k := &Keeper{
		cluster: c, doors: doors, log: log, noCrossNamespaceRefs: noCrossNamespaceRefs, loaded: map[types.NamespacedName]time.Time{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, 30*time.Second)),
	}
	err := c.Cache.IndexField(ctx, &receiverv1.Receiver{}, secretIndex, func(o client.Object) []string {
		if r, ok := o.(*receiverv1.Receiver); ok && r.Spec.SecretRef != nil {
			return []string{r.Namespace + "/" + r.Spec.SecretRef.Name}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("index receivers by secret: %w", err)
	}
	if err := k.watchReceivers(ctx); err != nil {
		return nil, err
	}
	return k, k.watchSecrets(ctx, w)
}

func (k *Keeper) watchReceivers(ctx context.Context) error {
	informer, err := k.cluster.Cache.GetInformer(ctx, &receiverv1.Receiver{})
	if err != nil {
		return fmt.Errorf("watch receivers: %w", err)
	}
	add := func(o any) {
		if key, ok := keyOf(o); ok {
			k.queue.Add(key)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: add, DeleteFunc: add, UpdateFunc: func(_, o any) { add(o) }})
	if err != nil {
		return fmt.Errorf("watch receivers: %w", err)
	}
	return nil
}

func keyOf(o any) (types.NamespacedName, bool) {
	if tomb, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = tomb.Obj
	}
	obj, ok := o.(client.Object)
	if !ok {
		return types.NamespacedName{}, false
	}
	return client.ObjectKeyFromObject(obj), true
}

// watchSecrets follows the metadata of Secrets that have the label reconcile.fluxcd.io/watch: Enabled.
func (k *Keeper) watchSecrets(ctx context.Context, w kube.Waker) error {
	secret := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	informer, err := k.cluster.Cache.GetInformer(ctx, secret, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch secrets: %w", err)
	}
	wake := func(o any) {
		key, ok := keyOf(o)
		if !ok {
			return
		}
		var list receiverv1.ReceiverList
		if err := k.cluster.Cache.List(ctx, &list, client.MatchingFields{secretIndex: key.String()}); err != nil {
			k.log.Warn("cannot find the receivers of a secret, they look at their interval", "err", err)
			return
		}
		for i := range list.Items {
			receiver := client.ObjectKeyFromObject(&list.Items[i])
			k.queue.Add(receiver)
			w.Trigger(ctx, receiver, stage.Hint{Cause: "reference"})
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: wake, DeleteFunc: wake, UpdateFunc: func(_, o any) { wake(o) }})
	if err != nil {
		return fmt.Errorf("watch secrets: %w", err)
	}
	return nil
}

// LoadAll makes the doors of all Receivers in the cache once, and returns when it has tried each: no call that could be taken is refused
// because this replica has only just started.
func (k *Keeper) LoadAll(ctx context.Context) error {
	var list receiverv1.ReceiverList
	if err := k.cluster.Cache.List(ctx, &list); err != nil {
		return fmt.Errorf("list receivers: %w", err)
	}
	keys := make(chan types.NamespacedName)
	var all sync.WaitGroup
	for range loaders {
		all.Go(func() {
			for key := range keys {
				if _, err := k.load(ctx, key); err != nil {
					k.queue.AddRateLimited(key)
				}
			}
		})
	}
	for i := range list.Items {
		keys <- client.ObjectKeyFromObject(&list.Items[i])
	}
	close(keys)
	all.Wait()
	return nil
}

// Run follows Receivers and Secrets until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range loaders {
		all.Go(func() {
			for k.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	k.queue.ShutDown()
	all.Wait()
}

func (k *Keeper) next(ctx context.Context) bool {
	key, ended := k.queue.Get()
	if ended {
		return false
	}
	defer k.queue.Done(key)
	again, err := k.load(ctx, key)
	if err != nil {
		k.log.Warn("cannot read all that a receiver needs, what was known stays", "receiver", key.String(), "err", err)
		k.queue.AddRateLimited(key)
		return true
	}
	k.queue.Forget(key)
	if again > 0 {
		k.queue.AddAfter(key, again)
	}
	return true
}

// load makes the doors of a Receiver anew, and says after how long to look again; never for one that is gone. On an error what was known stays.
func (k *Keeper) load(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	r := &receiverv1.Receiver{}
	err = k.cluster.Cache.Get(ctx, key, r)
	if apierrors.IsNotFound(err) || err == nil && r.DeletionTimestamp != nil {
		k.forget(key)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	keys, found, err := k.keys(ctx, r)
	if err != nil {
		return 0, err
	}
	k.mu.Lock()
	k.loaded[key] = time.Now()
	k.mu.Unlock()
	var doors map[string]*door.Door
	if found {
		doors, err = k.make(ctx, r, keys)
	}
	k.doors.Set(key, doors)
	if err != nil {
		return 0, err
	}
	return max(r.GetInterval(), fresh), nil
}

// make makes the doors of a Receiver. One whose spec is wrong lets nobody in, and tells only those who prove good. With an error the doors are
// good all the same.
func (k *Keeper) make(ctx context.Context, r *receiverv1.Receiver, keys verify.Keys) (map[string]*door.Door, error) {
	rules, wrong := door.Read(r, k.noCrossNamespaceRefs)
	if wrong != nil {
		rules = &door.Rules{}
	}
	doors := door.ForReceiver(r, rules, keys)
	for _, d := range doors {
		if wrong != nil {
			d.Closed = "not ready"
		}
	}
	return doors, k.follow(ctx, rules)
}

// follow has the cache hold what calls choose among, so that the first one need not wait for it: many hosts do not come again.
func (k *Keeper) follow(ctx context.Context, rules *door.Rules) error {
	if k.cluster.Selective {
		return nil
	}
	for i := range rules.Resources {
		r := &rules.Resources[i]
		gvk, served, err := r.GVK()
		if err != nil || !served || r.Name != "*" && !r.Filtered() {
			continue
		}
		obj := &metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(gvk)
		if _, err := k.cluster.Cache.GetInformer(ctx, obj); err != nil && !apimeta.IsNoMatchError(err) {
			return fmt.Errorf("watch %s: %w", gvk.Kind, err)
		}
	}
	return nil
}

// keys reads the Secret of a Receiver; found is false where that has no usable one.
func (k *Keeper) keys(ctx context.Context, r *receiverv1.Receiver) (keys verify.Keys, found bool, err error) {
	if r.Spec.SecretRef == nil {
		return keys, r.Spec.Type == receiverv1.GenericOIDCReceiver, nil
	}
	data, err := k.cluster.Secret(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.SecretRef.Name})
	if kube.IsMissingOrForbidden(err) {
		return keys, false, nil
	}
	if err != nil {
		return keys, false, err
	}
	keys, err = door.ReadKeys(r.Spec.Type, data)
	return keys, err == nil, nil
}

func (k *Keeper) forget(key types.NamespacedName) {
	k.doors.Set(key, nil)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.loaded, key)
}

// Used says that a door was called: its keys are read again beside the call when they are old.
func (k *Keeper) Used(d *door.Door) {
	if !d.IsOwn() && k.isOlder(d.Receiver, fresh) {
		k.queue.Add(d.Receiver)
	}
}

// Again reads the keys of a door again, where that was not done just now, and says whether it did: they may have been changed since.
func (k *Keeper) Again(ctx context.Context, d *door.Door) bool {
	if d.IsOwn() || !k.isOlder(d.Receiver, againAfter) {
		return false
	}
	_, err := k.load(ctx, d.Receiver)
	return err == nil
}

// isOlder says whether keys were last read longer ago than an age; if so, whoever asks is the one to read them.
func (k *Keeper) isOlder(key types.NamespacedName, age time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.loaded[key]) < age {
		return false
	}
	k.loaded[key] = time.Now()
	return true
}
