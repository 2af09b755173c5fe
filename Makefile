# Short names for a developer's day; CONTRIBUTING.md explains them. The gate is scripts/test.sh.
.PHONY: help build unit one lint test vuln

KERNEL ?= 6.12
PKG ?= ./dm/... ./blockdev/... ./catalog ./resync ./vds ./size

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## the static binary, bin/plexctl
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/plexctl ./cmd/plexctl

unit: ## unit tests of some packages: make unit PKG=./resync/...
	go test $(PKG)

one: ## tests on one real kernel: make one RUN='^TestScan$$' KERNEL=6.1
	scripts/test.sh --kernel $(KERNEL) --run '$(RUN)'

lint: ## golangci-lint and shellcheck
	scripts/test.sh --tier lint

test: ## the whole gate
	scripts/test.sh

vuln: ## known vulnerabilities in what the binary calls; needs the network
	go build -C tools -o $(CURDIR)/bin/ golang.org/x/vuln/cmd/govulncheck
	bin/govulncheck ./...
