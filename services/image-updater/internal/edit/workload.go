package edit

import (
	"bytes"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Workload is an object in a file that runs images and that says by annotation
// whether and how they follow their registries, as Flux v1 had it. A
// kustomization with images and a Helm release with images in its values count
// as workloads.
type Workload struct {
	File   string
	Line   int
	Object Object

	Automated bool
	Locked    bool
	LockedBy  string // who locked it, as written
	LockedFor string // why, as written
	Ignored   bool
	Notes     map[string]string // all annotations
	// Lowers says that somebody lets an image be written that ranks below the present one.
	Lowers bool

	// What the pods pull with, where the manifest says it.
	ServiceAccount string
	PullSecrets    []string

	Containers []Container
}

// The prefixes of Flux v1's annotations, the first found wins.
const (
	prefix       = "fluxcd.io/"
	olderPrefix  = "flux.weave.works/"
	filterPrefix = "filter.fluxcd.io/"
)

// lowersAnnotation on a workload lets images be written that rank below the present ones.
const lowersAnnotation = "sluice.dev/allow-downgrade"

// HasAutomation is a cheap look at whether a file can hold a workload that is
// automated by annotation.
func HasAutomation(data []byte) bool {
	return bytes.Contains(data, []byte(prefix+"automated")) || bytes.Contains(data, []byte(olderPrefix+"automated"))
}

// Workloads finds all workloads of the file, automated or not. What is wrong
// with an automated one is a problem; its sound containers are listed still.
func (f *File) Workloads() ([]Workload, []*Problem) {
	var found []Workload
	var problems []*Problem
	for _, doc := range f.docs {
		for _, n := range objects(root(doc), 0) {
			w, p := f.workload(n)
			if w == nil {
				continue
			}
			found = append(found, *w)
			if w.Automated {
				problems = append(problems, p...)
			}
		}
	}
	return found, problems
}

// maxLists is how many lists may stand in one another.
const maxLists = 4

// objects are the object of a document, or the items of its list.
func objects(n *yaml.Node, depth int) []*yaml.Node {
	items := field(n, "items")
	if !strings.HasSuffix(text(field(n, "kind")), "List") || items == nil || depth == maxLists {
		return []*yaml.Node{n}
	}
	var all []*yaml.Node
	for _, item := range items.Content {
		all = append(all, objects(item, depth+1)...)
	}
	return all
}

func (f *File) workload(n *yaml.Node) (*Workload, []*Problem) {
	w := &Workload{File: f.Name, Line: f.outerLine(n.Line), Object: objectOf(n)}
	notes, problems := f.annotations(n)
	w.Notes, w.Automated = notes, notes.is("automated")
	w.Locked, w.LockedBy, w.LockedFor = notes.is("locked"), notes.get("locked_user"), notes.get("locked_msg")
	w.Ignored, w.Lowers = notes.is("ignore"), notes[lowersAnnotation] == "true"
	var more []*Problem
	switch {
	case podSpec(n) != nil:
		more = f.pods(w, podSpec(n))
	case w.Object.Kind == "HelmRelease":
		more = f.release(w, field(field(n, "spec"), "values"), notes)
	case f.kustomizeImages(n) != nil:
		more = f.kustomization(w, f.kustomizeImages(n))
	default:
		return nil, nil
	}
	for i := range w.Containers {
		w.Containers[i].Filter = notes.filter(w.Containers[i].Name)
	}
	return w, append(problems, more...)
}

// podPaths say where the kinds keep the specification of their pods.
var podPaths = map[string][]string{
	"Deployment":  {"spec", "template", "spec"},
	"DaemonSet":   {"spec", "template", "spec"},
	"StatefulSet": {"spec", "template", "spec"},
	"ReplicaSet":  {"spec", "template", "spec"},
	"Job":         {"spec", "template", "spec"},
	"CronJob":     {"spec", "jobTemplate", "spec", "template", "spec"},
	"Pod":         {"spec"},
}

func podSpec(n *yaml.Node) *yaml.Node {
	path, ok := podPaths[text(field(n, "kind"))]
	if !ok {
		return nil
	}
	for _, key := range path {
		n = field(n, key)
	}
	return n
}

func (f *File) pods(w *Workload, spec *yaml.Node) []*Problem {
	w.ServiceAccount = text(field(spec, "serviceAccountName"))
	for _, secret := range content(field(spec, "imagePullSecrets")) {
		if name := text(field(secret, "name")); name != "" {
			w.PullSecrets = append(w.PullSecrets, name)
		}
	}
	var problems []*Problem
	for _, list := range []string{"containers", "initContainers"} {
		for _, c := range content(field(spec, list)) {
			image := value(c, "image")
			if image == nil {
				continue
			}
			problems = f.container(w, problems, text(field(c, "name")), fields{whole: image})
		}
	}
	return problems
}

func content(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// value is the value of a mapping's key as it is written, alias or not.
func value(n *yaml.Node, key string) *yaml.Node {
	n = dereference(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// notes are the annotations of an object.
type notes map[string]string

// annotations reads the annotations of an object. Those of Flux v1 that are not
// strings, which the API server would refuse, are problems.
func (f *File) annotations(n *yaml.Node) (notes, []*Problem) {
	all := notes{}
	var problems []*Problem
	list := field(field(n, "metadata"), "annotations")
	if list == nil || list.Kind != yaml.MappingNode {
		return all, nil
	}
	for i := 0; i+1 < len(list.Content); i += 2 {
		key, v := list.Content[i], dereference(list.Content[i+1])
		if v.Kind != yaml.ScalarNode {
			continue
		}
		if v.ShortTag() != "!!str" && ours(key.Value) {
			problems = append(problems, f.problem(f.outerLine(key.Line), InvalidTarget, "annotation %s must be a string: quote it", key.Value))
		}
		all[key.Value] = v.Value
	}
	return all, problems
}

func ours(key string) bool {
	return slices.ContainsFunc([]string{prefix, olderPrefix, filterPrefix}, func(p string) bool { return strings.HasPrefix(key, p) })
}

func (n notes) get(name string) string {
	if v, ok := n[prefix+name]; ok {
		return v
	}
	return n[olderPrefix+name]
}

func (n notes) is(name string) bool { return n.get(name) == "true" }

func (n notes) filter(container string) string {
	if v := n.get("tag." + container); v != "" {
		return v
	}
	return n[filterPrefix+container]
}
