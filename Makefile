# Two commands do everything: `make demo` and `make test`. Both see to it that PostgreSQL's server programs are there.

.PHONY: demo test bench bench-quick fuzz fuzz-keep model lint postgres

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
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items --quiet

postgres:
	@sh scripts/postgres.sh
