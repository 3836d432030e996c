"""A program that a thread runs belongs to that thread, also beside a supervisor that reaps all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

from brokerctl.platform.commands import run_bounded
from brokerctl.store.file import memory
from brokerctl.store.file.memory import _Node

if TYPE_CHECKING:
    import pytest

# A supervisor of a child that lives on, beside a thread that runs programs, one after the other.
SUPERVISED = """
    import sys, threading
    from brokerctl.platform import signals
    from brokerctl.platform.commands import run_bounded
    from brokerctl.platform.system import os, take_no_signal
    from brokerctl.session import child
    from brokerctl.session.supervise import Supervisor

    mask, seen = signals.block(signals.waited()), []
    pid = child.start("/bin/sh", ("sh", "-c", "(sleep 0.2 & exec true); read wait"), {}, mask)

    def run():
        take_no_signal()
        for number in range(40):
            words = ("/bin/sh", "-c", f"echo {number}; exit {number}")
            seen.append(run_bounded(words, {}, 60, 1000) == (number, b"%d\\n" % number))
        os.close(1)
        os.write(int(sys.argv[1]), b"go\\n")

    threading.Thread(target=run, daemon=True).start()
    code = Supervisor(pid, signals.waited()).run().code
    os._exit(0 if seen == [True] * 40 and code == 0 else 1)
"""


def supervised(script: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script whose child waits for a line that the script may write."""
    source, end = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(end)],
            stdin=source,
            capture_output=True,
            pass_fds=[end],
            timeout=120,
            check=False,
        )
    finally:
        os.close(source)
        os.close(end)


def test_exit_codes_and_output_are_the_threads() -> None:
    """A status that the supervisor took would read as 0: a command that failed, as good."""
    done = supervised(SUPERVISED)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_supervisor_is_told_of_orphans_that_it_left() -> None:
    """Once no program runs: else they would stay zombies until another child ends."""
    script = """
        import signal
        from brokerctl.platform.awaited_programs import AWAITED
        from brokerctl.platform.system import os
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.posix_spawn("/bin/cat", ["cat"], {})
        told = []
        for looks in (False, True):
            with AWAITED, AWAITED:
                if looks:
                    assert AWAITED.reap(pid, os.WNOHANG) == (0, 0)
            told.append(signal.SIGCHLD in signal.sigpending())
        os.kill(pid, 9)
        os._exit(0 if told == [False, True] and AWAITED.reap(pid, 0) == (pid, 9) else 1)
    """
    done = supervised(script)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_thread_gives_no_program_the_terminal() -> None:
    """It is the terminal of the session's child, which would be stopped when it next reads."""
    script = """
        import os, pty, threading
        from brokerctl.platform.commands import run_bounded
        def ask():
            try:
                said.append(run_bounded(("/bin/sh", "-c", "read x </dev/tty; echo $x"), {}, 30, 99))
            except OSError as error:
                said.append(type(error).__name__)
        said = []
        pid, ours = pty.fork()
        if pid == 0:
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            os.write(1, said[0].encode() if isinstance(said[0], str) else b"it asked")
            os._exit(0)
        os.write(ours, b"typed\\n")
        found = b""
        try:
            while piece := os.read(ours, 999):
                found += piece
        except OSError:
            pass
        os.write(1, found)
    """
    done = supervised(script)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"NoTerminalError" in done.stdout


class SlowNode(_Node):
    """A file that another thread can look at whenever somebody has just looked who has its lock."""

    __slots__ = ("_who",)

    @property
    def holder(self) -> Any:  # noqa: ANN401 - what the room keeps there
        """Return it, a little later."""
        who = self._who
        time.sleep(0.001)
        return who

    @holder.setter
    def holder(self, who: object) -> None:
        self._who = who


def test_a_lock_in_memory_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where two look at the same moment."""
    monkeypatch.setattr(memory, "_Node", SlowNode)
    system = memory.MemorySystem()
    folder = system.folder("memory")
    folder.write("lock", b"")
    start, had = threading.Barrier(8), []

    def take() -> None:
        fd = system.open("lock", os.O_RDWR, dir_fd=folder.fd)
        start.wait()
        with contextlib.suppress(BlockingIOError):
            system.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            had.append(fd)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(had) == 1


def test_a_program_alone_runs_as_before() -> None:
    """With no supervisor there is nobody to tell."""
    assert run_bounded(("/bin/sh", "-c", "exit 3"), {}, 60, 10) == (3, b"")
