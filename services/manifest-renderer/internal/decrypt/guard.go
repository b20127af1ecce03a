package decrypt

import (
	"net"
	"net/http"
	"time"

	"github.com/sluice-cd/sluice/libs/guard"
)

// guardedClient connects to no address that only this machine reaches. The address of a Vault comes from an encrypted file, and so from
// whoever can write to the source.
func guardedClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: guard.Guard{}.Control}
	return &http.Client{Timeout: keyTime, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 10 * time.Second, DisableKeepAlives: true,
	}}
}
