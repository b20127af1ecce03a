# All that is done to this repository by hand or by a machine. `make` lists it.
#
# The workspace (go.work) holds the product and its tests. Outside it are three
# modules whose dependencies must not reach the product: tools/dev, the tools of
# this file, tools/controlplane, the Kubernetes servers that tests run on, and
# tools/registry, the registry that a benchmark scans.

SHELL := bash
.SHELLFLAGS := -o errexit -o nounset -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# No version control stamps: they would need the history of the repository, and
# the version is linked in below.
export GOFLAGS ?= -buildvcs=false

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Without its debug pages gRPC takes no templates into a program, which keep every method of every type in it: a third of its size.
TAGS := grpcnotrace
LDFLAGS := -s -w -X github.com/sluice-cd/sluice/libs/version.Version=$(VERSION)

SERVICES := git-watcher manifest-renderer applier registry-scanner image-updater webhook-receiver notifier
COMMANDS := sluice sluice-bus
PROGRAMS := $(addprefix bin/,$(COMMANDS) $(SERVICES))
MODULES := $(patsubst %/go.mod,%,$(shell git ls-files '*go.mod'))
WORKSPACE_GO := $(shell sed -n "s/^go //p" go.work)

# Tools are built into the cache, which costs nothing when they are up to date.
TOOLS := $(CURDIR)/.cache/tools
BUF   := $(TOOLS)/buf

# A test that starts servers waits for them when the machine is slow.
TEST_TIMEOUT ?= 15m
E2E_TIMEOUT  ?= 25m
# Stories of e2e bring a whole installation each: one at a time.
E2E_PARALLEL ?= 1
TEST_FLAGS   ?=
BENCH_FLAGS  ?=
CHAOS_FLAGS  ?=
# The race detector needs a C compiler; without one the tests run without it.
RACE         ?= $(if $(shell command -v $(CC) 2>/dev/null),-race)

##@ Every day

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: $(PROGRAMS) ## Build the command line and all services into bin/

.PHONY: $(PROGRAMS)
$(addprefix bin/,$(COMMANDS)): bin/%:
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@ ./tools/cmd/$*
$(addprefix bin/,$(SERVICES)): bin/%:
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@ ./services/$*/cmd/$*

.PHONY: demo
demo: ## Show Sluice at work on this machine; needs only Go, git and make
	@echo "Building Sluice and its services; the first time this takes some minutes."
	@$(MAKE) --no-print-directory build
	@bin/sluice demo

.PHONY: bench
bench: ## Measure how fast pushes become cluster state; BENCH_FLAGS='-apps 500 -o docs/bench.md'
	$(GO) run ./tools/bench $(BENCH_FLAGS)

.PHONY: bench-images
bench-images: ## Measure scans of images and their way to a commit; BENCH_FLAGS='-images 10000'
	$(GO) run ./tools/bench/images $(BENCH_FLAGS)

.PHONY: bench-webhooks
bench-webhooks: ## Measure calls of hosts and what a killed bus loses; BENCH_FLAGS='-rate 3000'
	$(GO) run ./tools/bench/webhooks $(BENCH_FLAGS)

.PHONY: bench-notify
bench-notify: ## Measure what it takes to tell of a commit that touches 1,000 applications; BENCH_FLAGS='-apps 500'
	$(GO) run ./tools/bench/notify $(BENCH_FLAGS)

.PHONY: chaos
chaos: controlplane ## Break everything at random under load; CHAOS_FLAGS='-seed 7 -minutes 30 -report chaos.md'
	$(GO) test ./e2e/chaos -v -count=1 -timeout 0 -args $(CHAOS_FLAGS)

##@ Before a push

.PHONY: test
test: test-unit test-tools test-e2e ## Run all tests, with the race detector where a C compiler is

.PHONY: test-unit
test-unit: controlplane ## Run the tests of all modules but e2e
	$(GO) test $(RACE) -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) $$($(GO) list work | grep -v '/sluice/e2e')

.PHONY: test-tools
test-tools: ## Run the tests of the tools in tools/dev
	GOWORK=off $(GO) -C tools/dev test $(RACE) -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) ./...

