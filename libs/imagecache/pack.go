package imagecache

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"
)

// maxValue bounds a value once it is unpacked.
const maxValue = 64 << 20

// packer compresses with DEFLATE. It keeps its writers and readers for the next value: a writer is of a megabyte, of which a value of a
// hundred tags needs little.
type packer struct{ writers, readers sync.Pool }

func newPacker() *packer {
	return &packer{
		writers: sync.Pool{New: func() any {
			w, err := flate.NewWriter(nil, flate.BestSpeed)
			if err != nil { // of a level that does not exist
				panic(err)
			}
			return w
		}},
		readers: sync.Pool{New: func() any { return flate.NewReader(nil) }},
	}
}

// pack appends what plain is compressed.
func (p *packer) pack(to, plain []byte) ([]byte, error) {
	out := bytes.NewBuffer(to)
	w := p.writers.Get().(*flate.Writer)
	defer p.writers.Put(w)
	w.Reset(out)
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return out.Bytes(), nil
}

// unpack returns what pack was given.
func (p *packer) unpack(data []byte) ([]byte, error) {
	r := p.readers.Get().(io.ReadCloser)
	defer p.readers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(data), nil); err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxValue+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(plain) > maxValue {
		return nil, fmt.Errorf("unpack: larger than %d bytes", maxValue)
	}
	return plain, nil
}
