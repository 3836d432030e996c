#!/bin/sh
# Resolves the dependency ranges into hashed requirements, leaving out all that is younger than a week.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
lock() {
    "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
        --no-config --no-emit-index-url --exclude-newer "$(date -u -d '8 days ago' +%Y-%m-%d)" \
        --custom-compile-command 'make lock' --upgrade "$@"
}
lock --extra spiffe pyproject.toml requirements/run.in requirements/dev.in -o requirements/dev.txt
lock pyproject.toml requirements/run.in -c requirements/dev.txt -o requirements/run.txt
lock requirements/release.in -o requirements/release.txt
lock requirements/vectors.in -o requirements/vectors.txt
lock requirements/tools.in -o requirements/tools.txt
