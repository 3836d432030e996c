"""The log's own lock: bounded waiting that says who holds it and what to do."""

from __future__ import annotations

import _thread
import fcntl
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.audit import lock
from brokerctl.errors import AuditError
from brokerctl.freshness import AT_WORK_TIMES, LOCK_WAIT_S
from brokerctl.platform.process import find_process
from brokerctl.platform.system import SYSTEM, System
from tests.audit_log import SmallLog

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Iterator
    from pathlib import Path
    from typing import SupportsIndex

HOLDER = """
import os, socket, sys
from brokerctl.audit.lock import acquire
from brokerctl.platform.private_files import open_folder
acquire(open_folder(sys.argv[1]))
print(flush=True)
sys.stdin.read()
while True:
    pass
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

    def wait_for(self, lock: LockType, seconds: float) -> bool:  # type: ignore[override]  # static there
        """Go on at once, with or without what was waited for."""
        self.now += seconds
        return lock.acquire(blocking=False)

    def monotonic(self) -> float:
        """Return the time that was waited."""
        return self.now


def append_soon(small: SmallLog) -> int:
    """Append once the thread that gave up has had its turn: this system's waiting is none."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            return small.log.append("e", {})
        except AuditError:
            time.sleep(0.01)
    raise AssertionError("the lock never became free")


@pytest.fixture
def system() -> FastSystem:
    """Return a system that does not wait."""
    return FastSystem()


@pytest.fixture
def small(tmp_path: Path, system: FastSystem) -> SmallLog:
    """Return a log of one record."""
    return SmallLog(tmp_path, system=system).fill(1)


def wait_for_state(pid: int, state: bytes) -> None:
    """Wait until a process is in a state of proc(5)."""
    while find_process(str(pid), SYSTEM)[0] != state:
        time.sleep(0.005)


@pytest.fixture
def holder(small: SmallLog) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the log's lock."""
    argv = [sys.executable, "-c", HOLDER, str(small.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        wait_for_state(other.pid, b"S")  # else it is at work, and given more time
        yield other
        other.kill()


def test_a_held_lock_is_waited_for_five_seconds_and_its_holder_named(
    small: SmallLog, system: FastSystem, holder: subprocess.Popen[str]
) -> None:
    """Polled from 0.2 ms to 10 ms, then waited for in line; then exit code 7, and no record."""
    before = small.read()
    with pytest.raises(AuditError, match=f"process {holder.pid}$") as caught:
        small.fill(1)
    assert caught.value.exit_code == 7
    assert caught.value.hint == "run it again when that process has ended"
    assert system.pauses[0] == 0.0002
    assert max(system.pauses) == 0.01
    assert 5 <= system.now < 6
    assert small.read() == before


def test_a_stopped_holder_gets_a_hint(small: SmallLog, holder: subprocess.Popen[str]) -> None:
    """Ctrl-Z in the wrong moment blocks all others: the hint is the command that ends it."""
    os.kill(holder.pid, signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    with pytest.raises(AuditError) as caught:
        small.fill(1)
    assert f"process {holder.pid}, which is stopped" in caught.value.message
    assert caught.value.hint == f"run 'kill -CONT {holder.pid}'"


def test_a_line_that_moves_is_waited_for(
    small: SmallLog,
    system: FastSystem,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where others write, however slowly, it is a crowd: nobody in it ends with exit code 7."""
    counters = os.path.join(small.path, lock.NAME)
    waited = system.wait_for

    def wait_for(done: LockType, seconds: float) -> bool:
        with open(counters, "r+b") as file:  # as a holder leaves it that counts a refusal
            file.seek(3000)
            file.write(str(system.now // 4).encode())
        if system.now > 60:
            holder.kill()
            return done.acquire(timeout=20)
        return waited(done, seconds)

    monkeypatch.setattr(system, "wait_for", wait_for)
    small.fill(1)
    assert system.now > 60


def test_a_holder_that_wants_to_go_on_is_given_time(
    small: SmallLog, system: FastSystem, holder: subprocess.Popen[str]
) -> None:
    """One that waits for a processor is no reason to fail after 5 s, and none to wait for ever."""
    assert holder.stdin is not None
    holder.stdin.close()  # it spins from here on
    wait_for_state(holder.pid, b"R")
    with pytest.raises(AuditError, match=f"process {holder.pid}$"):
        small.fill(1)
    assert AT_WORK_TIMES * LOCK_WAIT_S <= system.now < AT_WORK_TIMES * LOCK_WAIT_S + 2


def test_a_holder_that_dies_gives_the_lock_back(
    small: SmallLog, holder: subprocess.Popen[str]
) -> None:
    """No lock outlives its process."""
    holder.kill()
    holder.wait()
    assert append_soon(small) == 2


def test_a_holder_elsewhere_is_named_with_its_host(small: SmallLog) -> None:
    """Folders are shared by containers and machines: a number alone would mislead."""
    mine = lock.acquire(small.log.folder)
    os.pwrite(mine, b"77 elsewhere 1".ljust(127) + b"\n", 0)
    with pytest.raises(AuditError, match="process 77 on 'elsewhere'") as caught:
        small.fill(1)
    assert "kill" not in str(caught.value.hint)
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


@pytest.mark.parametrize("has_thread", [True, False])
def test_who_waits_in_line_has_the_lock(
    small: SmallLog,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_thread: bool,
) -> None:
    """Woken by the kernel, or found now and then where no thread is left; and no other has it."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    if not has_thread:
        monkeypatch.setattr(_thread, "start_new_thread", refuse)
    folder = small.log.folder
    folder.system = SYSTEM
    before = len(os.listdir("/proc/self/fd"))
    with subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -KILL {holder.pid}"]):
        fd = lock.acquire(folder)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    with open(small.path / lock.NAME, "rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(fd)
        fcntl.flock(file, fcntl.LOCK_EX)


def test_who_gave_up_takes_no_lock_later(small: SmallLog, holder: subprocess.Popen[str]) -> None:
    """The thread that still waits in line gives the lock back at once, and its descriptor too."""
    with pytest.raises(AuditError):
        small.fill(1)
    holder.kill()
    holder.wait()
    assert append_soon(small) == 2
