# The two main targets are `make demo` and `make test`. Both check for PostgreSQL's server programs.
# `make storm`, `make model` and `make matrix` are longer versions of parts of the suite.

.PHONY: demo test test-shadow test-million storm storm-tenants model matrix fuzz fuzz-keep bench bench-quick lint shellcheck deny advisories sbom reproduce deb rpm system-test postgres

# Shows the main job on a throwaway PostgreSQL. On a terminal it waits for Enter before each step;
# `make demo FAST=1` does not.
demo: postgres
	@echo "Building agent-sync, which takes some minutes the first time." >&2
	@cargo build --quiet --locked --bin agent-sync
	@cargo run --quiet --locked --package agent-sync-demo -- $(if $(FAST),--fast)

# Every test, against throwaway servers. Tests wait more than they compute, so two more run than
# there are processors.
test:
	@sh scripts/postgres.sh --pooler
	@if cargo nextest --version >/dev/null 2>&1; \
		then cargo nextest run --workspace --locked --no-fail-fast --test-threads $$(( $$(nproc) + 2 )); \
		else cargo test --workspace --locked --no-fail-fast; fi

# A part of the suite with foreign names first in the search path, and with PUBLIC allowed to create
# in `public`, as before PostgreSQL 15: `make test-shadow VERSION=14` uses the server programs of a
# version from npm.
test-shadow:
	@sh scripts/postgres.sh
	@if [ -n "$(VERSION)" ]; then sh scripts/matrix.sh --shadow $(VERSION); else sh scripts/shadow.sh; fi

# `check` over a million agents, and an outbox of a million rows, in some minutes; `make test` has
# 50,000 and 200,000.
test-million:
	@sh scripts/postgres.sh
	@AGENT_SYNC_TEST_AGENTS=1000000 AGENT_SYNC_TEST_ROWS=1000000 cargo test --locked --test it -- \
		--nocapture --test-threads 1 scale:: g12_a_large_backlog

# Random writers and random faults, with an oracle that compares every row: `make storm ROUNDS=500
# SEED=7`, about 1.5 s for each round. The suite has a short version.
storm: ROUNDS ?= 50
storm: SEED ?= $(shell date +%s)
storm: postgres
	@STORM_ROUNDS=$(ROUNDS) STORM_SEED=$(SEED) cargo test --quiet --locked --test it storm:: -- --nocapture

# Random databases with tenants, each compared by an oracle: `make storm-tenants DATABASES=200 SEED=1`.
# The suite has six.
storm-tenants: DATABASES ?= 200
storm-tenants: SEED ?= $(shell date +%s)
storm-tenants: postgres
	@STORM_DATABASES=$(DATABASES) STORM_SEED=$(SEED) cargo test --quiet --locked --test it storm::databases:: -- --nocapture

# Every test against PostgreSQL 14, 15, 16, 17 and 18, whose server programs come from npm; `make matrix VERSIONS="14 18"` for some.
matrix:
	@sh scripts/postgres.sh --pooler
	@sh scripts/matrix.sh $(VERSIONS)

# Every figure beside its baseline, on a throwaway PostgreSQL with fsync on: a table, and
# target/bench/figures.{json,svg}. Some figures: `cargo bench --locked --bench figures -- --only
# latency,bulk`; `-- --list` lists them.
bench: postgres
	@cargo bench --quiet --locked --bench figures

# Every figure in some ninety seconds, with the build of the tests: proves that each works, without a
# meaningful measurement.
bench-quick: postgres
	@cargo bench --quiet --locked --profile dev --bench figures -- --quick

# Every fuzz target for FUZZ_SECONDS (50) each, five minutes in all. The tests also run the initial
# corpora.
fuzz:
	@sh scripts/fuzz.sh $(TARGETS)

# Moves the new inputs of the last runs into fuzz/corpus, minimized.
fuzz-keep:
	@sh scripts/fuzz.sh --keep $(TARGETS)

# The model of the protocol in every order of its steps, at the sizes of the tests and at larger
# ones that take minutes.
model:
	@cargo test --quiet --locked --package agent-sync-model -- --include-ignored --nocapture --test-threads 1

# The checks of a change besides the tests.
lint: shellcheck
	cargo fmt --all --check
	cargo clippy --workspace --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --locked --no-deps --document-private-items --quiet

# Every shell script, where shellcheck is installed.
shellcheck:
	@sh scripts/shellcheck.sh

# Licences, bans and sources of every crate.
deny:
	@sh scripts/deny.sh

# The advisories about the crates, from the network.
advisories:
	@cargo deny --locked check advisories

# The components of the program as CycloneDX, in target/sbom/.
sbom:
	@cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename agent-sync.cdx
	@mkdir -p target/sbom && mv agent-sync.cdx.json target/sbom/ && rm -f demo/agent-sync.cdx.json testbed/agent-sync.cdx.json
	@echo target/sbom/agent-sync.cdx.json

# Builds the commit twice, in two directories, and compares the programs byte by byte; takes some
# minutes.
reproduce:
	@sh scripts/reproduce.sh

# The Debian package of the release build, in target/debian/.
deb:
	@sh scripts/deb.sh

# The RPM of the release build, in target/generate-rpm/.
rpm:
	@sh scripts/rpm.sh

# The package under a real systemd, the image in a real container engine, and the daemon beside a
# Patroni cluster (`tests/system/run.sh patroni`). Needs root; parts that cannot run here print the
# reason.
system-test:
	@bash tests/system/run.sh

postgres:
	@sh scripts/postgres.sh
