# vmherd: build, run, check and test. `make help` lists what there is.

CARGO ?= cargo
SEEDS ?= 1000
ROUNDS ?= 200
ARGS ?=

.PHONY: help run build check test sim soak corpora

help: ## list what make can do
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

run: ## build and start the daemon (ARGS="--log debug" for more)
	$(CARGO) run --release -- $(ARGS)

build: ## build the daemon: target/release/vmherd
	$(CARGO) build --release

check: ## formatting, lints, docs and the structure's rules
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	$(CARGO) test --test tidy

test: ## install what the tests need and run them all
	tests/prerequisites
	$(CARGO) build --release
	$(CARGO) test
	$(CARGO) test --no-default-features --lib

sim: ## simulate SEEDS seeds of the reactor, or replay one with a trace: make sim SEED=17
	$(if $(SEED),VMHERD_SIM_SEED=$(SEED),VMHERD_SIM_SEEDS=$(SEEDS)) $(CARGO) test --release --lib simulation -- --nocapture

soak: ## the long versions of the crash tests: ROUNDS rounds of kill -9
	VMHERD_ROUNDS=$(ROUNDS) $(CARGO) test --test durability -- --nocapture

corpora: ## run a folder of JSON files (DIR=…) in the shape of the JSON test suite against the daemon
	@test -n "$(DIR)" || { echo "usage: make corpora DIR=folder-of-json-files"; exit 2; }
	VMHERD_CORPUS=$(abspath $(DIR)) $(CARGO) test --test corpora -- --nocapture
