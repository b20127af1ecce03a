package demo

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// step is one commit of the demo, and what it must do to the cluster.
type step struct {
	title string // of the commit
	edits []edit
	wants []want
	// tag is that of an image that is pushed instead, for Sluice to make the commit; empty for none.
	tag string
	// refused says that the commit must not reach the cluster.
	refused bool
}

// want is an object in the API server as a commit wants it.
type want struct {
	object ref
	what   string                                  // in words; may be empty
	holds  func(o *unstructured.Unstructured) bool // o is nil when there is no such object
}

var (
	stagingWeb    = ref{"Deployment", "shop-staging", "web"}
	productionWeb = ref{"Deployment", "shop-production", "web"}
	frontend      = ref{"Deployment", "guestbook", "frontend"}
	cache         = ref{"Deployment", "guestbook", "cache"}
	cacheService  = ref{"Service", "guestbook", "cache"}
	page          = ref{"ConfigMap", "status-page", "page"}
	statusPage    = ref{"Deployment", "status-page", "status-page"}
	guestbook     = ref{"Kustomization", namespace, "guestbook"}
)

// steps are the commits of the demo in their order. name is that of the followed image with a tag.
func steps(name func(tag string) string) []step {
	return []step{
		{
			title: "shop: nginx 1.29.0 in staging",
			edits: []edit{{file: "shop/staging/kustomization.yaml", from: "newTag: 1.28.0", to: "newTag: 1.29.0"}},
			wants: []want{image(stagingWeb, "nginx:1.29.0")},
		},
		{
			title: "shop: more memory, in the base of both overlays",
			edits: []edit{{file: "shop/base/deployment.yaml", from: "memory: 64Mi", to: "memory: 96Mi"}},
			wants: []want{memory(stagingWeb, "96Mi"), memory(productionWeb, "96Mi")},
		},
		{
			title: "guestbook: three frontends",
			edits: []edit{{file: "guestbook/frontend.yaml", from: "replicas: 2", to: "replicas: 3"}},
			wants: []want{replicas(frontend, 3)},
		},
		{
			title: "guestbook: add a cache",
			edits: []edit{{file: "guestbook/cache.yaml", add: "cache.yaml"}},
			wants: []want{there(cache), there(cacheService)},
		},
		{
			title: "shop: nginx 1.29.0 in production",
			edits: []edit{{file: "shop/production/kustomization.yaml", from: "newTag: 1.28.0", to: "newTag: 1.29.0"}},
			wants: []want{image(productionWeb, "nginx:1.29.0")},
		},
		{
			title: "status-page: announce maintenance",
			edits: []edit{{file: "status-page/page.yaml", from: "notice: All systems work.", to: "notice: Maintenance of ${cluster} tonight."}},
			wants: []want{data(page, "notice", "Maintenance of the demo cluster tonight.")},
		},
		{
			title: "guestbook: remove the cache",
			edits: []edit{{file: "guestbook/cache.yaml", remove: true}},
			wants: []want{gone(cache), gone(cacheService)},
		},
		{
			title:   "guestbook: four frontends, with a slip of the indentation",
			edits:   []edit{{file: "guestbook/frontend.yaml", from: "\n  replicas: 3", to: "\n   replicas: 4"}},
			wants:   []want{notReady(guestbook, "guestbook/frontend.yaml")},
			refused: true,
		},
		{
			title: "guestbook: mend the indentation",
			edits: []edit{{file: "guestbook/frontend.yaml", from: "\n   replicas: 4", to: "\n  replicas: 4"}},
			wants: []want{replicas(frontend, 4)},
		},
		{
			title: "shop: back to nginx 1.28.0 in production",
			edits: []edit{{file: "shop/production/kustomization.yaml", from: "newTag: 1.29.0", to: "newTag: 1.28.0"}},
			wants: []want{image(productionWeb, "nginx:1.28.0")},
		},
		{
			title: "status-page: image 1.1.0, pushed to the registry",
			tag:   "1.1.0",
			wants: []want{image(statusPage, name("1.1.0"))},
		},
	}
}
