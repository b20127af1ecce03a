package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// DockerConfig holds logins by registry, as `docker login` and `kubectl create secret docker-registry` write them.
type DockerConfig struct{ auths map[string]dockerAuth }

type dockerAuth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// DockerConfigFromSecret reads the data of a Secret of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg.
func DockerConfigFromSecret(data map[string][]byte) (*DockerConfig, error) {
	var auths map[string]dockerAuth
	switch {
	case data[".dockerconfigjson"] != nil:
		var file struct {
			Auths map[string]dockerAuth `json:"auths"`
		}
		if json.Unmarshal(data[".dockerconfigjson"], &file) != nil { // the error may quote a secret
			return nil, errors.New("'.dockerconfigjson' is no Docker config")
		}
		auths = file.Auths
	case data[".dockercfg"] != nil:
		if json.Unmarshal(data[".dockercfg"], &auths) != nil {
			return nil, errors.New("'.dockercfg' is no Docker config")
		}
	default:
		return nil, errors.New("it has neither '.dockerconfigjson' nor '.dockercfg'")
	}
	return &DockerConfig{auths}, nil
}

// Find returns the login for an image, that of the longest matching key; nil where there is none.
func (c *DockerConfig) Find(i Image) (Credential, error) {
	best, found := -1, ""
	for key := range c.auths {
		if n := match(key, i); n > best || n == best && n >= 0 && key < found {
			best, found = n, key
		}
	}
	if best < 0 {
		return nil, nil
	}
	login, err := c.auths[found].login()
	if err != nil {
		return nil, fmt.Errorf("login for %q: %w", found, err)
	}
	if login.empty() {
		return nil, nil
	}
	return NewStatic(login), nil
}

func (a dockerAuth) login() (Login, error) {
	l := Login{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	if a.Auth == "" || l.Username != "" {
		return l, nil
	}
	plain, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		plain, err = base64.RawStdEncoding.DecodeString(a.Auth)
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return Login{}, errors.New("'auth' is not user:password in base64")
	}
	l.Username, l.Password = user, strings.TrimRight(password, "\x00")
	return l, nil
}

// match says how well a key fits an image: the length of the path that both share, -1 for not at all.
func match(key string, i Image) int {
	_, rest, found := strings.Cut(key, "://")
	if !found {
		rest = key
	}
	host, prefix, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if prefix == "v1" || prefix == "v2" {
		prefix = ""
	}
	if ok, err := path.Match(dockerHub(host), dockerHub(i.Host())); err != nil || !ok {
		return -1
	}
	if prefix != "" && i.Path() != prefix && !strings.HasPrefix(i.Path(), prefix+"/") {
		return -1
	}
	return len(prefix)
}

// dockerHub makes one name of those that Docker Hub has.
func dockerHub(host string) string {
	switch host {
	case "docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return "index.docker.io"
	}
	return host
}

// static is a login that does not change.
type static struct {
	login Login
	id    string
}

// NewStatic makes a credential of a login.
func NewStatic(l Login) Credential {
	text, err := json.Marshal([]string{l.Username, l.Password, l.IdentityToken, l.RegistryToken})
	if err != nil { // strings alone
		panic(err)
	}
	sum := sha256.Sum256(append([]byte("sluice registry login\x00"), text...))
	return &static{login: l, id: hex.EncodeToString(sum[:])}
}

// ID is a digest of the login; as passwords may be weak, it is kept in this process, and published by nobody but under a key.
func (s *static) ID() string { return s.id }

func (s *static) Login(context.Context) (Login, error) { return s.login, nil }
