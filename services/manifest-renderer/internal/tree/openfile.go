package tree

import (
	"io"
	"os"
)

// openFile is a file opened for reading.
type openFile struct {
	info info
	rest []byte
}

func (f *openFile) Read(p []byte) (int, error) {
	if len(f.rest) == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *openFile) Stat() (os.FileInfo, error) { return f.info, nil }
func (*openFile) Write([]byte) (int, error)    { return 0, errReadOnly }
func (*openFile) Close() error                 { return nil }
