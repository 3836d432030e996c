#!/bin/sh
# Runs every linter, also after one has failed, and says which did.
set -u
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
failed=
check() { "$@" || failed="$failed $1"; }
check ruff check --quiet .
check ruff format --quiet --check .
check mypy --no-error-summary
check lint-imports --no-timing >/dev/null || lint-imports
[ -z "$failed" ] || { echo "lint: failed:$failed" >&2; exit 1; }
echo "lint: clean" >&2
