# make demo    three regions lose their primary and recover, on this machine
# make test    every test, on real PostgreSQL
# make bench-failover   how fast a fleet on this machine recovers, ten times each
# make mutants takes protections out, one by one, and expects lost writes
# make check   formatting, lints, documentation; changes nothing
# make fix     repairs what can be repaired
#
# On a bare Debian 12 with Rust, as root or with sudo. What is missing is installed.

# Passed to `primacy demo`, for example DEMO_ARGS=--keep.
DEMO_ARGS ?=
# Passed to `cargo test`, for example TEST_ARGS='--test dns'.
TEST_ARGS ?=
# Passed to `primacy bench failover`, for example BENCH_ARGS='--trials 3 --only switchover'.
BENCH_ARGS ?=
CARGO ?= cargo

# Files that the databases' user may read, and a target directory that it can reach.
ENTER = umask 022; export CARGO_TARGET_DIR="$$(scripts/target-dir.sh)"

.PHONY: demo test bench-failover build check mutants fix install clean

demo: install
	@$(ENTER); $(CARGO) build --release --locked && "$$CARGO_TARGET_DIR/release/primacy" demo $(DEMO_ARGS)

# One profile for the product and its tests: the model is searched at release speed.
test: install
	@$(ENTER); $(CARGO) test --release --locked --workspace --no-fail-fast $(TEST_ARGS)

bench-failover: install
	@$(ENTER); $(CARGO) build --release --locked && "$$CARGO_TARGET_DIR/release/primacy" bench failover $(BENCH_ARGS)

build: install
	@$(ENTER); $(CARGO) build --release --locked

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

mutants: install
	@umask 022; CARGO="$(CARGO)" scripts/mutants.sh

fix:
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

install:
	@scripts/install.sh

clean:
	@$(ENTER); $(CARGO) clean
