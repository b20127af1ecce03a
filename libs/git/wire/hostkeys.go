package wire

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// hostKeys are the SHA-256 fingerprints of the SSH keys that the large git hosts
// publish, as of 2026. A host that changes its keys is refused until this list
// or the Secret's known_hosts says otherwise.
var hostKeys = map[string][]string{
	// https://docs.github.com/authentication/keeping-your-account-and-data-secure/githubs-ssh-key-fingerprints
	"github.com":     github,
	"ssh.github.com": github,
	// https://docs.gitlab.com/user/gitlab_com/#ssh-host-keys-fingerprints
	"gitlab.com":        gitlab,
	"altssh.gitlab.com": gitlab,
	// https://support.atlassian.com/bitbucket-cloud/docs/configure-ssh-and-two-step-verification/
	"bitbucket.org": {
		"SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM", // Ed25519
		"SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0", // ECDSA
		"SHA256:46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E", // RSA
	},
	// https://learn.microsoft.com/azure/devops/repos/git/use-ssh-keys-to-authenticate
	"ssh.dev.azure.com":       azure,
	"vs-ssh.visualstudio.com": azure,
	// https://docs.codeberg.org/security/ssh-fingerprint/
	"codeberg.org": {
		"SHA256:mIlxA9k46MmM6qdJOdMnAQpzGxF4WIVVL+fj+wZbw0g", // Ed25519
		"SHA256:T9FYDEHELhVkulEKKwge5aVhVTbqCW0MIRwAfpARs/E", // ECDSA
		"SHA256:6QQmYi4ppFS4/+zSZ5S4IU+4sa6rwvQ4PbhCtPEBekQ", // RSA
	},
}

var (
	github = []string{
		"SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU", // Ed25519
		"SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM", // ECDSA
		"SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s", // RSA
	}
	gitlab = []string{
		"SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8", // Ed25519
		"SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw", // ECDSA
		"SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ", // RSA
	}
	azure = []string{
		"SHA256:ohD8VZEXGWo6Ez8GSEJQ9WpafgLFsOfLOtGGQCQo6Og", // RSA
	}
)

// HasHostKeys reports whether the keys of the host are built in.
func HasHostKeys(u *url.URL) bool {
	_, ok := hostKeys[strings.ToLower(u.Hostname())]
	return ok
}

// checkBuiltIn accepts the built-in keys of one host, whatever its port.
func checkBuiltIn(u *url.URL, key ssh.PublicKey) error {
	host := strings.ToLower(u.Hostname())
	if fingerprint := ssh.FingerprintSHA256(key); !slices.Contains(hostKeys[host], fingerprint) {
		return fmt.Errorf("%w: the %s key %s of host %q is none that the host has published", ErrHostKey, key.Type(), fingerprint, host)
	}
	return nil
}
