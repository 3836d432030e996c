#!/bin/sh
# release.sh [FOLDER]: writes dist/: sdist, wheel, SBOM, release notes and SHA256SUMS. The same sources
# and the same pins make the same bytes, wherever and whenever that is.
set -eu
cd "$(dirname "$0")/.."
out=${1:-dist}
umask 022
# The build's own constant is the date of every file. A date of the surroundings would be in the bytes.
unset SOURCE_DATE_EPOCH
build() { .venv/bin/python -m build --no-isolation "$@" >/dev/null; }

rm -rf "$out"
mkdir -p "$out"
# First: a version that CHANGELOG.md does not tell of is not released.
.venv/bin/python scripts/release_notes.py "$(.venv/bin/hatchling version)" >"$out/RELEASE_NOTES.md"
build -o "$out" .
scripts/sbom.sh "$out/sbom.cdx.json"

# Whoever has the sdist can make the very same wheel, elsewhere and with another umask.
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
(umask 077 && tar -xzf "$out"/*.tar.gz -C "$again" && build --wheel -o "$again" "$again"/*/)
for wheel in "$out"/*.whl; do
    cmp "$wheel" "$again/${wheel##*/}"
done
(cd "$out" && sha256sum -- * >"$again/SHA256SUMS" && mv "$again/SHA256SUMS" .)
echo "release: $out" >&2
