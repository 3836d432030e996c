#!/bin/sh
# Runs every linter, also after one has failed, and says which did.
set -u
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
failed=
imports() { said=$(lint-imports --no-logo 2>&1) || { printf '%s\n' "$said"; return 1; }; }
check() { "$@" || failed="$failed $1"; }
check ruff check --quiet .
check ruff format --quiet --check .
check mypy --no-error-summary
check imports
[ -z "$failed" ] || { echo "lint: failed:$failed" >&2; exit 1; }
echo "lint: clean" >&2
