"""The program as it was before the store's second format, from the repository's own history."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import BIN, ROOT, Program

if TYPE_CHECKING:
    from pathlib import Path

# The last commit that wrote BKR1 and stopped at no ring but version 1.
COMMIT = "61e347586a4d319a5723a7847976da38af6c4621"
_START = """#!/bin/sh
exec '{bin}/python' -I -c 'import sys
sys.path.insert(0, "{source}")
sys.argv[0] = "brokerctl"
from brokerctl.__main__ import main
main()' "$@"
"""


def extract_earlier(folder: Path) -> str:
    """Put the earlier version's source into a folder; return the path of what starts it."""
    found = subprocess.run(
        ["git", "-C", ROOT, "archive", COMMIT, "src"], capture_output=True, check=False
    )
    if found.returncode != 0:
        pytest.skip("the repository's history is not here: a shallow clone, or no clone at all")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=found.stdout, check=True)
    path = folder / "brokerctl"
    path.write_text(_START.format(bin=BIN, source=folder / "src"))
    path.chmod(0o755)
    return str(path)


def sharing_home(program: Program, path: str) -> Program:
    """Return another version of a program, with the same home and environment."""
    other = Program(program.home)
    other.home, other.env, other.path = program.home, program.env, path
    other.runs = 1000  # its runs are kept under names of their own
    return other


def digests(folder: str) -> dict[str, str]:
    """Return every file below a folder by the digest of its bytes.

    The locks of `keys` are left out: who waits for one writes down that it does.
    """
    found = {}
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            if name not in {".lock", ".gate"}:
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found
