package registry

import "testing"

func TestCountsPulls(t *testing.T) {
	for address, want := range map[string]bool{
		"alpine": true, "docker.io/org/app": true, "registry-1.docker.io/org/app": true, "ghcr.io/org/app": false, "docker.io.example.com/app": false,
	} {
		image, err := ParseImage(address)
		if err != nil {
			t.Fatal(err)
		}
		if image.countsPulls() != want {
			t.Errorf("%s counts pulls: %t, want %t", address, !want, want)
		}
	}
}
