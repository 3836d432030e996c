"""Real processes race for one grant: one redeems, the others find what it stored."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from brokerctl.keys.ring import render_ring
from tests.store_room import GRANT_KEY, NOW, RING, log_in, make_change, make_token, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

RACER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "store_racer.py")


def _prepare(path: str) -> None:
    store = open_store(path)
    log_in(store)
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.commit(make_change("r1", make_token("old", issued_at=NOW - 10**9)))


def _race(path: str, numbers: list[int]) -> list[str]:
    """Start a process for each number, all at once; return their lines."""
    words = [sys.executable, RACER, path, render_ring(RING).hex()]
    start, gun = os.pipe()
    racers = [
        subprocess.Popen([*words, str(number)], stdin=start, stdout=subprocess.PIPE, text=True)
        for number in numbers
    ]
    os.close(start)
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    os.close(gun)
    return [line for racer in racers for line in racer.communicate(timeout=60)[0].splitlines()]


def test_one_of_many_redeems_and_all_have_its_token(tmp_path: Path) -> None:
    """Thirty-two processes, one redemption."""
    _prepare(str(tmp_path / "store"))
    lines = _race(str(tmp_path / "store"), [0] * 32)
    assert sorted(lines) == ["got fresh"] * 32 + ["redeemed r1 first"]


def test_a_holder_that_dies_after_sending_is_explained_by_its_intent(tmp_path: Path) -> None:
    """The next one finds the lock free at once, and the intent of the dead."""
    path = str(tmp_path / "store")
    _prepare(path)
    assert _race(path, [1]) == ["redeemed r1 first"]
    lines = _race(path, [0] * 8)
    assert sorted(lines) == ["got fresh"] * 8 + ["redeemed r1 again"]
    with open_store(path).lock_grant(GRANT_KEY, soon()) as locked:
        assert locked.state.earlier_intent is None
        assert locked.state.generation == 3
