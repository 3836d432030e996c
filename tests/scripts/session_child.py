"""Runs helpers as the tools of a session would: JSON on stdin, JSON on stdout.

Each request is `[name, words, stdin, variables]`; each answer `[stdout, exit code, stderr]`. First
a word of the child's: the environment that is left to the helpers, by name, or `all`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys


def answered(
    program: str, kept: list[str], words: list[str], data: str, more: dict[str, str]
) -> tuple[str, int, str]:
    """Return what one helper answers."""
    around = {name: value for name, value in os.environ.items() if name in kept or not kept}
    done = subprocess.run(
        [program, "helper", *words],
        input=data,
        env={**around, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.returncode, done.stderr


def main(program: str, kept: list[str]) -> None:
    """Answer all."""
    asked = json.load(sys.stdin)
    found = {name: answered(program, kept, words, data, more) for name, words, data, more in asked}
    sys.stdout.write(json.dumps(found))


main(sys.argv[1], sys.argv[2:])
