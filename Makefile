# Two commands do everything: `make demo` and `make test`. Both see to it that PostgreSQL's server programs are there.

.PHONY: demo test bench bench-quick lint deny sbom deb system-test postgres

# The main job, live, on a throwaway PostgreSQL.
demo: postgres
	@cargo run --quiet --locked -- demo

# Every test, against real servers in clusters of their own.
test:
	@sh scripts/postgres.sh --pooler
	@if cargo nextest --version >/dev/null 2>&1; \
		then cargo nextest run --locked --no-fail-fast; \
		else cargo test --locked --no-fail-fast; fi

# Every figure beside its floor or rival, on a throwaway PostgreSQL with fsync on: a table, and target/bench/figures.{json,svg}.
# Some: `cargo bench --locked --bench figures -- --only latency,bulk`. Which there are: the same with `-- --list`.
bench: postgres
	@cargo bench --quiet --locked --bench figures

# The same in less than a minute: proves that every figure works, and measures nothing.
bench-quick: postgres
	@cargo bench --quiet --locked --bench figures -- --quick

# What a change must pass besides the tests.
lint:
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items --quiet

# Licences, bans and sources of every crate; advisories need the network, see docs/building.md.
deny:
	cargo deny --locked check licenses bans sources

# What the program is made of, as CycloneDX, in target/sbom/.
sbom:
	@cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename agent-sync.cdx
	@mkdir -p target/sbom && mv agent-sync.cdx.json target/sbom/
	@echo target/sbom/agent-sync.cdx.json

# The Debian package of the release build, in target/debian/.
deb:
	@sh scripts/deb.sh

# The package under a real systemd, and the image in a real container engine; as root, and what cannot be tried says why.
system-test:
	@bash tests/system/run.sh

postgres:
	@sh scripts/postgres.sh
