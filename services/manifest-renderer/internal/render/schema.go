package render

import (
	"errors"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// errNeedsSchema ends a build that turns out to bring its own OpenAPI schema.
var errNeedsSchema = errors.New("the build needs the schema for itself")

// kustomizeSchema guards the schema that kustomize keeps in package variables,
// and so must be one itself. It is parsed once and then only read, by any
// number of builds. A build with an openapi field of its own has it alone, and
// leaves it as it was: what one source says must not change another's render.
var kustomizeSchema struct {
	sync.RWMutex
	parse sync.Once
}

// Warm parses kustomize's schema, which takes a tenth of a second, before the first build needs it.
func Warm() { withSchema(false, func() {}) }

func withSchema(alone bool, build func()) {
	s := &kustomizeSchema
	if !alone {
		s.RLock()
		defer s.RUnlock()
		s.parse.Do(func() { openapi.Schema() })
		build()
		return
	}
	s.Lock()
	defer s.Unlock()
	openapi.ResetOpenAPI()
	defer func() {
		openapi.ResetOpenAPI()
		openapi.Schema()
	}()
	build()
}

var copiesBounded sync.Once

// boundCopies bounds what the copy operations of one JSON patch may add up to,
// which the library does not do by itself: each can double an object. Its bound
// is a package variable.
func boundCopies() {
	copiesBounded.Do(func() { jsonpatch.AccumulatedCopySizeLimit = 16 << 20 })
}
