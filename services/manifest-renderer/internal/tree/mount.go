package tree

import "strings"

// MountRoot is the directory below which trees of other sources are shown. A source's own directory of that name is not seen in a render
// that mounts something.
const MountRoot = ".remote"

// Mount shows a tree as the directory MountRoot/name. What is read of it is not recorded: whoever mounts it knows what it is.
func (v *View) Mount(name string, t *Tree) (dir string) {
	if v.mounts == nil {
		v.mounts = make(map[string]*Tree)
	}
	v.mounts[name] = t
	return MountRoot + "/" + name
}

// MountOf is the directory of the mounted tree that name lies in, empty for none.
func (v *View) MountOf(name string) string {
	if t, mount, _ := v.mounted(name); t != nil {
		return MountRoot + "/" + mount
	}
	return ""
}

// mounted is the mounted tree that name lies in, the tree's name, and the name within it.
func (v *View) mounted(name string) (t *Tree, mount, rest string) {
	below, ok := strings.CutPrefix(name, MountRoot+"/")
	if !ok || v.mounts == nil {
		return nil, "", ""
	}
	mount, rest, _ = strings.Cut(below, "/")
	if rest == "" {
		rest = "."
	}
	return v.mounts[mount], mount, rest
}

// at is the tree that answers for a name, and the name in it.
func (v *View) at(name string) (*Tree, string) {
	if t, _, rest := v.mounted(name); t != nil {
		return t, rest
	}
	return v.tree, name
}
