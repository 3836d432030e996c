#!/bin/sh
# Asks a vulnerability database about every pin, of users and of developers; nothing asked is a failure.
set -u
cd "$(dirname "$0")/.."
tools=${RELEASE_TOOLS:-build/release-tools}
code=0
for pins in requirements/run.txt requirements/dev.txt requirements/release.txt; do
    echo "audit: $pins" >&2
    "$tools/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off \
        -r "$pins" "$@" || code=1
done
exit $code
