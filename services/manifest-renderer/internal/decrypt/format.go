package decrypt

import (
	"bytes"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"
)

// Format is how an encrypted or a decrypted file is written.
type Format int

// The formats that SOPS has.
const (
	Binary Format = iota // anything, encrypted as a JSON envelope
	Dotenv
	INI
	JSON
	YAML
)

var known = []struct {
	name string
	mark string // what every encrypted file of the format holds
}{
	Binary: {"binary", `"mac": "ENC[`},
	Dotenv: {"dotenv", "sops_mac=ENC["},
	INI:    {"INI", "[sops]"},
	JSON:   {"JSON", `"mac": "ENC[`},
	YAML:   {"YAML", "mac: ENC["},
}

func (f Format) String() string { return known[f].name }

func (f Format) store() sops.Store {
	switch f {
	case Dotenv:
		return dotenv.NewStore(&config.DotenvStoreConfig{})
	case INI:
		return ini.NewStore(&config.INIStoreConfig{})
	case JSON:
		return json.NewStore(&config.JSONStoreConfig{Indent: -1})
	case YAML:
		return yaml.NewStore(&config.YAMLStoreConfig{})
	}
	return json.NewBinaryStore(&config.JSONBinaryStoreConfig{Indent: -1})
}

// Marks reports whether data looks like an encrypted file of the format.
func (f Format) Marks(data []byte) bool { return bytes.Contains(data, []byte(known[f].mark)) }

// FormatOf is the format of a file by its name, or of an entry of a Secret by
// its key: binary for what no other is known.
func FormatOf(name string) Format {
	for suffix, f := range map[string]Format{
		".yaml": YAML, ".yml": YAML, ".json": JSON, ".dockerconfigjson": JSON, ".env": Dotenv, ".ini": INI,
	} {
		if strings.HasSuffix(name, suffix) {
			return f
		}
	}
	return Binary
}

// Detect finds the format of an encrypted file by its content.
func Detect(data []byte) (f Format, encrypted bool) {
	for _, f := range []Format{Dotenv, INI, JSON, YAML} {
		if f.Marks(data) {
			return f, true
		}
	}
	return Binary, false
}

// maxDepth bounds the nesting of JSON, which the library follows by recursion.
const maxDepth = 500

// check refuses what would cost the library too much. YAML is for the caller to
// check, who has seen it already.
func check(data []byte, f Format) error {
	if len(data) > MaxSize {
		return failed("it is %d bytes long, at most %d can be decrypted", len(data), MaxSize)
	}
	if (f == JSON || f == Binary) && depth(data) > maxDepth {
		return failed("it is nested too deep")
	}
	return nil
}

// depth is how deep JSON is nested.
func depth(data []byte) (deepest int) {
	at, inText := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			at++
			deepest = max(deepest, at)
		case c == '}' || c == ']':
			at--
		}
	}
	return deepest
}
