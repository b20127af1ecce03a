// Package edit changes image references in YAML files and leaves every other
// byte as it was: comments, order, indentation, line ends, anchors, quotes,
// block strings.
//
// A file is parsed for its structure and for the place of each scalar; an edit
// replaces bytes at those places. The result is parsed again and compared with
// the first tree: exactly the intended scalars may differ, or nothing is
// written. So a misjudged place is an error, never a damaged file.
//
// What may be changed is found in three ways: by setter markers in comments
// (Markers), by the annotations of Flux v1 on workloads and Helm releases
// (Workloads), and in the images of a kustomization (Images). Deciding what to
// write is not done here.
package edit
