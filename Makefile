# Two commands do everything: `make demo` and `make test`. Both see to it that PostgreSQL's server programs are there.
# `make storm`, `make model` and `make matrix` are the long versions of what the suite does in short.

.PHONY: demo test test-shadow test-million storm model matrix fuzz fuzz-keep bench bench-quick lint deny sbom reproduce deb system-test postgres

# The main job, live, on a throwaway PostgreSQL.
demo: postgres
	@cargo build --quiet --locked --bin agent-sync
	@cargo run --quiet --locked --package agent-sync-demo

# Every test, against real servers in clusters of their own. They wait more than they work, so two more run than there are processors.
test:
	@sh scripts/postgres.sh --pooler
	@if cargo nextest --version >/dev/null 2>&1; \
		then cargo nextest run --workspace --locked --no-fail-fast --test-threads $$(( $$(nproc) + 2 )); \
		else cargo test --workspace --locked --no-fail-fast; fi

# A part of the suite with names of somebody else first in the search path, and PUBLIC allowed to create in `public`, as it is before
# PostgreSQL 15: `make test-shadow VERSION=14` for a version whose server programs come from npm.
test-shadow:
	@sh scripts/postgres.sh
	@if [ -n "$(VERSION)" ]; then sh scripts/matrix.sh --shadow $(VERSION); else sh scripts/shadow.sh; fi

# `check` over a million agents, of which `make test` has 50,000: some minutes.
test-million:
	@sh scripts/postgres.sh
	@AGENT_SYNC_TEST_AGENTS=1000000 cargo test --locked --test it -- --nocapture scale::

# Writers change everything at random while a nemesis breaks everything at random, and an oracle compares every row:
# `make storm ROUNDS=500 SEED=7`, about 1.5 s a round. The suite has a short version.
storm: ROUNDS ?= 50
storm: SEED ?= $(shell date +%s)
storm: postgres
	@STORM_ROUNDS=$(ROUNDS) STORM_SEED=$(SEED) cargo test --quiet --locked --test it storm:: -- --nocapture

# Every test against PostgreSQL 14, 15, 16, 17 and 18, whose server programs come from npm; `make matrix VERSIONS="14 18"` for some.
matrix:
	@sh scripts/postgres.sh --pooler
	@sh scripts/matrix.sh $(VERSIONS)

# Every figure beside its floor or rival, on a throwaway PostgreSQL with fsync on: a table, and target/bench/figures.{json,svg}.
# Some: `cargo bench --locked --bench figures -- --only latency,bulk`. Which there are: the same with `-- --list`.
bench: postgres
	@cargo bench --quiet --locked --bench figures

# The same in less than a minute, with the build that the tests run: proves that every figure works, and measures nothing.
bench-quick: postgres
	@cargo bench --quiet --locked --profile dev --bench figures -- --quick

# Every fuzz target for FUZZ_SECONDS (50) each, five minutes in all. The corpora that it begins with are tried by the tests, too.
fuzz:
	@sh scripts/fuzz.sh $(TARGETS)

# Moves what the last runs have found into fuzz/corpus, as few inputs as reach the same.
fuzz-keep:
	@sh scripts/fuzz.sh --keep $(TARGETS)

# The protocol in every order of its steps: the sizes that every run of the tests checks, and larger ones that take minutes.
model:
	@cargo test --quiet --locked --release --test it -- --include-ignored --nocapture --test-threads 1 model::

# What a change must pass besides the tests.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --locked --no-deps --document-private-items --quiet

# Licences, bans and sources of every crate; advisories need the network, see docs/building.md.
deny:
	cargo deny --locked check licenses bans sources

# What the program is made of, as CycloneDX, in target/sbom/.
sbom:
	@cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename agent-sync.cdx
	@mkdir -p target/sbom && mv agent-sync.cdx.json target/sbom/ && rm -f demo/agent-sync.cdx.json testbed/agent-sync.cdx.json
	@echo target/sbom/agent-sync.cdx.json

# Builds the commit twice, in two folders, and compares the programs byte by byte: some minutes.
reproduce:
	@sh scripts/reproduce.sh

# The Debian package of the release build, in target/debian/.
deb:
	@sh scripts/deb.sh

# The package under a real systemd, and the image in a real container engine; as root, and what cannot be tried says why.
system-test:
	@bash tests/system/run.sh

postgres:
	@sh scripts/postgres.sh
