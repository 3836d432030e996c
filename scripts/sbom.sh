#!/bin/sh
# sbom.sh FILE: writes what requirements/run.txt pins as CycloneDX JSON, without a time or a serial.
set -eu
cd "$(dirname "$0")/.."
out=$1
tools=${RELEASE_TOOLS:-build/release-tools}
unset SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The tool reads no dynamic version.
sed "s/^dynamic = \[\"version\"\]\$/version = \"$(.venv/bin/hatchling version)\"/" pyproject.toml \
    >"$work/pyproject.toml"
# It warns that the pins do not say which of them needs which.
mkdir -p "$(dirname "$out")"
PYTHONWARNINGS=ignore "$tools/bin/cyclonedx-py" requirements --pyproject "$work/pyproject.toml" \
    --mc-type application --spec-version 1.6 --output-format JSON --output-reproducible \
    --output-file "$out" requirements/run.txt
