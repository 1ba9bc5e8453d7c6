# make demo    three regions lose their primary and recover, on this machine
# make test    every test, on real PostgreSQL
# make bench-failover   how fast a fleet on this machine recovers, ten times each
# make mutants takes protections out, one by one, and expects tests to fail for it
# make jepsen  tortures the program as it is shipped for five minutes, as root
# make jepsen-mutants  takes protections out of it, and expects the torture to see
# make soak    many random worlds under virtual time: make soak SEEDS=100000
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
# Random worlds for `make soak`, the first of them, and how many run at once.
SEEDS ?= 10000
FROM ?= 1
THREADS ?= 2
CARGO ?= cargo

# Files that the databases' user may read, and a target directory that it can reach.
ENTER = umask 022; export CARGO_TARGET_DIR="$$(scripts/target-dir.sh)"

# For the torture, and the protections that are taken out of the server for it.
JEPSEN_ARGS ?= --workload all --nemesis all --time 300 --seed 1
JEPSEN_OUT ?= jepsen-out

.PHONY: demo test bench-failover build check mutants soak jepsen jepsen-mutants fix install clean

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

# Stops at the first world that breaks a guarantee, and says how to replay it.
soak: install
	@$(ENTER); export SIM_SEEDS=$(SEEDS) SIM_FROM=$(FROM) SIM_THREADS=$(THREADS) SIM_LIMIT=31536000; \
	$(CARGO) test --release --locked --test sim -- --nocapture no_world_breaks_a_guarantee

# As root, or with sudo: it makes networks and disks of its own.
jepsen: install
	@$(ENTER); $(CARGO) run --release --locked -p jepsen -- run $(JEPSEN_ARGS) --out $(JEPSEN_OUT)

jepsen-mutants: install
	@$(ENTER); $(CARGO) run --release --locked -p jepsen -- mutants --out $(JEPSEN_OUT)

fix:
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

install:
	@scripts/install.sh

clean:
	@$(ENTER); $(CARGO) clean
