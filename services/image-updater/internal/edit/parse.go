package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// MaxFileSize is the most bytes a file may have to be looked into.
const MaxFileSize = 10 << 20

// File is one YAML file, parsed, with the place of each of its scalars.
type File struct {
	Name string // as it stands in problems and changes

	data   []byte
	lines  lines
	cursor cursor
	docs   []*yaml.Node
	leaves []leaf
	byNode map[*yaml.Node]int
	above  commentLines

	outer *outer // where the text stands when it is a block string of another file
}

// leaf is a scalar or an alias.
type leaf struct {
	node   *yaml.Node
	span   span
	begin  int  // where the node begins, anchor and tag included
	placed bool // whether span is known
	key    bool
	value  int // of a key: the leaf of its value, -1 when that is a collection
	parent *yaml.Node
	path   *step
	object *Object
	// lastText is the last leaf before this one that has a text, or -1.
	lastText int
}

// Parse reads a file. Its error is a *Problem. The data must not be changed afterwards.
func Parse(name string, data []byte) (*File, error) {
	f := &File{Name: name, data: data}
	if len(data) > MaxFileSize {
		return nil, f.problem(0, TooLarge, "file has %d bytes, more than the %d that are looked into", len(data), MaxFileSize)
	}
	docs, err := decode(data)
	if err != nil {
		return nil, f.problem(errorLine(err), NotYAML, "not YAML: %v", err)
	}
	f.docs, f.lines = docs, splitLines(data)
	f.walk()
	return f, nil
}

// decode reads all documents of a file. The parser is known to panic on some
// damaged inputs, which is then an error like others.
func decode(data []byte) (docs []*yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("parser failed: %v", r)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		doc := new(yaml.Node)
		err := d.Decode(doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
}

var lineInError = regexp.MustCompile(`line (\d+)`)

func errorLine(err error) int {
	if m := lineInError.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 1 // the parser leaves out the first line's number
}
