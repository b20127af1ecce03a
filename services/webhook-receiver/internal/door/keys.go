package door

import (
	"bytes"
	"fmt"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/verify"
)

// Names of keys in Secrets: that of the key, that of the one before it, and what tokens of Google must be of and for.
const (
	KeyToken    = "token"
	KeyPrevious = "token.previous"
	keyEmail    = "email"
	keyAudience = "audience"
)

// ReadKeys reads the Secret of a Receiver. An empty key would let everybody in, and is none.
func ReadKeys(kind string, data map[string][]byte) (verify.Keys, error) {
	keys := verify.Keys{Token: data[KeyToken], Previous: data[KeyPrevious], Email: string(data[keyEmail]), Audience: string(data[keyAudience])}
	switch {
	case len(keys.Token) == 0:
		return keys, fmt.Errorf("it has no key %s, or an empty one", KeyToken)
	case kind == receiverv1.GCRReceiver && (keys.Email == "" || keys.Audience == ""):
		return keys, fmt.Errorf("type gcr needs the keys %s and %s, too", keyEmail, keyAudience)
	}
	return keys, nil
}

// ForReceiver makes the doors of a Receiver, by path: one for its token, and while that is changed one for the token before.
func ForReceiver(r *receiverv1.Receiver, rules *Rules, keys verify.Keys) map[string]*Door {
	d := &Door{
		Receiver: types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, Identity: string(r.UID), Type: r.Spec.Type, Keys: keys, rules: rules,
	}
	if r.Spec.Suspend {
		d.Closed = "suspended"
	}
	doors := map[string]*Door{Path(r, keys.Token): d}
	if len(keys.Previous) > 0 {
		doors[Path(r, keys.Previous)] = d
	}
	return doors
}

// ownTypes are those that the installation has addresses for. Calls of the others name no repository or image that could be followed, or need
// settings that only a Receiver has.
var ownTypes = []string{
	receiverv1.GenericReceiver, receiverv1.GenericHMACReceiver, receiverv1.GitHubReceiver, "gitea", "forgejo", receiverv1.GitLabReceiver,
	receiverv1.BitbucketReceiver, receiverv1.HarborReceiver, receiverv1.DockerHubReceiver, receiverv1.QuayReceiver, receiverv1.GCRReceiver,
	receiverv1.ACRReceiver, receiverv1.CDEventsReceiver,
}

// ForInstallation makes the doors of the installation, by path, for the types that have a key: under the type's name, or token for all that
// have none of their own; with .previous for the key before. A file may end in a newline.
func ForInstallation(data map[string][]byte) map[string]*Door {
	get := func(name string) []byte { return bytes.TrimRight(data[name], "\r\n") }
	doors := map[string]*Door{}
	for _, kind := range ownTypes {
		name := kind
		if len(get(name)) == 0 {
			name = KeyToken
		}
		keys := verify.Keys{
			Token: get(name), Previous: get(name + ".previous"), Email: string(get(kind + ".email")), Audience: string(get(kind + ".audience")),
		}
		if len(keys.Token) == 0 || kind == receiverv1.GCRReceiver && (keys.Email == "" || keys.Audience == "") {
			continue
		}
		d := &Door{Identity: "own", Type: kind, Keys: keys, rules: &Rules{}}
		doors[ownPath(kind, keys.Token)] = d
		if len(keys.Previous) > 0 {
			doors[ownPath(kind, keys.Previous)] = d
		}
	}
	return doors
}
