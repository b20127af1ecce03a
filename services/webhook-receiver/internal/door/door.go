// Package door holds what calls are judged by: one door per address that hosts may call, made of a Receiver and its Secret, or of the keys of the
// installation. It reads no HTTP and wakes nobody.
package door

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/expression"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/verify"
)

// Root is what every address begins with.
const Root = receiverv1.ReceiverWebhookPath

// AnnotationSources is that of a Receiver by which it takes calls from some networks alone.
const AnnotationSources = kube.AnnotationPrefix + "allow-sources"

// Door is one address that hosts may call.
type Door struct {
	// Receiver is the object behind it; the zero name for the installation's own addresses.
	Receiver types.NamespacedName
	// Identity tells doors apart also when one Receiver follows another under the same name.
	Identity string
	Type     string
	Keys     verify.Keys
	// Closed is why no call is let in now, for the log; empty where they are.
	Closed string

	rules *Rules
}

// Rules is what a Receiver's spec and annotations say, prepared. The zero value lets everything in and wakes nothing.
type Rules struct {
	events    []string
	sources   []netip.Prefix
	providers map[string]*provider
	Resources []Resource
}

// Resource is one entry of spec.resources.
type Resource struct {
	Kind, APIVersion, Namespace, Name string
	Labels                            map[string]string
	filters                           []*expression.Expression
}

// provider is one of spec.oidcProviders.
type provider struct {
	audience    string
	variables   []variable
	validations []validation
}

type variable struct {
	name  string
	value *expression.Expression
}

type validation struct {
	message string
	holds   *expression.Expression
}

// Error is a fault of a Receiver: nothing changes before its spec or annotations do.
type Error struct {
	Reason string
	error
}

func (e *Error) Unwrap() error { return e.error }

// Read prepares what a Receiver says. An error is an *Error.
func Read(r *receiverv1.Receiver, noCrossNamespaceRefs bool) (*Rules, error) {
	rules := &Rules{events: r.Spec.Events}
	var err error
	if rules.sources, err = Networks(r.Annotations[AnnotationSources]); err != nil {
		return nil, &Error{receiverv1.ValidationFailedReason, fmt.Errorf("annotation %s: %w", AnnotationSources, err)}
	}
	if err := checkProof(r); err != nil {
		return nil, &Error{receiverv1.ValidationFailedReason, err}
	}
	if rules.providers, err = readProviders(r.Spec.OIDCProviders); err != nil {
		return nil, err
	}
	for i, resource := range r.Spec.Resources {
		read, err := readResource(r, resource, noCrossNamespaceRefs)
		if err != nil {
			return nil, fmt.Errorf("spec.resources[%d]: %w", i, err)
		}
		rules.Resources = append(rules.Resources, *read)
	}
	return rules, nil
}

// checkProof looks for what the schema asks for, too: other installations of it may be older.
func checkProof(r *receiverv1.Receiver) error {
	issued := r.Spec.Type == receiverv1.GenericOIDCReceiver
	switch {
	case issued && len(r.Spec.OIDCProviders) == 0:
		return errors.New("spec.oidcProviders: type generic-oidc needs one")
	case !issued && len(r.Spec.OIDCProviders) > 0:
		return errors.New("spec.oidcProviders: is for type generic-oidc alone")
	case issued && r.Spec.SecretRef != nil:
		return errors.New("spec.secretRef: type generic-oidc has none")
	case !issued && r.Spec.SecretRef == nil:
		return errors.New("spec.secretRef: is missing")
	}
	return nil
}

// apiVersions are those of kinds where an entry names none.
var apiVersions = map[string]string{
	"Bucket": "source.toolkit.fluxcd.io/v1", "HelmChart": "source.toolkit.fluxcd.io/v1", "HelmRepository": "source.toolkit.fluxcd.io/v1",
	"GitRepository": "source.toolkit.fluxcd.io/v1", "OCIRepository": "source.toolkit.fluxcd.io/v1", "ExternalArtifact": "source.toolkit.fluxcd.io/v1",
	"ImageRepository": "image.toolkit.fluxcd.io/v1", "ImagePolicy": "image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation": "image.toolkit.fluxcd.io/v1",
	"Kustomization": "kustomize.toolkit.fluxcd.io/v1", "HelmRelease": "helm.toolkit.fluxcd.io/v2", "ArtifactGenerator": "source.extensions.fluxcd.io/v1beta1",
}

