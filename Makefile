# vmherd: build, run, check and test. `make help` lists what there is.

CARGO ?= cargo
SEEDS ?= 1000
ROUNDS ?= 200
ARGS ?=
ROW ?=
# The target of `make fuzz`, and for how long.
TARGET ?= session
SECONDS ?= 600

# `make install` installs below DESTDIR/PREFIX, and the settings below DESTDIR/SYSCONFDIR.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
BINARY ?= target/release/vmherd
# The users' program; empty: not installed.
CTL ?= target/release/vmherdctl
installed = $(DESTDIR)$(PREFIX)
settings = $(DESTDIR)$(SYSCONFDIR)/vmherd/vmherd.conf
# Where the shells look for completions.
bash = $(installed)/share/bash-completion/completions
zsh = $(installed)/share/zsh/site-functions
fish = $(installed)/share/fish/vendor_completions.d
# The units in systemd/, with the paths of the installation.
placed = sed -e 's|/usr/local/|$(PREFIX)/|g' -e 's|/etc/vmherd/|$(SYSCONFDIR)/vmherd/|g'

.PHONY: help run vms build install uninstall check test guest docs sim soak debian cloudimage corpora conformance fuzz
.PHONY: bench count

help: ## list what make can do
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

run: ## build and start the daemon (ARGS="--log debug" for more)
	$(CARGO) run --release --features cli -- $(ARGS)

vms: ## build and start the daemon with the test guest as the image of its VMs
	$(CARGO) run --release --features cli -- --vm-image "$$(tests/guest/build)" --vm-memory 128 $(ARGS)

build: ## build the daemon and its client: target/release/vmherd and vmherdctl
	$(CARGO) build --release --features cli

