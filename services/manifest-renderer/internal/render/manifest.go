package render

import (
	"bytes"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Bounds of one YAML file.
const (
	maxDepth     = 500       // of nesting
	maxNodes     = 2_000_000 // with every alias written out
	maxDocuments = 20_000
)

// checkManifest refuses YAML that is broken, or that harms kustomize though it
// parses: aliases that stand for too much or for themselves, deep nesting, and
// what JSON cannot express, at which kustomize can exit the process. The error
// has the line.
func checkManifest(data []byte) *Error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	left := maxNodes
	for range maxDocuments {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return invalidYAML(err)
		}
		c := nodeCheck{left: left, anchors: make(map[*yaml.Node]extent)}
		if _, err := c.node(&doc, 0); err != nil {
			return err
		}
		if err := checkDecodes(&doc); err != nil {
			return err
		}
		left = c.left
	}
	return failed("more than %d documents", maxDocuments)
}

// checkDecodes refuses what parses but has no value: a key that is there twice,
// text with the tag of a number. Kustomize finds out late, or exits.
func checkDecodes(doc *yaml.Node) *Error {
	var value any
	err := doc.Decode(&value)
	if err == nil {
		_, err = jsonValue(value)
	}
	if err == nil {
		return nil
	}
	e := failed("a value does not fit its tag")
	if strings.Contains(err.Error(), "already defined") {
		e.Message = "a key is there twice"
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
	}
	return e
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// invalidYAML keeps of the parser's message what is not quoted from the text.
func invalidYAML(err error) *Error {
	message := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "line ")
	if _, after, ok := strings.Cut(message, ": "); ok {
		message = after
	}
	if strings.ContainsAny(message, "`\n") {
		message = "syntax error"
	}
	e := failed("invalid YAML: %s", message)
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
	}
	if fromZero.MatchString(message) {
		e.Line++
	}
	return e
}

// fromZero are the messages for which the parser counts lines from zero.
var fromZero = regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key|',' or)`)

// nodeCheck walks one document as it will be when all aliases are replaced by
// copies, without making the copies.
type nodeCheck struct {
	left    int                   // nodes that may still come
	anchors map[*yaml.Node]extent // of the anchored nodes that were walked
}

// extent is the size and the height of a node, with aliases replaced.
type extent struct{ nodes, height int }

// node checks n, which is depth levels below the document, and returns its
// height.
func (c *nodeCheck) node(n *yaml.Node, depth int) (height int, err *Error) {
	before := c.left
	if c.left--; c.left < 0 || depth > maxDepth {
		return 0, tooMuch(n)
	}
	switch n.Kind {
	case yaml.AliasNode:
		height, err = c.alias(n, depth)
	case yaml.ScalarNode:
		err = checkNumber(n)
	default:
		height, err = c.children(n, depth)
	}
	if n.Anchor != "" && err == nil {
		c.anchors[n] = extent{nodes: before - c.left, height: height}
	}
	return height, err
}

func (c *nodeCheck) alias(n *yaml.Node, depth int) (height int, err *Error) {
	e, walked := c.anchors[n.Alias]
	if !walked {
		return 0, atLine(n, "an alias stands for itself")
	}
	if c.left -= e.nodes; c.left < 0 || depth+e.height > maxDepth {
		return 0, tooMuch(n)
	}
	return e.height, nil
}

func (c *nodeCheck) children(n *yaml.Node, depth int) (height int, err *Error) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if err := checkKey(child); err != nil {
				return 0, err
			}
		}
		h, err := c.node(child, depth+1)
		if err != nil {
			return 0, err
		}
		height = max(height, h+1)
	}
	return height, nil
}

func checkKey(key *yaml.Node) *Error {
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	if tag := key.ShortTag(); tag != yaml.NodeTagString && tag != "!!merge" {
		return atLine(key, "a key is no string: quote it")
	}
	return nil
}

func checkNumber(n *yaml.Node) *Error {
	if n.ShortTag() != yaml.NodeTagFloat {
		return nil
	}
	var f float64
	if n.Decode(&f) != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return atLine(n, "a number cannot be expressed in JSON")
	}
	return nil
}

func tooMuch(n *yaml.Node) *Error {
	return atLine(n, "it is nested too deep, or its aliases expand to too much")
}

func atLine(n *yaml.Node, message string) *Error {
	e := failed("%s", message)
	e.Line = n.Line
	return e
}
