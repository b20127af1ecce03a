package message

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
)

// Data is what a template sees; names and shape are those of Flux.
type Data struct {
	AutomationObject types.NamespacedName
	Changed          Result
	Values           map[string]string
}

// Result is what an update changes.
type Result struct {
	FileChanges map[string]ObjectChanges
}

// ObjectChanges are changes by the object that they are in.
type ObjectChanges map[ObjectIdentifier][]Change

// ObjectIdentifier is an object in a file. It may have no name, as in a kustomization.yaml.
type ObjectIdentifier struct {
	APIVersion, Kind, Name, Namespace string
}

// Change is one value that changes. Setter is the marker's policy and part; empty where there is no marker.
type Change struct {
	OldValue, NewValue, Setter string
}

// NewResult puts changes into the shape that templates see. What files say, their names too, is one line each.
func NewResult(changes []edit.Change) Result {
	r := Result{FileChanges: map[string]ObjectChanges{}}
	for _, c := range changes {
		file := oneLine(c.File)
		objects := r.FileChanges[file]
		if objects == nil {
			objects = ObjectChanges{}
			r.FileChanges[file] = objects
		}
		id := ObjectIdentifier{oneLine(c.Object.APIVersion), oneLine(c.Object.Kind), oneLine(c.Object.Name), oneLine(c.Object.Namespace)}
		objects[id] = append(objects[id], Change{OldValue: oneLine(c.Value), NewValue: c.New, Setter: setter(c)})
	}
	return r
}

// oneLine takes away what could begin another line, or trailer, of a message, or move the cursor of who reads it.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, text)
}

func setter(c edit.Change) string {
	switch {
	case c.Policy == edit.Policy{}:
		return ""
	case c.Part == edit.Image:
		return c.Policy.String()
	}
	return c.Policy.String() + ":" + string(c.Part)
}

// Changes are all changes, each once, in the order of the files' names.
func (r Result) Changes() []Change {
	var all []Change
	seen := map[Change]bool{}
	for _, file := range slices.Sorted(maps.Keys(r.FileChanges)) {
		for _, id := range r.FileChanges[file].sorted() {
			for _, c := range r.FileChanges[file][id] {
				if !seen[c] {
					all, seen[c] = append(all, c), true
				}
			}
		}
	}
	return all
}

// Objects are the changes by object, whichever file they are in.
func (r Result) Objects() ObjectChanges {
	all := ObjectChanges{}
	for _, file := range slices.Sorted(maps.Keys(r.FileChanges)) {
		for id, changes := range r.FileChanges[file] {
			all[id] = append(all[id], changes...)
		}
	}
	return all
}

func (o ObjectChanges) sorted() []ObjectIdentifier {
	return slices.SortedFunc(maps.Keys(o), ObjectIdentifier.compare)
}

func (a ObjectIdentifier) compare(b ObjectIdentifier) int {
	return strings.Compare(a.Kind+"\x00"+a.Namespace+"\x00"+a.Name+"\x00"+a.APIVersion, b.Kind+"\x00"+b.Namespace+"\x00"+b.Name+"\x00"+b.APIVersion)
}
