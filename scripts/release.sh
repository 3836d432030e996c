#!/bin/sh
# release.sh [FOLDER]: writes dist/: sdist, wheels, SBOM, release notes and SHA256SUMS. The same sources
# and the same pins, that of the compiler too, make the same bytes, wherever and whenever that is.
set -eu
cd "$(dirname "$0")/.."
out=${1:-dist}
umask 022
# The build's own constant is the date of every file. A date of the surroundings would be in the bytes.
unset SOURCE_DATE_EPOCH
tools=${RELEASE_TOOLS:-build/release-tools}
build() { .venv/bin/python -m build --no-isolation "$@" >/dev/null; }
# $1: a folder with the pure wheel, which gets the others; $2: the sources.
add_platforms() {
    .venv/bin/python "$2/scripts/platform_wheels.py" --zig "$tools/bin/python" "$1"/*-any.whl >/dev/null
}

rm -rf "$out"
mkdir -p "$out"
# First: a version that CHANGELOG.md does not tell of is not released.
.venv/bin/python scripts/release_notes.py "$(.venv/bin/hatchling version)" >"$out/RELEASE_NOTES.md"
build -o "$out" .
add_platforms "$out" .
scripts/sbom.sh "$out/sbom.cdx.json"

# Whoever has the sdist can make the very same wheels, elsewhere and with another umask.
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
(umask 077 && tar -xzf "$out"/*.tar.gz -C "$again" && build --wheel -o "$again" "$again"/*/ &&
    add_platforms "$again" "$again"/*/)
for wheel in "$out"/*.whl; do
    cmp "$wheel" "$again/${wheel##*/}"
done
(cd "$out" && sha256sum -- * >"$again/SHA256SUMS" && mv "$again/SHA256SUMS" .)
echo "release: $out" >&2