.PHONY: test-e2e
test-e2e: controlplane ## Run the user stories of e2e
	$(GO) test $(RACE) -timeout $(E2E_TIMEOUT) -p $(E2E_PARALLEL) $(TEST_FLAGS) ./e2e/...

.PHONY: controlplane
controlplane: ## Build the Kubernetes servers for the tests, once: minutes at first
	$(GO) run ./tools/cmd/controlplane build

.PHONY: check
check: check-format check-tidy check-generated check-proto check-vet check-static ## Check format, modules, generated files and code

.PHONY: check-format
check-format: # gofmt has nothing to say
	@files=$$(gofmt -l .); \
	if [ -n "$$files" ]; then echo "not formatted, run gofmt -w on:"; echo "$$files"; exit 1; fi

.PHONY: check-tidy
check-tidy: # go mod tidy would change nothing, and no module asks for another Go than the workspace
	@failed=; \
	for module in $(MODULES); do \
	  GOWORK=off $(GO) -C $$module mod tidy -diff >/dev/null || failed="$$failed $$module"; \
	done; \
	if [ -n "$$failed" ]; then echo "not tidy, run make tidy:$$failed"; exit 1; fi
	@$(GO) list -m -f "{{if ne .GoVersion \"$(WORKSPACE_GO)\"}}{{.Path}} asks for Go {{.GoVersion}}, go.work for $(WORKSPACE_GO){{end}}" | \
	{ ! grep . ; }

.PHONY: check-proto
check-proto: $(BUF) # the wire types keep their style and break nobody
	cd proto && $(BUF) lint && $(BUF) breaking --against baseline.json

.PHONY: check-generated
check-generated: # generating again would change nothing
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(MAKE) --no-print-directory generate-into DEST="$$dir"; \
	diff -ru --exclude=doc.go "$$dir/proto/facts" proto/facts && \
	diff -ru --exclude=doc.go "$$dir/proto/hints" proto/hints && \
	diff -u "$$dir/proto/baseline.json" proto/baseline.json && \
	diff -ru --exclude='*.go' --exclude=overlay --exclude=testdata "$$dir/deploy/crds" deploy/crds || \
	{ echo "generated files are not up to date, run make generate"; exit 1; }

.PHONY: check-vet
check-vet: # go vet has nothing to say
	$(GO) vet work
	GOWORK=off $(GO) -C tools/dev vet ./...

.PHONY: check-static
check-static: $(TOOLS)/staticcheck # staticcheck has nothing to say
	$(TOOLS)/staticcheck work
	cd tools/dev && GOWORK=off $(TOOLS)/staticcheck ./...

##@ Now and then

.PHONY: generate
generate: ## Write the generated files anew
	@$(MAKE) --no-print-directory generate-into DEST=.

# The baseline holds the wire types that were ever told to anybody: a change that
# breaks them is refused here, before it can become the baseline.
.PHONY: generate-into
generate-into: $(BUF) $(TOOLS)/crdgen
	@mkdir -p $(DEST)/proto $(DEST)/deploy/crds
	@dest=$$(cd $(DEST) && pwd); cd proto; \
	if [ -f baseline.json ]; then $(BUF) breaking --against baseline.json; fi; \
	GOWORK=off $(BUF) generate -o "$$dest/proto"; \
	$(BUF) build --exclude-source-info -o "$$dest/proto/baseline.json"
	@GOWORK=off $(TOOLS)/crdgen -deploy deploy -out $(DEST)/deploy/crds

.PHONY: tidy
tidy: ## Run go mod tidy in every module
	@for module in $(MODULES); do echo $$module; GOWORK=off $(GO) -C $$module mod tidy; done

.PHONY: clean
clean: ## Remove what was built here; the Kubernetes servers stay in the user's cache
	rm -rf bin .cache .demo

.PHONY: $(BUF) $(TOOLS)/staticcheck $(TOOLS)/crdgen
$(BUF):
	@GOWORK=off $(GO) -C tools/dev build -o $@ github.com/bufbuild/buf/cmd/buf
$(TOOLS)/staticcheck:
	@GOWORK=off $(GO) -C tools/dev build -o $@ honnef.co/go/tools/cmd/staticcheck
$(TOOLS)/crdgen:
	@GOWORK=off $(GO) -C tools/dev build -o $@ ./crdgen
