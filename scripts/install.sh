#!/bin/sh
# Installs what is missing to build, to run and to test: a C compiler, tools for
# networks that fail, and PostgreSQL without the cluster that Debian would start.
set -eu

say() { echo "primacy: $*" >&2; }

if ! command -v "${CARGO:-cargo}" >/dev/null; then
    say "Rust is needed: install it with rustup, then open a new shell"
    exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then as_root=sudo; fi

# The newest major version whose server, client and pg_rewind are all there.
postgresql() {
    for version in 18 17 16 15; do
        bin=/usr/lib/postgresql/$version/bin
        if [ -x "$bin/postgres" ] && [ -x "$bin/psql" ] && [ -x "$bin/pg_rewind" ]; then
            return 0
        fi
    done
    return 1
}

missing=
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || missing="$missing iproute2"
command -v nft >/dev/null || missing="$missing nftables"
command -v mkfs.ext4 >/dev/null || missing="$missing e2fsprogs"
postgresql || missing="$missing postgresql"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    say "install these first, by the names of this system:$missing (PostgreSQL 15 or later)"
    exit 1
fi
if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
    say "run as root once, or install:$missing"
    exit 1
fi
say "installing:$missing"

# Before the package: afterwards its cluster exists and listens.
conf=/etc/postgresql-common/createcluster.conf
if [ ! -e "$conf" ]; then
    $as_root mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | $as_root tee "$conf" >/dev/null
fi

$as_root apt-get update -q
# shellcheck disable=SC2086 # A list of packages.
$as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
    apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold $missing

if ! postgresql; then
    say "PostgreSQL 15 or later is needed, and this system's package is older"
    exit 1
fi
