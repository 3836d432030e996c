"""Programs that a thread waits for, beside a supervisor that reaps whatever has ended."""

from __future__ import annotations

import _thread

from brokerctl.platform.system import os, signals


class AwaitedPrograms:
    """The programs that threads of ours wait for: a supervisor, which reaps all, leaves them alone.

    `with AWAITED:` stands round each one's whole life, since a status that somebody else reaped
    would look like a success.
    """

    __slots__ = ("_awaited", "_is_owed", "_lock")

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._awaited = 0
        self._is_owed = False  # whether the supervisor has left orphans unreaped meanwhile

    def __enter__(self) -> None:
        """Keep the supervisor from reaping."""
        with self._lock:
            self._awaited += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._awaited -= 1
            is_owed = self._is_owed and not self._awaited
            self._is_owed = self._is_owed and not is_owed
        if is_owed:
            os.kill(os.getpid(), signals.SIGCHLD)  # so that it looks again

    def reap(self, child: int, flags: int) -> tuple[int, int]:
        """Return what waitpid(2) has for any child, or for that one while a program runs."""
        with self._lock:
            if self._awaited:
                self._is_owed = True
                return os.waitpid(child, flags)
            return os.waitpid(-1, flags)


AWAITED = AwaitedPrograms()
