#!/bin/sh
# setup.sh run|test|release: makes .venv (run), and what the tests (test) or a release (release) need on
# top of it. Instant when nothing changed.
set -eu
cd "$(dirname "$0")/.."
exec </dev/null
what=${1:-test}
node=tests/idp/oidc-provider
pnpm=tests/tools/pnpm
mcp=tests/tools/mcp_conformance

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
# A missing test tool fails in CI, where nothing may be skipped, and is only said elsewhere.
lacks() { if [ -n "${CI:-}" ]; then die "$*"; else say "warning: $* (its tests are skipped)"; fi; }
key() { printf '%s ' "$@"; cat -- "$@" 2>/dev/null | cksum; }
is_done() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

# One at a time: several shells may share this folder.
if [ -z "${SETUP_LOCKED:-}" ] && command -v flock >/dev/null; then
    SETUP_LOCKED=1 exec flock .setup.lock "$0" "$what"
fi

# Settings that send packages elsewhere or change what is installed; where from (index, proxy, CA) stays.
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIREMENT PIP_CONSTRAINT PIP_BUILD_CONSTRAINT \
    PIP_NO_DEPS PIP_REQUIRE_HASHES PIP_EDITABLE PIP_NO_BINARY PIP_ONLY_BINARY PIP_PRE PIP_DRY_RUN \
    PIP_NO_COMPILE PIP_IGNORE_INSTALLED PIP_PYTHON PIP_REPORT PIP_UPGRADE PIP_LOG PYTHONPATH \
    PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        "$name" -c 'import sys, ssl, venv; sys.version_info >= (3, 11) or sys.exit(1)
print(sys.executable)' 2>/dev/null && return
    done
    die "no Python 3.11 or later found; set PYTHON=/path/to/python3"
}

make_venv() {
    # A venv that works is kept, unless PYTHON asks for one in so many words.
    [ -z "${PYTHON:-}" ] && [ -s .venv/made-by ] && .venv/bin/python -Ic '' 2>/dev/null && return
    python=$(find_python)
    version=$("$python" -c 'import sys; print(*sys.version_info[:3], sep=".")')
    is_done .venv/made-by "$version" && .venv/bin/python -Ic '' 2>/dev/null && return
    say "Python $version"
    rm -rf .venv
    "$python" -c 'import ensurepip' 2>/dev/null || apt_get python3-venv ||
        die "$python has no ensurepip; install python3-venv"
    "$python" -m venv .venv
    echo "$version" >.venv/made-by
}

# $1 is the requirements file. Scripts of bin/ are copied at install, so they belong to the key.
install_python() {
    stamp=$(key "$1" pyproject.toml src/brokerctl/__init__.py bin/*)
    is_done .venv/installed "$stamp" && return
    [ "$1" = requirements/run.txt ] && is_done .venv/installed "$(dev_stamp)" && return
    say "installing $1"
    .venv/bin/python -m pip install -qq --require-hashes -r "$1"
    .venv/bin/python -m pip install -qq --no-deps --no-build-isolation --force-reinstall -e ./
    printf '%s\n' "$stamp" >.venv/installed
}
dev_stamp() { key requirements/dev.txt pyproject.toml src/brokerctl/__init__.py bin/*; }

apt_get() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "apt-get install $*"
    apt-get update -qq >/dev/null &&
        DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$@" >/dev/null
}

# The lines of scripts/tools.txt are: command, Debian package.
missing_tools() {
    while read -r tool package; do
        case $tool in '' | '#'*) continue ;; esac
        command -v "$tool" >/dev/null || printf '%s\n' "$package"
    done <scripts/tools.txt | sort -u
}

install_tools() {
    packages=$(missing_tools)
    [ -z "$packages" ] && return
    # shellcheck disable=SC2086 # a list of words on purpose
    apt_get $packages || true
    packages=$(missing_tools)
    [ -z "$packages" ] || lacks "test tools are missing, install" $packages
}

install_node() {
    stamp=$(key "$1/package.json" "$1/package-lock.json")
    is_done "$1/node_modules/installed" "$stamp" && return
    command -v npm >/dev/null || { lacks "no npm, so nothing of $1 to test against"; return; }
    say "npm ci in $1"
    (cd "$1" && npm ci --silent --ignore-scripts) || {
        lacks "npm ci failed in $1"
        return
    }
    printf '%s\n' "$stamp" >"$1/node_modules/installed"
}

# Clients that speak to helpers bring more packages than all else together, and never into .venv.
install_clients() {
    clients=build/test-tools
    stamp=$(key requirements/tools.txt .venv/made-by)
    is_done $clients/installed "$stamp" && return
    say "installing requirements/tools.txt"
    rm -rf $clients
    .venv/bin/python -m venv $clients
    $clients/bin/python -m pip install -qq --require-hashes -r requirements/tools.txt
    printf '%s\n' "$stamp" >$clients/installed
}

# The release's own tools bring more packages than all else together, and never into .venv.
install_release_tools() {
    tools=build/release-tools
    stamp=$(key requirements/release.txt .venv/made-by)
    is_done $tools/installed "$stamp" && return
    say "installing requirements/release.txt"
    rm -rf $tools
    .venv/bin/python -m venv $tools
    $tools/bin/python -m pip install -qq --require-hashes -r requirements/release.txt
    printf '%s\n' "$stamp" >$tools/installed
}

make_venv
case $what in
    run) install_python requirements/run.txt ;;
    test)
        install_python requirements/dev.txt
        install_tools
        install_clients
        install_node $node
        install_node $pnpm
        install_node $mcp
        scripts/build_git.sh || lacks "no git 2.47"
        ;;
    release)
        install_python requirements/dev.txt
        install_release_tools
        ;;
    *) die "usage: setup.sh run|test|release" ;;
esac
