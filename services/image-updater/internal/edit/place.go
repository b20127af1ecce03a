package edit

// Place is a scalar that holds an image or a part of one.
type Place struct {
	File   string
	Line   int // of the value, from 1
	Path   string
	Object Object
	Part   Part
	Value  string // what it holds at present

	file *File // the file, or the block string in it, that was parsed
	leaf int
}

func (f *File) place(i int, part Part) Place {
	l := f.leaves[i]
	p := Place{
		File: f.Name, Line: f.outerLine(f.lines.at(l.span.start)), Path: l.path.String(),
		Object: *l.object, Part: part, Value: l.node.Value, file: f, leaf: i,
	}
	for o := f.outer; o != nil; o = o.file.outer {
		p.Path = o.file.leaves[o.leaf].path.String() + "|" + p.Path
		if p.Object.Kind == "" {
			p.Object = *o.file.leaves[o.leaf].object
		}
	}
	return p
}