func readResource(r *receiverv1.Receiver, from receiverv1.ReceiverResource, noCrossNamespaceRefs bool) (*Resource, error) {
	to := &Resource{Kind: from.Kind, APIVersion: from.APIVersion, Namespace: from.Namespace, Name: from.Name, Labels: from.MatchLabels}
	if to.Namespace == "" {
		to.Namespace = r.Namespace
	}
	if to.APIVersion == "" {
		to.APIVersion = apiVersions[to.Kind]
	}
	switch {
	case noCrossNamespaceRefs && to.Namespace != r.Namespace:
		return nil, &Error{acl.AccessDeniedReason, fmt.Errorf("%s %s/%s cannot be referred to: references between namespaces are not allowed", to.Kind, to.Namespace, to.Name)}
	case to.APIVersion == "":
		return nil, &Error{receiverv1.ValidationFailedReason, fmt.Errorf("%s needs an apiVersion", to.Kind)}
	case to.Name == "*" && len(to.Labels) == 0:
		return nil, &Error{receiverv1.ValidationFailedReason, fmt.Errorf("the name * needs matchLabels")}
	}
	variables := []string{"res", "req"}
	if r.Spec.Type == receiverv1.GenericOIDCReceiver {
		variables = append(variables, "claims")
	}
	for _, text := range []string{r.Spec.ResourceFilter, from.Filter} {
		if text == "" {
			continue
		}
		filter, err := expression.CompileSmall(text, variables...)
		if err != nil {
			return nil, &Error{meta.InvalidCELExpressionReason, fmt.Errorf("filter: %w", err)}
		}
		to.filters = append(to.filters, filter)
	}
	return to, nil
}

// Networks reads networks, separated by commas or spaces; a lone address is a network of one.
func Networks(text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		prefix, err := netip.ParsePrefix(field)
		if err != nil {
			address, err := netip.ParseAddr(field)
			if err != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", field)
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		list = append(list, prefix.Masked())
	}
	return list, nil
}

// Admits says whether calls may come from an address.
func (d *Door) Admits(from netip.Addr) bool { return In(d.rules.sources, from) }

// In says whether an address is in one of some networks; every one is where there are none.
func In(networks []netip.Prefix, a netip.Addr) bool {
	return len(networks) == 0 || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// Wants says whether an event counts.
func (d *Door) Wants(event string) bool {
	return len(d.rules.events) == 0 || slices.ContainsFunc(d.rules.events, func(e string) bool { return strings.EqualFold(e, event) })
}

// IsOwn says whether the address is the installation's, behind which there is no Receiver.
func (d *Door) IsOwn() bool { return d.Receiver.Name == "" }

// Resources are the entries of spec.resources.
func (d *Door) Resources() []Resource { return d.rules.Resources }

// Methods says whether a call may be made by a method.
func (d *Door) Methods(method string) bool {
	return method == "POST" || d.Type == receiverv1.GenericReceiver && (method == "GET" || method == "PUT")
}

// Filtered says whether expressions decide about an entry.
func (r *Resource) Filtered() bool { return len(r.filters) > 0 }

// Takes says whether all expressions are true for an object.
func (r *Resource) Takes(ctx context.Context, variables map[string]any) (bool, error) {
	for _, filter := range r.filters {
		yes, err := filter.Bool(ctx, variables)
		if err != nil || !yes {
			return false, err
		}
	}
	return true, nil
}

// Path is the address of a Receiver with a token, as Flux computes it.
func Path(r *receiverv1.Receiver, token []byte) string { return r.GetWebhookPath(string(token)) }

// ownPath is the address of the installation for a type; where nothing signs calls, a digest of the key is in it.
func ownPath(kind string, key []byte) string {
	if verify.Proof(kind) != verify.ByPath {
		return Root + kind
	}
	sum := sha256.Sum256(key)
	return Root + kind + "/" + hex.EncodeToString(sum[:])
}
