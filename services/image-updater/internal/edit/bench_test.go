package edit

import "testing"

// BenchmarkUpdate is one file with about ten marked values, edited and proven.
func BenchmarkUpdate(b *testing.B) {
	files := corpus(200)
	size := 0
	for _, f := range files {
		size += len(f.data)
	}
	b.SetBytes(int64(size / len(files)))
	for i := 0; b.Loop(); i++ {
		if _, err := Update("f.yaml", files[i%len(files)].data, chosen); err != nil {
			b.Fatal(err)
		}
	}
}
