package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Whatever stands in known_hosts, the key of a host is accepted only if its bytes stand there, too.
func FuzzKnownHosts(f *testing.F) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	private := ed25519.NewKeyFromSeed(seed)
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		f.Fatal(err)
	}
	key := signer.PublicKey()
	encoded := base64.StdEncoding.EncodeToString(key.Marshal())
	f.Add([]byte("git.example.com ssh-ed25519 " + encoded + "\n"))
	f.Add([]byte("@revoked * ssh-ed25519 " + encoded + "\n"))
	f.Add([]byte("@cert-authority * ssh-ed25519 " + encoded + "\n"))
	f.Add([]byte("|1|abc=|def= ssh-ed25519 " + encoded + "\n* ssh-rsa AAAA\n!git.example.com,* ssh-ed25519 " + encoded))
	f.Add([]byte("# comment\n\n[git.example.com]:22 ecdsa-sha2-nistp256 AAAA"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		if len(lines) == 0 {
			return // then the keys that are built in count
		}
		transport := &sshTransport{options: SSHOptions{URL: &url.URL{Scheme: "ssh", Host: "git.example.com"}, Signer: signer, KnownHosts: lines}}
		config, _, err := transport.config("git.example.com:22")
		if err != nil {
			if !regexp.MustCompile("^host key refused: known_hosts(: line [0-9]+)? cannot be read$").MatchString(err.Error()) {
				t.Fatalf("the error quotes the file: %q", err)
			}
			return
		}
		err = config.HostKeyCallback("git.example.com:22", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22}, key)
		if err == nil && !bytes.Contains(lines, []byte(encoded[:60])) {
			t.Fatalf("%q accepts a key that it does not hold", lines)
		}
	})
}

// Packets come out as they went in, and nothing that is none is taken for one.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("0009hello0000"))
	f.Add([]byte("0003"))
	f.Add([]byte("fff0"))
	f.Add([]byte("+009hello"))
	f.Add([]byte("0x09hello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		p := &packetReader{r: r}
		for {
			before := len(data) - r.Len()
			kind, body, err := p.next()
			if err != nil {
				if err == io.EOF {
					t.Fatal("an end in the middle of a conversation is taken for a good one")
				}
				return
			}
			again := new(message)
			switch kind {
			case dataPacket:
				again.printf("%s", body)
			case flushPacket:
				again.flush()
			case delimPacket:
				again.delim()
			default:
				again.WriteString("0002")
			}
			if took := data[before : len(data)-r.Len()]; !strings.EqualFold(string(took), again.String()) {
				t.Fatalf("%q was read as %q", took, again.String())
			}
		}
	})
}
