#!/bin/sh
# Takes one protection out at a time and expects a test to fail for it.
#
#   scripts/mutants.sh [name...]
#
# A protection is taken out by `--cfg primacy_mutant="name"`, which only this
# script and `jepsen mutants` set, in a target directory of its own. The compiler's wrapper
# passes it, so that dependencies are built once for all mutants.
#
# A test that stays green without a protection proves nothing; one that fails
# for another reason than the expected one proves no more.
set -eu

cd "$(dirname "$0")/.."
target=$(scripts/target-dir.sh)/mutants
mkdir -p "$target"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# mutant NAME TEST-FILE TEST WORDS: the test fails, and says WORDS.
mutant() {
    echo "mutant $1: $3"
    printf '#!/bin/sh\nexec "$@" --cfg %s\n' "'primacy_mutant=\"$1\"'" >"$target/$1.sh"
    chmod +x "$target/$1.sh"
    if RUSTC_WORKSPACE_WRAPPER="$target/$1.sh" CARGO_TARGET_DIR="$target" RUST_BACKTRACE=0 \
        "${CARGO:-cargo}" test --locked --test "$2" -- --exact "$3" --nocapture >"$log" 2>&1; then
        echo "mutant $1 SURVIVED: the test passes without this protection" >&2
        return 1
    fi
    if ! grep -E "$4" "$log" | sort -u; then
        tail -n 40 "$log" >&2
        echo "mutant $1: the test failed, but not by: $4" >&2
        return 1
    fi
}

run() {
    case $1 in
    fence)
        mutant fence e2e \
            operations::a_false_alarm_under_load_loses_nothing_of_a_client_that_does_not_listen \
            '[0-9]+ of [0-9]+ acknowledged writes are lost'
        ;;
    fork)
        mutant fork attacks \
            ahead::a_standby_ahead_of_the_fork_acknowledges_only_after_a_rewind \
            'never: it has what it acknowledged'
        ;;
    sentinel)
        mutant sentinel attacks \
            first_commit::the_first_commit_after_a_promotion_waits_though_the_checkpointer_sleeps \
            'insert into w values \(1\) was acknowledged'
        ;;
    *)
        echo "no such mutant: $1" >&2
        return 2
        ;;
    esac
}

[ $# -gt 0 ] || set -- fence fork sentinel
for name; do
    run "$name"
done
