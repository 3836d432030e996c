"""A sample of faults that the kernel injects: the in-process layer tells the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from brokerctl.keys.ring import render_ring
from tests.program import require_tool
from tests.scripts.test_store_race import RACER, _prepare
from tests.store_room import GRANT_KEY, RING, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

RENAME = "?rename,?renameat,?renameat2"
UNLINK = "?unlink,?unlinkat"
# (calls, what is done to which of them, exit code)
SAMPLE = [
    (RENAME, "error=ENOSPC:when=1", 0),  # the intent's: the second try is stored
    (RENAME, "error=ENOSPC:when=1+", 1),
    (RENAME, "error=EIO:when=2", 0),  # the grant's: the issuer has answered
    (RENAME, "error=EIO:when=2+", 1),
    (RENAME, "error=ENOSPC:when=3", 0),  # the slot's
    (RENAME, "error=ENOSPC:when=3+", 1),
    (RENAME, "signal=KILL:when=2", -9),
    (RENAME, "signal=KILL:when=3", -9),
    ("fsync", "error=EIO:when=1", 1),  # what is reserved: nothing is asked for
    ("fsync", "error=EIO:when=2", 1),
    ("fsync", "error=EIO:when=4", 0),
    ("fsync", "error=EIO:when=5", 0),  # the grant's, in the room reserved for it
    ("fsync", "error=EIO:when=5+", 1),
    ("fsync", "signal=KILL:when=5", -9),
    ("fsync", "signal=KILL:when=6", -9),
    ("pwrite64", "error=ENOSPC:when=2", 0),  # where even reserved room is none
    (UNLINK, "error=EIO:when=1", 0),  # the cleared intent's: it explains nothing any more
    (UNLINK, "signal=KILL:when=1", -9),
]


@pytest.mark.parametrize(("calls", "fault", "code"), SAMPLE)
def test_a_fault_of_the_kernel_loses_no_grant(
    tmp_path: Path, calls: str, fault: str, code: int
) -> None:
    """The old or the new grant opens, and an intent is there where the old one was redeemed."""
    require_tool("strace")
    path = str(tmp_path / "store")
    _prepare(path)
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
    words += ["-e", f"inject={calls}:{fault}", os.path.realpath(sys.executable)]
    environ = {"PYTHONPATH": os.pathsep.join(part for part in sys.path if part), "PATH": os.defpath}
    run = subprocess.run(
        [*words, RACER, path, render_ring(RING).hex(), "0"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "ptrace" in run.stderr.lower():
        pytest.skip("ptrace is not allowed here")
    assert run.returncode == code, run.stderr
    with open_store(path).lock_grant(GRANT_KEY, soon()) as locked:
        state = locked.state
        assert state.grant is not None
        assert state.grant.refresh_token is not None
        held = state.grant.refresh_token.reveal()
        if "redeemed r1" in run.stdout and held == "r1":
            assert state.earlier_intent is not None
            assert state.earlier_intent.generation == state.grant.generation
        assert state.damage == ()
        assert (held == "r2") or ("got" not in run.stdout)
