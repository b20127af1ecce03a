package live

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// What the watches of a thousand applications of four objects keep must stay small: every replica keeps it.
func TestWatchKeepsLittle(t *testing.T) {
	const objects, most = 4000, 600 // bytes an object
	var told []types.NamespacedName
	_, st := watcherOf(inventory.ID{Kind: "ConfigMap"}, &told)
	st.boil = func(obj any) (any, error) {
		own, at := apply.Own(obj.(*metav1.PartialObjectMetadata), inventory.ID{Kind: "ConfigMap"}.GroupKind(), "sluice", nil)
		return ownState{shortHash(own), seconds(at), false}, nil
	}
	fields := `{"f:data":{` + strings.Repeat(`"f:some-longer-key":{},`, 100) + `"f:k":{}}}`
	before := heap()
	list := make([]any, objects)
	for i := range list {
		m := object(fmt.Sprintf("object-%d", i), fmt.Sprint(i+1), "", types.NamespacedName{Namespace: "apps", Name: fmt.Sprintf("app-%d", i/4)})
		entry := metav1.ManagedFieldsEntry{Manager: "sluice", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsV1: metav1.NewFieldsV1(fields + " ")}
		m.ManagedFields = []metav1.ManagedFieldsEntry{entry}
		list[i] = m
	}
	if err := st.Replace(list, "10000"); err != nil {
		t.Fatal(err)
	}
	clear(list)
	list = nil
	kept := (heap() - before) / objects
	t.Logf("%d bytes an object", kept)
	if kept > most {
		t.Errorf("%d bytes an object", kept)
	}
	runtime.KeepAlive(st)
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