install: ## install both programs, the units and the settings (PREFIX=/usr/local DESTDIR=)
	@for program in $(BINARY) $(CTL); do \
	  test -x $$program || { echo "there is no $$program: make build first"; exit 1; }; done
	install -D -m 755 $(BINARY) $(installed)/bin/vmherd
	$(if $(CTL),install -D -m 755 $(CTL) $(installed)/bin/vmherdctl)
	install -d $(installed)/lib/systemd/system $(installed)/lib/sysusers.d $(installed)/share/doc/vmherd
	$(placed) systemd/vmherd.service > $(installed)/lib/systemd/system/vmherd.service
	$(placed) systemd/vmherd.socket > $(installed)/lib/systemd/system/vmherd.socket
	$(placed) systemd/store-credential.conf > $(installed)/share/doc/vmherd/store-credential.conf
	$(if $(CTL),$(placed) systemd/vmherd-agent.service > $(installed)/lib/systemd/system/vmherd-agent.service)
	$(if $(CTL),chmod 644 $(installed)/lib/systemd/system/vmherd-agent.service)
	chmod 644 $(installed)/lib/systemd/system/vmherd.service $(installed)/lib/systemd/system/vmherd.socket
	chmod 644 $(installed)/share/doc/vmherd/store-credential.conf
	install -m 644 systemd/vmherd.sysusers $(installed)/lib/sysusers.d/vmherd.conf
	install -m 644 README.md CHANGELOG.md CONTRIBUTING.md LICENSE-MIT LICENSE-APACHE systemd/vmherd.conf \
	  $(installed)/share/doc/vmherd/
	install -D -m 644 systemd/README.md $(installed)/share/doc/vmherd/systemd/README.md
	install -D -m 644 sql/README.md $(installed)/share/doc/vmherd/sql/README.md
	install -D -m 644 -t $(installed)/share/doc/vmherd/docs docs/*.md docs/grafana.json
	install -D -m 644 -t $(installed)/share/doc/vmherd/docs/fail2ban docs/fail2ban/*.conf
	install -D -m 644 docs/man/vmherd.8 $(installed)/share/man/man8/vmherd.8
	$(if $(CTL),install -D -m 644 docs/man/vmherdctl.1 $(installed)/share/man/man1/vmherdctl.1)
	$(if $(CTL),install -D -m 644 docs/completions/vmherdctl $(bash)/vmherdctl)
	$(if $(CTL),install -D -m 644 docs/completions/_vmherdctl $(zsh)/_vmherdctl)
	$(if $(CTL),install -D -m 644 docs/completions/vmherdctl.fish $(fish)/vmherdctl.fish)
	install -D -m 644 docs/completions/vmherd $(bash)/vmherd
	install -D -m 644 docs/completions/_vmherd $(zsh)/_vmherd
	install -D -m 644 docs/completions/vmherd.fish $(fish)/vmherd.fish
	@# Keeps existing settings.
	test -e $(settings) || install -D -m 644 systemd/vmherd.conf $(settings)
	@test -n "$(DESTDIR)" || echo "next: systemd-sysusers && systemctl daemon-reload && \
	systemctl enable --now vmherd.socket vmherd.service"

uninstall: ## remove what make install installed; keep changed settings
	rm -f $(installed)/bin/vmherd $(installed)/bin/vmherdctl $(installed)/lib/sysusers.d/vmherd.conf
	rm -f $(installed)/lib/systemd/system/vmherd.service $(installed)/lib/systemd/system/vmherd.socket
	rm -f $(installed)/lib/systemd/system/vmherd-agent.service
	if cmp -s $(installed)/share/doc/vmherd/vmherd.conf $(settings); then rm -f $(settings); fi
	rm -f $(installed)/share/man/man8/vmherd.8 $(bash)/vmherd $(zsh)/_vmherd $(fish)/vmherd.fish
	rm -f $(installed)/share/man/man1/vmherdctl.1 $(bash)/vmherdctl $(zsh)/_vmherdctl $(fish)/vmherdctl.fish
	rm -rf $(installed)/share/doc/vmherd
	test ! -d $(DESTDIR)$(SYSCONFDIR)/vmherd || rmdir --ignore-fail-on-non-empty $(DESTDIR)$(SYSCONFDIR)/vmherd

check: ## formatting, lints, docs and the rules of the structure
	$(CARGO) fmt --check
	$(CARGO) clippy --features cli -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	$(CARGO) clippy --all-targets --features cli -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --features cli --no-deps --document-private-items
	$(CARGO) test --test tidy

test: ## install what the tests need and run them all
	tests/prerequisites
	$(CARGO) build --release --features cli
	$(CARGO) test --no-fail-fast --features cli
	$(CARGO) build --example websocket_echo
	tests/conformance/run cases
	$(CARGO) test --no-fail-fast --no-default-features --lib --bins --test simulation --test service --test postgres

guest: ## build the VM that the tests start: target/guest/guest.iso (downloads some 50 MB of Debian packages)
	@tests/guest/build

docs: ## write docs/settings.md, systemd/vmherd.conf, manual pages and completions anew from the tables in the code
	VMHERD_WRITE_DOCS=1 $(CARGO) test --features cli --bins is_current

sim: ## simulate the reactor with SEEDS seeds, or replay one with a trace: make sim SEED=17
	$(if $(SEED),VMHERD_SIM_SEED=$(SEED),VMHERD_SIM_SEEDS=$(SEEDS)) \
	  $(CARGO) test --release --test simulation seeds -- --nocapture

soak: ## the long tests: ROUNDS rounds of kill -9, all failures of a database, very long lists, 50 VMs
	VMHERD_ROUNDS=$(ROUNDS) $(CARGO) test --test durability --test postgres -- --nocapture
	VMHERD_BAD_DAYS=full $(CARGO) test --test bad_days -- --nocapture
	VMHERD_FAIRNESS=full $(CARGO) test --release --test fairness lists -- --nocapture
	VMHERD_ROUNDS=50 $(CARGO) test --test vms its_user_logs_in -- --nocapture
	$(CARGO) test --release --test sealed_timing -- --ignored --nocapture

debian: build ## run the examples of the pages, and a VM, in fresh systems of Debian 12 and 13 (root; fetches them)
	tests/debian

cloudimage: build ## make a disk image of Debian 12 with cloud-init and run VMs from it (root; ten minutes)
	tests/cloud_image

corpora: ## run a folder of JSON files (DIR=…) in the shape of the JSON test suite against the daemon
	@test -n "$(DIR)" || { echo "usage: make corpora DIR=folder-of-json-files"; exit 2; }
	VMHERD_CORPUS=$(abspath $(DIR)) $(CARGO) test --test corpora -- --nocapture

conformance: ## test the WebSocket framing by RFC 6455, another implementation and the Autobahn suite
	$(CARGO) build --example websocket_echo
	tests/conformance/run

fuzz: ## fuzz one target of fuzz/fuzz_targets (TARGET=session SECONDS=600); needs nightly and cargo-fuzz
	mkdir -p fuzz/corpus/$(TARGET)
	cd fuzz && $(CARGO) +nightly fuzz run $(TARGET) corpus/$(TARGET) seeds/$(TARGET) -- \
	  -max_total_time=$(SECONDS) -timeout=20 -print_final_stats=1

bench: ## measure the daemon beside the limits of the machine (ROW=ping for one group of rows)
	$(CARGO) bench --bench measure -- $(ROW)

count: ## count the daemon's instructions for a request with valgrind (ROW=put for those with that name)
	$(CARGO) bench --bench measure -- count $(ROW)
