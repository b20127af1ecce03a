package live

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

var owner = types.NamespacedName{Namespace: "apps", Name: "app"}

// watcherOf is a watcher with one filled watch for a kind; states are set by name.
func watcherOf(kind inventory.ID, told *[]types.NamespacedName) (*Watcher, *store) {
	states := map[string]ownState{}
	st := &store{
		objects: map[types.NamespacedName]observed{}, filled: func() {},
		changed: func(o types.NamespacedName) { *told = append(*told, o) },
		boil: func(obj any) (any, error) {
			m := obj.(*metav1.PartialObjectMetadata)
			s := states[m.Annotations["own"]]
			s.time = uint32(len(m.Annotations["own"]))
			return s, nil
		},
	}
	s := scope{kind: kind.GroupKind()}
	return &Watcher{watches: map[scope]*watch{s: {store: st}}, interests: map[types.NamespacedName]*followed{}, suspects: newSuspects(),
		wanted: map[scope]int{}, stale: make(chan struct{}, 1)}, st
}

func object(name, version, own string, o types.NamespacedName) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: name, ResourceVersion: version, Annotations: map[string]string{"own": own},
		Labels: map[string]string{labelOwnerName: o.Name, labelOwnerNamespace: o.Namespace},
	}}
}

func TestWatchesAreWantedAsLongAsSomebodyNeedsThem(t *testing.T) {
	cm, secret := inventory.ID{Namespace: "ns", Name: "a", Kind: "ConfigMap"}, inventory.ID{Namespace: "ns", Name: "b", Kind: "Secret"}
	one, other := types.NamespacedName{Name: "one"}, types.NamespacedName{Name: "other"}
	w, _ := watcherOf(cm, new([]types.NamespacedName))
	follow := func(o types.NamespacedName, ids ...inventory.ID) func() {
		var objects inventory.Inventory
		for _, id := range ids {
			objects.Add(id, "v1")
		}
		return func() { w.Follow(o, Interest{Objects: objects}) }
	}
	for _, step := range []struct {
		what    string
		do      func()
		changed bool
		want    []inventory.ID
	}{
		{"the first owner", follow(one, cm, secret), true, []inventory.ID{cm, secret}},
		{"the same again", follow(one, cm, secret), false, []inventory.ID{cm, secret}},
		{"another with a kind that is watched", follow(other, cm), false, []inventory.ID{cm, secret}},
		{"a kind that nobody needs now", follow(one, cm), true, []inventory.ID{cm}},
		{"one owner less", func() { w.Forget(one) }, false, []inventory.ID{cm}},
		{"who is not followed", func() { w.Forget(one) }, false, []inventory.ID{cm}},
		{"the last owner", func() { w.Forget(other) }, true, nil},
	} {
		step.do()
		changed := len(w.stale) == 1
		if changed {
			<-w.stale
		}
		if changed != step.changed || len(w.wanted) != len(step.want) {
			t.Errorf("%s: changed %t, wanted %v", step.what, changed, w.wanted)
		}
		for _, id := range step.want {
			if w.wanted[scope{kind: id.GroupKind()}] == 0 {
				t.Errorf("%s: %s is not wanted", step.what, id.Kind)
			}
		}
	}
}

func TestLook(t *testing.T) {
	cm, job := inventory.ID{Namespace: "ns", Name: "a", Kind: "ConfigMap"}, inventory.ID{Namespace: "ns", Name: "a", Group: "batch", Kind: "Job"}
	other := types.NamespacedName{Namespace: "apps", Name: "other"}
	for name, test := range map[string]struct {
		id      inventory.ID
		objects []any
		filled  bool
		seen    Entry
		want    Standing
	}{
		"as applied":                    {cm, []any{object("a", "7", "x", owner)}, true, Entry{Version: 7, Time: 1}, Same},
		"later, with our fields alike":  {cm, []any{object("a", "9", "x", owner)}, true, Entry{Version: 7, Time: 1}, Same},
		"later, with our entry another": {cm, []any{object("a", "9", "xx", owner)}, true, Entry{Version: 7, Time: 1}, Drifted},
		"the watch is behind":           {cm, []any{object("a", "5", "xx", owner)}, true, Entry{Version: 7, Time: 1}, Unknown},
		"gone":                          {cm, nil, true, Entry{Version: 7, Time: 1}, Drifted},
		"not yet seen":                  {cm, nil, true, Entry{Version: 20, Time: 1}, Unknown},
		"taken by another owner":        {cm, []any{object("a", "9", "xx", other)}, true, Entry{Version: 7, Time: 1}, Unknown},
		"a job that ended and went":     {job, nil, true, Entry{Version: 7, Time: 1}, Unknown},
		"the watch is not filled":       {cm, []any{object("a", "7", "x", owner)}, false, Entry{Version: 7, Time: 1}, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			var told []types.NamespacedName
			w, st := watcherOf(test.id, &told)
			if test.filled {
				if err := st.Replace(test.objects, "10"); err != nil {
					t.Fatal(err)
				}
			} else {
				for _, o := range test.objects {
					if err := st.Add(o); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := w.Look(owner, test.id, test.seen); got != test.want {
				t.Errorf("standing %v, want %v", got, test.want)
			}
		})
	}
}

func TestOnlyWhatMattersIsTold(t *testing.T) {
	var told []types.NamespacedName
	_, st := watcherOf(inventory.ID{Kind: "ConfigMap"}, &told)
	other := types.NamespacedName{Namespace: "apps", Name: "other"}
	steps := []struct {
		do   func() error
		want string
	}{
		{func() error { return st.Add(object("a", "1", "x", owner)) }, "[apps/app]"},
		{func() error { return st.Update(object("a", "2", "x", owner)) }, "[]"},
		{func() error { return st.Update(object("a", "3", "xx", owner)) }, "[apps/app]"},
		{func() error { return st.Update(object("a", "4", "xx", other)) }, "[apps/app apps/other]"},
		{func() error { return st.Delete(object("a", "5", "xx", other)) }, "[apps/other]"},
	}
	for i, step := range steps {
		told = nil
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(told); got != step.want {
			t.Errorf("step %d told %s, want %s", i, got, step.want)
		}
	}
}
