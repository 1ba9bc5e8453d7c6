#!/bin/sh
# Where to build. PostgreSQL does not run as root, so tests started by root
# run themselves again as the user postgres, who cannot reach a clone in /root.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
if [ "$(id -u)" -eq 0 ] && id postgres >/dev/null 2>&1 &&
    ! setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$here"; then
    target=/var/tmp/primacy-target
fi
mkdir -p "$target"
echo "$target"
