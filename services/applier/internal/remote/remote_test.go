package remote

import (
	"strings"
	"testing"
)

const good = `
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://example.com", CLUSTER}}]
users: [{name: u, user: {token: sesame, USER}}]
`

func kubeconfig(cluster, user string) []byte {
	return []byte(strings.NewReplacer(", CLUSTER", cluster, ", USER", user).Replace(good))
}

func TestConfig(t *testing.T) {
	c, err := Config(kubeconfig("", ""))
	if err != nil || c.Host != "https://example.com" || c.BearerToken != "sesame" {
		t.Fatalf("config %v, error %v", c, err)
	}
}

func TestConfigRefusesWhatReachesIntoThisMachine(t *testing.T) {
	for name, content := range map[string][]byte{
		"exec":                 kubeconfig("", `, exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [/tmp/x], interactiveMode: Never}`),
		"auth provider":        kubeconfig("", `, auth-provider: {name: gcp}`),
		"token by path":        kubeconfig("", `, tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token`),
		"client key by path":   kubeconfig("", `, client-key: /etc/passwd`),
		"client cert by path":  kubeconfig("", `, client-certificate: /etc/passwd`),
		"authority by path":    kubeconfig(`, certificate-authority: /etc/passwd`, ""),
		"no trust":             kubeconfig(`, insecure-skip-tls-verify: true`, ""),
		"no context":           []byte(strings.Replace(string(kubeconfig("", "")), "current-context: c", "", 1)),
		"no server":            []byte(strings.Replace(string(kubeconfig("", "")), `server: "https://example.com"`, "", 1)),
		"another user's name":  []byte(strings.Replace(string(kubeconfig("", "")), "user: u}", "user: x}", 1)),
		"no kubeconfig at all": []byte("sesame: [sesame"),
		"too large":            make([]byte, 2<<20),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Config(content)
			if err == nil {
				t.Fatalf("taken: %+v", c)
			}
			if strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "/etc") {
				t.Errorf("the error quotes the kubeconfig: %v", err)
			}
		})
	}
}

func TestPick(t *testing.T) {
	data := map[string][]byte{"value.yaml": []byte("a"), "mine": []byte("b")}
	if got, err := Pick(data, ""); err != nil || string(got) != "a" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := Pick(data, "mine"); err != nil || string(got) != "b" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Pick(data, "other"); err == nil {
		t.Error("a missing key was found")
	}
}
