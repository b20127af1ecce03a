// Command crdgen writes the custom resource definitions of deploy/crds.
//
// The schema comes from Flux's published API types, so that whatever Flux
// accepts, Sluice accepts; the sentences that `kubectl explain` prints are our
// own and come from an overlay beside the definitions. Every field must have a
// sentence and every sentence a field: otherwise crdgen writes nothing and
// names what is missing.
//
// Usage, from the directory tools/dev:
//
//	go run ./crdgen -deploy ../../deploy [-out <directory>]
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kinds are the custom resources that Sluice serves, with the package that
// holds the Go type of each. Only the version of that package is served: it is
// the one that Flux itself serves and stores.
var kinds = []kind{
	{
		GroupKind: schema.GroupKind{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository"},
		Package:   "github.com/fluxcd/source-controller/api/v1",
	},
	{
		GroupKind: schema.GroupKind{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"},
		Package:   "github.com/fluxcd/kustomize-controller/api/v1",
	},
	{
		GroupKind: schema.GroupKind{Group: "image.toolkit.fluxcd.io", Kind: "ImageRepository"},
		Package:   "github.com/fluxcd/image-reflector-controller/api/v1",
	},
	{
		GroupKind: schema.GroupKind{Group: "image.toolkit.fluxcd.io", Kind: "ImagePolicy"},
		Package:   "github.com/fluxcd/image-reflector-controller/api/v1",
	},
	{
		GroupKind: schema.GroupKind{Group: "image.toolkit.fluxcd.io", Kind: "ImageUpdateAutomation"},
		Package:   "github.com/fluxcd/image-automation-controller/api/v1",
	},
	{
		GroupKind: schema.GroupKind{Group: "notification.toolkit.fluxcd.io", Kind: "Receiver"},
		Package:   "github.com/fluxcd/notification-controller/api/v1",
	},
	{
		GroupKind: schema.GroupKind{Group: "notification.toolkit.fluxcd.io", Kind: "Provider"},
		Package:   "github.com/fluxcd/notification-controller/api/v1beta3",
	},
	{
		GroupKind: schema.GroupKind{Group: "notification.toolkit.fluxcd.io", Kind: "Alert"},
		Package:   "github.com/fluxcd/notification-controller/api/v1beta3",
	},
}

// kind is one custom resource.
type kind struct {
	schema.GroupKind
	// Package is the import path of the Go type.
	Package string
}

func main() {
	deploy := flag.String("deploy", ".", "directory of the module deploy, whose go.mod chooses the version of the API types")
	out := flag.String("out", "", "directory to write to; default is crds in -deploy")
	flag.Parse()
	if *out == "" {
		*out = filepath.Join(*deploy, "crds")
	}
	if err := run(*deploy, *out); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

// run writes one file per kind into the directory out.
func run(deploy, out string) error {
	for _, k := range kinds {
		crd, err := generate(deploy, k)
		if err != nil {
			return fmt.Errorf("generate %s from %s: %w", k.Kind, k.Package, err)
		}
		file := filepath.Join(deploy, "crds", "overlay", crd.Spec.Names.Plural+".yaml")
		sentences, err := readOverlay(file)
		if err != nil {
			return err
		}
		if err := describe(crd, sentences); err != nil {
			return fmt.Errorf("overlay %s does not fit %s:\n%w", file, k.Kind, err)
		}
		for i := range crd.Spec.Versions {
			bound(crd.Spec.Versions[i].Schema.OpenAPIV3Schema)
		}
		if err := write(out, crd, k.Package); err != nil {
			return err
		}
	}
	return nil
}
