"""Opening a private folder: whichever call fails is our error, exit code 6, and leaks nothing."""

from __future__ import annotations

import errno
import gc
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import StoreError
from brokerctl.platform.private_files import open_folder
from tests.faults.faulty import FAIL, LATE, FaultySystem, count_calls

if TYPE_CHECKING:
    from pathlib import Path

CALLS = ("open", "fstat", "stat", "mkdir", "fsync")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _open_both(path: str, system: FaultySystem) -> None:
    parent = open_folder(path, system)
    assert parent is not None
    child = parent.child("v1")
    assert child is not None
    child.close()
    parent.close()


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "new"])
@pytest.mark.parametrize("mode", [FAIL, LATE])
def test_each_call_that_fails_is_told(tmp_path: Path, mode: str, *, is_there: bool) -> None:
    """No OSError comes out, the message names the path, and no descriptor is left open."""
    top = tmp_path / "a"
    path = str(top / "b" / "state")

    def again() -> None:
        shutil.rmtree(top, ignore_errors=True)
        if is_there:
            os.makedirs(f"{path}/v1", mode=0o700)
            for level in (path, f"{path}/v1"):
                os.chmod(level, 0o700)

    def run(system: FaultySystem) -> None:
        _open_both(path, system)

    again()
    total = count_calls(run, CALLS)
    gc.collect()  # what earlier tests left open goes now, and not in the middle
    before = _descriptors()
    told: list[tuple[str, int]] = []
    for nth in range(1, total + 1):
        again()
        system = FaultySystem(nth, mode, code=errno.EIO, names=CALLS)
        try:
            run(system)
        except StoreError as error:
            told.append((error.message, error.exit_code))
        assert _descriptors() <= before, system.calls
    assert len(told) >= 4
    assert all(str(tmp_path) in message for message, _ in told), told
    assert {code for _, code in told} == {6}


def test_a_parent_that_can_not_be_looked_at(tmp_path: Path) -> None:
    """A level that is a link to itself is named, and is no traceback."""
    os.symlink("loop", tmp_path / "loop")
    with pytest.raises(StoreError, match="loop") as raised:
        open_folder(str(tmp_path / "loop" / "state"))
    assert raised.value.exit_code == 6
