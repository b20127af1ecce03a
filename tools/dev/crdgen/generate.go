package main

import (
	"errors"
	"fmt"

	"golang.org/x/tools/go/packages"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-tools/pkg/crd"
	"sigs.k8s.io/controller-tools/pkg/genall"
	"sigs.k8s.io/controller-tools/pkg/loader"
)

// generate returns the definition of k without any description, built from the
// Go types as the module in directory dir sees them.
func generate(dir string, k kind) (*apiextensionsv1.CustomResourceDefinition, error) {
	var generator genall.Generator = crd.Generator{}
	load, err := genall.Generators{&generator}.ForRootsWithConfig(&packages.Config{Dir: dir}, k.Package)
	if err != nil {
		return nil, err
	}
	parser := &crd.Parser{Collector: load.Collector, Checker: load.Checker}
	crd.AddKnownTypes(parser)
	for _, root := range load.Roots {
		parser.NeedPackage(root)
	}
	noDescriptions := 0
	parser.NeedCRDFor(k.GroupKind, &noDescriptions)
	if err := problems(load.Roots); err != nil {
		return nil, err
	}
	def, ok := parser.CustomResourceDefinitions[k.GroupKind]
	if !ok {
		return nil, fmt.Errorf("the package holds no kind %s", k.GroupKind)
	}
	crd.FixTopLevelMetadata(def)
	return &def, nil
}

// problems returns what went wrong with the packages. Type errors are left out:
// the parser checks only the types that a schema needs, so names that only
// functions use stay unknown to it.
func problems(roots []*loader.Package) error {
	var errs []error
	packages.Visit(unwrap(roots), nil, func(pkg *packages.Package) {
		for _, e := range pkg.Errors {
			if e.Kind != packages.TypeError {
				errs = append(errs, e)
			}
		}
	})
	return errors.Join(errs...)
}

// unwrap returns the packages without the loader's additions.
func unwrap(roots []*loader.Package) []*packages.Package {
	list := make([]*packages.Package, len(roots))
	for i, root := range roots {
		list[i] = root.Package
	}
	return list
}
