package provider

import (
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"
	"sigs.k8s.io/yaml"
)

// headers is the Secret's key headers: a YAML map of text.
func (s Settings) headers() (map[string]string, error) {
	found := map[string]string{}
	if err := yaml.Unmarshal(s.Secret["headers"], &found); err != nil { // which may show values
		return nil, fmt.Errorf("%w: key headers of the Secret is no YAML map of text to text", ErrSettings)
	}
	return found, nil
}

// httpHeader is headers for requests.
func (s Settings) httpHeader() (http.Header, error) {
	found, err := s.headers()
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for name, value := range found {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%w: key headers of the Secret has a name or value that HTTP does not allow", ErrSettings)
		}
		header.Set(name, value)
	}
	return header, nil
}
