"""A thread of ours takes no signal: one that the main thread holds back would end us there."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.effects.browser import open_browser
from brokerctl.effects.http import _DaemonThreads
from brokerctl.errors import LockTimeoutError
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.work_clock import work_time
from brokerctl.store.file.lock import FileLock
from brokerctl.store.file.lock_wait import wait_for_another
from tests.store_room import NOW, soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
TASKS = "/proc/self/task"

if not os.path.isdir(TASKS):
    pytest.skip("threads are looked at in /proc", allow_module_level=True)


def new_threads(act: Callable[[], None]) -> list[set[int]]:
    """Return the signals that each thread blocks which was started by an act and still runs."""
    before = set(os.listdir(TASKS))
    act()
    deadline = time.monotonic() + 0.5  # a thread needs a moment to begin
    while True:
        masks = [blocked(task) for task in set(os.listdir(TASKS)) - before]
        if time.monotonic() > deadline or (masks and all(masks)):
            return masks
        time.sleep(0.01)


def blocked(task: str) -> set[int]:
    """Return the signals that a thread blocks."""
    with open(f"{TASKS}/{task}/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("SigBlk:"))
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 32) if mask >> (number - 1) & 1}


def test_who_waits_for_the_browser(tmp_path: Path) -> None:
    """A browser that stays open does not take the SIGTERM that a token request holds back."""
    script = tmp_path / "browser"
    script.write_text("#!/bin/sh\nsleep 1\n")
    script.chmod(0o700)
    environ = {"BROWSER": str(script), "PATH": os.defpath}

    def start() -> None:
        assert open_browser("https://i.example", environ, has_terminal=False)

    masks = new_threads(start)
    assert masks
    assert all(mask.issuperset(ENDING) for mask in masks)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(ENDING)


def test_who_waits_for_a_grant(tmp_path: Path) -> None:
    """A wait that was given up does not take the signals of the session that goes on."""
    folder = open_folder(str(tmp_path / "v1"))
    assert folder is not None
    locks = folder.child("locks")
    assert locks is not None
    lock = FileLock(locks, "g", SYSTEM)
    lock.acquire(soon(), NOW)

    def give_up() -> None:
        with pytest.raises(LockTimeoutError):
            wait_for_another(folder, "g", work_time() + 0.1)

    try:
        masks = new_threads(give_up)
    finally:
        lock.release()
    assert masks
    assert all(mask.issuperset(ENDING) for mask in masks)


def test_who_looks_a_name_up() -> None:
    """A look-up that was given up goes on in its thread, and takes no signal of a later request."""

    def look_up() -> None:
        _DaemonThreads().submit(time.sleep, 1)

    masks = new_threads(look_up)
    assert masks
    assert all(mask.issuperset(ENDING) for mask in masks)
