#!/bin/sh
# Lints, runs pytest with the given arguments, then searches all that it wrote for secrets (tests/canary).
# Each runs also after one before it has failed; pytest's closing line comes last.
set -u
cd "$(dirname "$0")/.."
scripts/lint.sh
lint=$?

# Whatever is stored is synced, and 100,000 files are removed at the end: a disk takes milliseconds for
# each, memory none. Only where they fit, and programs can be run from there.
is_roomy() {
    free=$(df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
    memory=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
    [ "${free:-0}" -gt 3000000 ] && [ "${memory:-0}" -gt 6000000 ] || return 1
    probe=$(mktemp "$1/brt.XXXXXX") || return 1
    echo : >"$probe" && chmod 700 "$probe" && "$probe" 2>/dev/null
    runs=$?
    rm -f "$probe"
    return "$runs"
}

trace=${BROKERCTL_TEST_TRACE_DIR:-}
if [ -z "$trace" ]; then
    place=/tmp # short, and so is the name: paths of sockets go below it
    is_roomy /dev/shm && place=/dev/shm
    trace=$(mktemp -d "$place/b.XXXX") || exit
    trap 'rm -rf "$trace"' EXIT
    trap 'exit 130' INT TERM
fi
mkdir -p "$trace/tmp"
chmod 711 "$trace" # some tests go on as another user, who has to get to the files that are theirs
BROKERCTL_TEST_TRACE_DIR=$trace
export BROKERCTL_TEST_TRACE_DIR

# Some tests wait, for a token to end or a tool to ask again: meanwhile others have the cores.
workers=${WORKERS:-$(($(nproc) * 3 / 2))}
color=auto whole=
[ -t 1 ] && color=yes
[ $# -eq 0 ] && whole=--complete
{
    TMPDIR="$trace/tmp" .venv/bin/python -m pytest -q -n "$workers" --dist worksteal --color=$color \
        --basetemp="$trace/pytest" "$@"
    echo $? >"$trace/code"
} 2>&1 | tee "$trace/pytest.out"
code=$(cat "$trace/code")

# shellcheck disable=SC2086 # no word where it is empty
.venv/bin/python -m tests.canary.search "$trace" $whole
canary=$?
tail -n 1 "$trace/pytest.out"
[ "$code" = 0 ] || exit "$code"
[ "$canary" = 0 ] || exit "$canary"
exit "$lint"
