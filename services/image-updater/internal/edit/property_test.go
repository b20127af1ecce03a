package edit

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

// Every marked value of every file changes, and no other byte.
func TestOnlyValuesChange(t *testing.T) {
	marked := 0
	for i, file := range corpus(1500) {
		got, err := Update("f.yaml", file.data, chosen)
		if err != nil {
			t.Fatalf("file %d: %v\n%q", i, err, file.data)
		}
		if len(got.Problems) > 0 {
			t.Fatalf("file %d: %v\n%s", i, got.Problems, file.data)
		}
		if !bytes.Equal(got.Data, file.want) {
			t.Fatalf("file %d (-want +got):\n%s", i, cmp.Diff(string(file.want), string(got.Data)))
		}
		if len(got.Changes) != file.marked {
			t.Fatalf("file %d: %d changes, not %d", i, len(got.Changes), file.marked)
		}
		marked += file.marked
		again, err := Update("f.yaml", got.Data, chosen)
		if err != nil || len(again.Changes) != 0 {
			t.Fatalf("file %d: a second update changes %v %v", i, again.Changes, err)
		}
	}
	if marked < 1500 {
		t.Errorf("only %d marked values in the corpus", marked)
	}
}

// FuzzUpdate holds for any bytes: no panic, and an update that succeeds leaves
// what stands outside the changed values alone.
func FuzzUpdate(f *testing.F) {
	for _, tt := range updateTests {
		f.Add([]byte(tt.in))
	}
	f.Add([]byte("kind: Pod\nmetadata: {annotations: {fluxcd.io/automated: 'true'}}\nspec: {containers: [{name: a, image: x:v1}]}\n"))
	f.Add([]byte("kind: HelmRelease\nspec:\n  values:\n    image: {repository: a, tag: b}\n    c: {image: d:e}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Update("f.yaml", data, chosen)
		if err != nil {
			t.Fatalf("%v\n%q", err, data)
		}
		if len(got.Changes) == 0 && !bytes.Equal(got.Data, data) {
			t.Fatal("bytes changed without a change")
		}
		if bytes.Count(got.Data, []byte("\n")) > bytes.Count(data, []byte("\n")) {
			t.Fatal("lines were added")
		}
		setAll(t, data)
	})
}

// setAll gives every container of the file another tag.
func setAll(t *testing.T, data []byte) {
	file, err := Parse("kustomization.yaml", data)
	if err != nil {
		return
	}
	workloads, _ := file.Workloads()
	for _, w := range workloads {
		for _, c := range w.Containers {
			list, err := c.Set(imageref.Ref{Name: c.Image.Name, Tag: "v9.9", Digest: newDigest})
			if err != nil {
				continue
			}
			if _, err := file.Apply(list); errors.Is(err, ErrNotProven) {
				t.Fatalf("%v\n%q", err, data)
			}
		}
	}
}
