#!/bin/sh
# build_git.sh: builds build/git-newer, a git that has what Debian's stable one lacks (authtype, state,
# ephemeral: 2.46 and later), with its own test scripts. From the source package of a newer Debian: apt
# fetches it from where this machine gets its packages, and checks the signatures. Instant when it is there.
set -eu
cd "$(dirname "$0")/.."
suite=trixie
version=2.47
folder=$PWD/build/git-newer
work=$PWD/build/git-source
compile="gcc libc6-dev make libcurl4-openssl-dev zlib1g-dev xz-utils"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "no git $version to test against: $*"; exit 1; }
key() { printf '%s ' "$suite" "$version"; cksum <scripts/build_git.sh; }
is_done() { [ "$(cat "$folder/built" 2>/dev/null)" = "$(key)" ]; }

can_compile() {
    printf '#include <curl/curl.h>\n#include <zlib.h>\n' | gcc -E -xc - >/dev/null 2>&1 &&
        command -v make >/dev/null && command -v xz >/dev/null
}

# The line of this machine's own release, with another suite.
find_source() {
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    uri=$(apt-get indextargets --format "\$(CODENAME) \$(COMPONENT) \$(REPO_URI)" 'Created-By: Packages' |
        sed -n "s/^$codename main //p" | head -n 1)
    [ -n "$uri" ] || die "apt has no source for $codename main"
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r $keys ] && printf 'deb-src [signed-by=%s] %s %s main\n' $keys "$uri" "$suite" ||
        printf 'deb-src %s %s main\n' "$uri" "$suite"
}

# apt with lists, state and downloads of its own; what the machine is set up for stays as it is.
private_apt() {
    apt-get -qq -o Dir::State="$work/state" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" \
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- "$@" >&2
}

is_done && exit 0
command -v apt-get >/dev/null || die "there is no apt"
can_compile || {
    [ "$(id -u)" = 0 ] || die "install $compile"
    say "apt-get install $compile"
    # shellcheck disable=SC2086 # a list of words on purpose
    apt-get update -qq >/dev/null &&
        DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends $compile >/dev/null
    can_compile || die "install $compile"
}
rm -rf "$work" "$folder"
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$folder"
find_source >"$work/sources.list"
private_apt update || die "apt finds nothing of $suite"
(cd "$work" && private_apt source --download-only git) || die "apt has no source package of git"
tarball=$(find "$work" -name "git_$version.*.orig.tar.xz")
[ -n "$tarball" ] || die "$suite has another version: $(find "$work" -name '*.dsc' -exec basename {} \;)"
say "building $(basename "$tarball" .orig.tar.xz), which takes some minutes once"
tar -xJf "$tarball" -C "$folder" --strip-components=1
nice -n 10 make -s -C "$folder" -j"${GIT_JOBS:-2}" CFLAGS=-O0 NO_GETTEXT=1 NO_TCLTK=1 NO_PERL=1 NO_PYTHON=1 \
    NO_OPENSSL=1 NO_EXPAT=1 NO_INSTALL_HARDLINKS=1 all >"$work/build.log" 2>&1 ||
    die "it does not build: see $work/build.log"
key >"$folder/built"
