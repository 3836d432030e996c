"""The log's own lock: bounded waiting that says who holds it and what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from brokerctl.audit import lock
from brokerctl.errors import AuditError
from brokerctl.system import System
from tests.audit_log import SmallLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import SupportsIndex

HOLDER = """
import os, socket, sys
from brokerctl.audit.lock import acquire
from brokerctl.files import open_folder
acquire(open_folder(sys.argv[1]))
print(flush=True)
sys.stdin.read()
"""


class FastSystem(System):
    """A system whose waiting takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, pause: SupportsIndex | float) -> None:
        """Go on at once."""
        self.pauses.append(float(pause))
        self.now += float(pause)

    def monotonic(self) -> float:
        """Return the time that was waited."""
        return self.now


@pytest.fixture
def system() -> FastSystem:
    """Return a system that does not wait."""
    return FastSystem()


@pytest.fixture
def small(tmp_path: Path, system: FastSystem) -> SmallLog:
    """Return a log of one record."""
    return SmallLog(tmp_path, system=system).fill(1)


@pytest.fixture
def holder(small: SmallLog) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the log's lock."""
    argv = [sys.executable, "-c", HOLDER, str(small.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        yield other
        other.kill()


def test_a_held_lock_is_waited_for_five_seconds_and_its_holder_named(
    small: SmallLog, system: FastSystem, holder: subprocess.Popen[str]
) -> None:
    """Polled from 0.2 ms to 10 ms; then exit code 7, and no record."""
    before = small.read()
    with pytest.raises(AuditError, match=f"process {holder.pid}$") as caught:
        small.fill(1)
    assert caught.value.exit_code == 7
    assert caught.value.hint is None
    assert system.pauses[0] == 0.0002
    assert max(system.pauses) == 0.01
    assert system.now == pytest.approx(5)
    assert small.read() == before


def test_a_stopped_holder_gets_a_hint(small: SmallLog, holder: subprocess.Popen[str]) -> None:
    """Ctrl-Z in the wrong moment blocks all others: the hint is the command that ends it."""
    os.kill(holder.pid, signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    with pytest.raises(AuditError) as caught:
        small.fill(1)
    assert caught.value.hint == f"kill -CONT {holder.pid}"


def test_a_holder_that_dies_gives_the_lock_back(
    small: SmallLog, holder: subprocess.Popen[str]
) -> None:
    """No lock outlives its process."""
    holder.kill()
    holder.wait()
    assert small.log.append("e", {}) == 2


def test_a_holder_elsewhere_is_named_with_its_host(small: SmallLog) -> None:
    """Folders are shared by containers and machines: a number alone would mislead."""
    mine = lock.acquire(small.log.folder)
    os.pwrite(mine, b"77 elsewhere 1".ljust(127) + b"\n", 0)
    with pytest.raises(AuditError, match="process 77 on 'elsewhere'") as caught:
        small.fill(1)
    assert caught.value.hint is None
    os.pwrite(mine, b"?" * 127, 0)
    with pytest.raises(AuditError, match="unknown process"):
        small.fill(1)
    os.close(mine)


def test_a_lock_that_was_removed_is_no_lock(tmp_path: Path) -> None:
    """Whoever waited for the removed file must not write beside the holder of the new one."""

    class Remover(System):
        """Removes the lock file between its opening and its locking, once."""

        left = 1

        def flock(self, fd: int, operation: int) -> None:  # type: ignore[override]  # needs its instance
            """Remove, then lock."""
            if self.left:
                self.left -= 1
                os.unlink(tmp_path / "audit" / "log.lock")
            System.flock(fd, operation)

    small = SmallLog(tmp_path, system=Remover()).fill(1)
    assert "log.lock" in small.names()


def test_the_lock_is_not_inherited(small: SmallLog) -> None:
    """A child of ours can't hold the log's lock."""
    fd = lock.acquire(small.log.folder)
    assert not os.get_inheritable(fd)
    os.close(fd)
