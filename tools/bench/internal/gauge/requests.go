package gauge

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strings"

	"k8s.io/client-go/rest"
)

// Request is a kind of request to the API server, in the words of its metrics.
type Request struct {
	Verb     string // GET, LIST, APPLY, PATCH, ...
	Resource string // with the subresource: kustomizations/status
}

// String is verb and resource.
func (r Request) String() string { return r.Verb + " " + r.Resource }

// MarshalText is String, for keys of JSON objects.
func (r Request) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Requests are numbers of requests by kind.
type Requests map[Request]float64

// Total is the number of all requests.
func (r Requests) Total() float64 {
	var total float64
	for _, n := range r {
		total += n
	}
	return total
}

// Top are the kinds, most frequent first.
func (r Requests) Top() []Request {
	kinds := make([]Request, 0, len(r))
	for kind := range r {
		kinds = append(kinds, kind)
	}
	sort.Slice(kinds, func(i, j int) bool {
		if r[kinds[i]] != r[kinds[j]] {
			return r[kinds[i]] > r[kinds[j]]
		}
		return kinds[i].String() < kinds[j].String()
	})
	return kinds
}

func (r Requests) minus(other Requests) Requests {
	diff := Requests{}
	for kind, n := range r {
		if n -= other[kind]; n != 0 {
			diff[kind] = n
		}
	}
	return diff
}

// ofTheServer are resources that only the API server itself asks for here, and does so also when it is alone: leases of its identity,
// the addresses that it gives to Services, and the list of its own schemas, every five seconds.
var ofTheServer = map[string]bool{"leases": true, "ipaddresses": true, "servicecidrs": true, "/openapi/v3": true}

// served returns the requests that the API server has answered since its start, without watches and its own.
func served(ctx context.Context, api rest.Interface) (Requests, error) {
	const name = "apiserver_request_total"
	text, err := api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read metrics of the API server: %w", err)
	}
	samples, err := parse(bytes.NewReader(text), name)
	if err != nil {
		return nil, fmt.Errorf("read metrics of the API server: %w", err)
	}
	all := Requests{}
	for _, s := range samples {
		verb, resource := s.labels["verb"], s.labels["resource"]
		if sub := s.labels["subresource"]; sub != "" {
			resource += "/" + strings.TrimPrefix(sub, "/")
		}
		if verb != "WATCH" && !ofTheServer[resource] {
			all[Request{verb, resource}] += s.value
		}
	}
	return all, nil
}
