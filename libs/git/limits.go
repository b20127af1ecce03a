package git

// Limits bound what one repository may cost. A zero field means the one of
// DefaultLimits.
type Limits struct {
	// ListBytes is the size of a list of refs.
	ListBytes int64
	// PackBytes is the size of a pack as it is sent.
	PackBytes int64
	// UnpackedBytes is the size of all objects of a pack.
	UnpackedBytes int64
	// ObjectBytes is the size of one object. It bounds memory.
	ObjectBytes int64
	// FileBytes and TotalBytes are the size of one file, and of all files, that
	// are left after the ignore rules. They bound memory.
	FileBytes, TotalBytes int64
	// Entries is the number of files and directories of a commit.
	Entries int
	// Packs is the number of packs after which a mirror is fetched afresh.
	Packs int
}

// DefaultLimits suit repositories of manifests, and large ones with much else.
func DefaultLimits() Limits {
	return Limits{
		ListBytes: 64 << 20, PackBytes: 1 << 30, UnpackedBytes: 8 << 30, ObjectBytes: 128 << 20,
		FileBytes: 64 << 20, TotalBytes: 256 << 20, Entries: 500_000, Packs: 64,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, field := range []struct{ value, fallback *int64 }{
		{&l.ListBytes, &d.ListBytes}, {&l.PackBytes, &d.PackBytes}, {&l.UnpackedBytes, &d.UnpackedBytes},
		{&l.ObjectBytes, &d.ObjectBytes}, {&l.FileBytes, &d.FileBytes}, {&l.TotalBytes, &d.TotalBytes},
	} {
		if *field.value == 0 {
			*field.value = *field.fallback
		}
	}
	if l.Entries == 0 {
		l.Entries = d.Entries
	}
	if l.Packs == 0 {
		l.Packs = d.Packs
	}
	return l
}
