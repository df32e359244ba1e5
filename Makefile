# The two that matter are demo and test; `make` lists the rest.

GO       ?= go
FUZZTIME ?= 10s
BENCH    ?= .

# go-nvml's C headers name functions that NVIDIA has since deprecated. Setting the
# variable replaces Go's own default, so that is repeated.
export CGO_CFLAGS ?= -O2 -g -Wno-deprecated-declarations
# Building needs no git: a clone may be an archive, or belong to another user.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help demo test matrix race bench sim fuzz lint check schema build release clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | awk -F '	' '{ printf "  make %-8s %s\n", $$1, $$2 }'

demo: ## run the whole network in about a minute; KEEP=1 leaves it running, FAULTS=15m SEED=7 lets things go wrong
	@$(GO) build -o bin/demo ./internal/demo
	@exec ./bin/demo $(if $(KEEP),-keep) $(if $(FAULTS),-faults $(FAULTS)) $(if $(SEED),-seed $(SEED)) $(if $(MULTISIG),-multisig)

test: ## run all tests
	$(GO) test -timeout 10m ./...

matrix: ## run every kind of transaction into every fault at every step; writes SETTLEMENT-MATRIX.md
	$(GO) test -c -o bin/settlement.test ./settlement
	@cd settlement && ../bin/settlement.test -test.run '^TestMatrix$$' -test.timeout 0 -matrix.report=../SETTLEMENT-MATRIX.md

race: ## run all tests under the race detector; needs a C compiler
	$(GO) test -race -timeout 30m ./...

bench: ## run the benchmarks; BENCH=regexp selects
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 30m ./...

sim: ## play networks under faults drawn from seeds; SEED=7 STEPS=200 one of them again, SEEDS=1000 many
	@$(GO) build -o bin/sim ./internal/sim
	@exec ./bin/sim $(if $(SEED),-seed $(SEED)) $(if $(SEEDS),-seeds $(SEEDS)) $(if $(STEPS),-steps $(STEPS)) $(if $(SHRINK),-shrink) $(if $(V),-v)

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@grep -rE --include='*_test.go' --exclude-dir=node_modules --exclude-dir=.demo '^func Fuzz[A-Z]' . \
	| sed -E 's|/[^/]*_test\.go:func (Fuzz[A-Za-z0-9_]*).*| \1|' | sort \
	| { rc=0; while read -r dir name; do \
		echo "$$dir $$name"; \
		$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir" </dev/null || rc=1; \
	done; exit $$rc; }

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) && \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

check: lint ## lint, import policy, documented commands, schema.sql, a build without C
	$(GO) test ./internal/house
	$(GO) test -run '^TestSchema' ./internal/schemadump
	CGO_ENABLED=0 $(GO) build ./...

schema: ## print migrations/schema.sql anew from the migrations
	$(GO) run ./internal/schemadump >migrations/schema.sql.new
	mv migrations/schema.sql.new migrations/schema.sql

build: ## build all commands into bin/
	$(GO) build -o bin/ ./cmd/...

# The files in OLDGLIBC say why; -z lazy because NVML's functions are found
# only once its library is open, and some compilers bind all functions at the start.
OLDGLIBC := $(CURDIR)/cmd/ionet-worker/oldglibc
RELEASE  ?= bin/ionet-worker

release: ## build bin/ionet-worker so that it starts on old hosts too; needs a C compiler
	mkdir -p $(dir $(RELEASE))
	$(CC) -O2 -Wall -Wextra -fno-builtin -c -o $(RELEASE).start.o $(OLDGLIBC)/start.c
	CGO_ENABLED=1 CGO_CFLAGS="$(CGO_CFLAGS) -include $(OLDGLIBC)/versions.h" $(GO) build -trimpath -tags netgo,osusergo \
		-ldflags '-s -w -linkmode external -extldflags "$(abspath $(RELEASE)).start.o -Wl,--wrap=__libc_start_main -Wl,-z,lazy -Wl,--push-state,--no-as-needed -l:libpthread.so.0 -l:libdl.so.2 -Wl,--pop-state"' \
		-o $(RELEASE) ./cmd/ionet-worker
	rm -f $(RELEASE).start.o

clean: ## remove what build and demo made
	rm -rf bin .demo
