package imagecache

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// KeySize is the least size of the key in bytes.
const KeySize = 32

const (
	prefix      = "sluice:1:"
	codeVersion = 1
	headerSize  = 1 + sha256.Size
)

var (
	errForeign = errors.New("not written with our key, or changed since")
	errVersion = errors.New("written in another version's format")
)

// codec names keys, and makes and checks values.
type codec struct {
	names, values []byte
	packer        *packer
}

func newCodec(key []byte) (*codec, error) {
	if len(key) < KeySize {
		return nil, fmt.Errorf("cache key has %d bytes, want at least %d", len(key), KeySize)
	}
	names, err := hkdf.Key(sha256.New, key, nil, "sluice image cache names", 32)
	if err != nil {
		return nil, fmt.Errorf("derive name key: %w", err)
	}
	values, err := hkdf.Key(sha256.New, key, nil, "sluice image cache values", 32)
	if err != nil {
		return nil, fmt.Errorf("derive value key: %w", err)
	}
	return &codec{names: names, values: values, packer: newPacker()}, nil
}

// id is a name for parts that tells nothing of them. The braces of the key make what belongs together stay together in a cluster.
func (c *codec) id(parts ...string) string {
	mac := hmac.New(sha256.New, c.names)
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

func (c *codec) key(kind string, parts ...string) string {
	return prefix + kind + ":{" + c.id(parts...) + "}"
}

// seal encodes v for a place: a key, or a key and a field.
func (c *codec) seal(place string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	data, err := c.packer.pack(make([]byte, headerSize, headerSize+len(plain)/2), plain)
	if err != nil {
		return nil, err
	}
	data[0] = codeVersion
	copy(data[1:], c.mac(place, data[headerSize:]))
	return data, nil
}

// open checks and decodes what seal made for the same place.
func (c *codec) open(place string, data []byte, v any) error {
	if len(data) < headerSize {
		return errForeign
	}
	if data[0] != codeVersion {
		return errVersion
	}
	if !hmac.Equal(data[1:headerSize], c.mac(place, data[headerSize:])) {
		return errForeign
	}
	plain, err := c.packer.unpack(data[headerSize:])
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, v)
}

func (c *codec) mac(place string, payload []byte) []byte {
	mac := hmac.New(sha256.New, c.values)
	fmt.Fprintf(mac, "%d:%d:%s", codeVersion, len(place), place)
	mac.Write(payload)
	return mac.Sum(nil)
}
