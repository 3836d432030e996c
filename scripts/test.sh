#!/bin/sh
# Lints, then runs pytest with the given arguments; both always run, pytest's closing line comes last.
set -u
cd "$(dirname "$0")/.."
scripts/lint.sh
lint=$?
.venv/bin/python -m pytest -q -n "${WORKERS:-auto}" "$@" || exit
exit "$lint"
