#!/bin/sh
# Runs every benchmark; each prints its ratios and fails when it is over its budget.
set -u
cd "$(dirname "$0")/.."
code=0
for file in benchmarks/*.py; do
    [ "$file" = benchmarks/common.py ] || .venv/bin/python "$file" || code=1
done
exit $code
