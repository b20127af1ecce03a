package edit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// fluxServes are the places (line:column of the value's node) that Flux's
// automation would set: scalars whose own line or head comment is a marker, as
// the same parser attaches comments that Flux uses.
func fluxServes(t *testing.T, data []byte) map[string]bool {
	t.Helper()
	served := map[string]bool{}
	d := kyaml.NewDecoder(strings.NewReader(string(data)))
	for {
		var doc kyaml.Node
		if err := d.Decode(&doc); err != nil {
			return served
		}
		fluxVisit(&doc, served)
	}
}

func fluxVisit(n *kyaml.Node, served map[string]bool) {
	switch n.Kind {
	case kyaml.DocumentNode, kyaml.SequenceNode:
		for _, c := range n.Content {
			fluxVisit(c, served)
		}
	case kyaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			fluxVisit(n.Content[i], served)
		}
	case kyaml.ScalarNode:
		comment := n.LineComment
		if comment == "" {
			comment = n.HeadComment
		}
		var fields map[string]string
		if json.Unmarshal([]byte(strings.TrimLeft(comment, "#")), &fields) == nil && fields[token] != "" && n.Value != "" {
			served[fmt.Sprintf("%d:%d", n.Line, n.Column)] = true
		}
	}
}

// Whatever Flux would update is updated.
func TestServesWhatFluxServes(t *testing.T) {
	count := 0
	for i, file := range corpus(1000) {
		f, err := Parse("f.yaml", file.data)
		if err != nil {
			t.Fatalf("file %d: %v\n%s", i, err, file.data)
		}
		ours := map[string]bool{}
		markers, _ := f.Markers()
		for _, m := range markers {
			if m.file == f {
				n := f.leaves[m.leaf].node
				ours[fmt.Sprintf("%d:%d", n.Line, n.Column)] = true
			}
		}
		for place := range fluxServes(t, file.data) {
			count++
			if !ours[place] {
				t.Fatalf("file %d: Flux serves %s, we do not\n%s", i, place, file.data)
			}
		}
	}
	if count < 1000 {
		t.Errorf("only %d places compared", count)
	}
}
