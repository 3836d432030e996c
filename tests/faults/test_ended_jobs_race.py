"""A job starts again while another one's command removes what it left: nothing alive is lost.

At each system call of the one the whole of the other is run: every interleaving that two processes
can have at one point, without a clock.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import LockTimeoutError
from brokerctl.model import GrantKey, TokenKey
from brokerctl.platform.system import System
from brokerctl.platform.work_clock import work_time
from brokerctl.store.entry import JOB
from brokerctl.store.values import Change, Intent
from tests.faults.faulty import COUNTED
from tests.store_room import make_token, open_store, soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from brokerctl.store.file import FileStore

KEY = GrantKey(issuer="https://issuer.example", client_id="ci", actor="client", job="job 1")
SLOT = TokenKey(grant=KEY)
LONG_AGO = 1000.0


class Interleaved(System):
    """The real calls; before the Nth of them somebody else has a turn."""

    def __init__(self, nth: int, turn: Callable[[], None]) -> None:
        self.count, self._nth, self._turn = 0, nth, turn
        for name in COUNTED:
            setattr(self, name, partial(self._call, getattr(System, name)))

    @property
    def has_struck(self) -> bool:
        """Return whether there was an Nth call."""
        return self.count >= self._nth

    def _call(self, real: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the real one
        self.count += 1
        if self.count == self._nth:
            self._turn()
        return real(*args, **options)


def use(store: FileStore, value: str, ends_at: float, deadline: float) -> None:
    """Get a token as a job does: lock, note, intent, commit. The lock it has is the file's own."""
    with store.lock_grant(KEY, deadline) as locked:
        store.note_job(KEY)
        locked.intend(Intent(kind="issue", generation=0, at=time.time(), key=KEY, profile="ci"))
        token = make_token(value).replace(issued_at=time.time(), expires_at=ends_at)
        locked.commit(Change(token_key=SLOT, token=token, profile="ci"))
        with pytest.raises(LockTimeoutError), open_store(store_folder(store)).lock_grant(KEY, 0.0):
            pass


def store_folder(store: FileStore) -> str:
    """Return where a store lies."""
    return store.disk.folder.path


def begin(folder: Path) -> FileStore:
    """Return the store of a job whose token is over, opened by its own process."""
    store = open_store(str(folder))
    store.clock = time.time
    use(store, "over", LONG_AGO, soon())
    return store


def check(folder: Path) -> None:
    """The token is served, and the note of it is there for those who clear up later."""
    store = open_store(str(folder))
    found = store.find_token(SLOT, time.time(), 0)
    assert found is not None
    assert found.value.reveal() == "new"
    assert len(store.disk.names(JOB)) == 1
    assert store.remove_ended_jobs(None, time.time()) == 0
    assert store.find_token(SLOT, time.time(), 0) is not None


def use_at_once(store: FileStore, done: list[str]) -> None:
    """Use the job's grant unless it is locked, as a turn that can't wait."""
    with contextlib.suppress(LockTimeoutError):
        use(store, "new", time.time() + 3600, work_time())
        done.append("in between")


@pytest.mark.parametrize("is_open", [False, True], ids=["new process", "process of before"])
def test_a_job_starts_at_each_step_of_the_removal(tmp_path: Path, *, is_open: bool) -> None:
    """It has its token at once, or after the removal: and keeps it."""
    turns = []
    for nth in itertools.count(1):
        folder = tmp_path / str(nth)
        job = begin(folder)
        if not is_open:
            job.disk.close()
            job = open_store(str(folder))
            job.clock = time.time
        done: list[str] = []
        system = Interleaved(nth, partial(use_at_once, job, done))
        remover = open_store(str(folder), system)
        remover.clock = time.time
        remover.remove_ended_jobs(None, time.time())
        if not done:
            use(job, "new", time.time() + 3600, soon())
        check(folder)
        turns.append(bool(done))
        if not system.has_struck:
            break
    assert {True, False} <= set(turns), "some found the lock taken, some did not"
    assert len(turns) > 10


def test_the_removal_at_each_step_of_a_job(tmp_path: Path) -> None:
    """It never waits, and takes nothing of a job that has its lock or a token that lives."""
    for nth in itertools.count(1):
        folder = tmp_path / str(nth)
        begin(folder).disk.close()
        remover = open_store(str(folder))
        remover.clock = time.time

        def remove(remover: FileStore = remover) -> None:
            remover.remove_ended_jobs(None, time.time())

        system = Interleaved(nth, remove)
        job = open_store(str(folder), system)
        job.clock = time.time
        use(job, "new", time.time() + 3600, soon())
        check(folder)
        if not system.has_struck:
            assert nth > 20
            break


def test_a_lock_that_was_removed_guards_nothing(tmp_path: Path) -> None:
    """What ended is gone, its lock too: the check of the lock above can fail."""
    store = begin(tmp_path / "v1")
    assert store.remove_ended_jobs(None, time.time()) == 1
    assert os.listdir(f"{store_folder(store)}/locks") == []
