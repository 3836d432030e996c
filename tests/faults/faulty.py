"""A `System` whose Nth call fails, or is the last thing that the process does.

Waiting takes no time.

Run the steps once with `FaultySystem()` to learn how many calls they make (`count`), then once for
each N. A kill is simulated: from then on nothing reaches the disk, whatever handlers run, and the
descriptors are closed, as the kernel would. `Killed` is a BaseException, so that no handler of
ours takes it for an error.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

from brokerctl.platform.system import System
from brokerctl.platform.work_clock import work_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, SupportsIndex

COUNTED = (
    "open",
    "read",
    "pread",
    "write",
    "pwrite",
    "lseek",
    "ftruncate",
    "fsync",
    "fdatasync",
    "fstat",
    "stat",
    "mkdir",
    "rename",
    "symlink",
    "unlink",
    "rmdir",
    "listdir",
    "fchmod",
    "fchown",
    "flock",
)
CHANGING = (
    "write",
    "pwrite",
    "ftruncate",
    "fsync",
    "fdatasync",
    "mkdir",
    "rename",
    "symlink",
    "unlink",
    "fchmod",
    "fchown",
)
FAIL = "fail"  # the Nth call does nothing and raises
LATE = "late"  # the Nth call does its work and raises all the same
SHORT = "short"  # the Nth call, if it writes, writes half; the next write finds the disk full
KILL = "kill"  # the Nth call does its work and nothing ever happens afterwards
MODES = (FAIL, LATE, SHORT, KILL)
STUCK = "stuck"  # the Nth call and every one after it does nothing and raises


def _no_sync(fd: int) -> None:
    """Stand for a sync: what was written is read back in any case, and nobody cuts the power."""
    os.fstat(fd)


class Killed(BaseException):
    """Stands for SIGKILL."""


class FaultySystem(System):
    """The real calls, counted; the Nth of `names` goes wrong in the way of `mode`."""

    def __init__(
        self,
        nth: int | None = None,
        mode: str = FAIL,
        *,
        code: int = errno.EIO,
        names: tuple[str, ...] = COUNTED,
        last: int | None = None,
    ) -> None:
        self.nth = nth
        self.last = last  # of `STUCK`: the call after which all is well again
        self.mode = mode
        self.code = code
        self.count = 0
        self.calls: list[str] = []
        self.is_dead = False
        self.slept_s = 0.0
        self._is_full = False
        for name in COUNTED:
            real = _no_sync if name in {"fsync", "fdatasync"} else getattr(System, name)
            setattr(self, name, partial(self._call, name, real, is_counted=name in names))

    @property
    def has_struck(self) -> bool:
        """Return whether the Nth call was made."""
        return self.nth is not None and self.count >= self.nth

    def sleep(self, seconds: SupportsIndex | float) -> None:
        """Let the time pass that is waited, without waiting."""
        self.slept_s += float(seconds)

    def monotonic(self) -> float:
        """Return the time of the work clock, with what was waited."""
        return work_time() + self.slept_s

    def _call(
        self,
        name: str,
        real: Callable[..., Any],
        *args: Any,  # noqa: ANN401 - whatever the real call takes
        is_counted: bool,
        **options: Any,  # noqa: ANN401 - as above
    ) -> Any:  # noqa: ANN401 - whatever the real call returns
        if self.is_dead:
            raise Killed
        if not is_counted:
            return real(*args, **options)
        self.count += 1
        self.calls.append(f"{self.count} {name} {args[0]!r}")
        if self._is_full and name == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        is_stuck = self.mode == STUCK and self.has_struck
        is_stuck &= self.last is None or self.count <= self.last
        if self.count != self.nth and not is_stuck:
            return real(*args, **options)
        return self._strike(name, real, args, options)

    def _strike(
        self, name: str, real: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:  # noqa: ANN401 - as above
        if self.mode == SHORT:
            if name != "write":
                return real(*args, **options)
            self._is_full = True
            return real(args[0], bytes(args[1])[: len(args[1]) // 2])
        if self.mode in {FAIL, STUCK}:
            raise OSError(self.code, os.strerror(self.code))
        done = real(*args, **options)
        if name == "open":  # nobody will ever close it
            os.close(done)
        if self.mode == KILL:
            self.is_dead = True
            raise Killed
        raise OSError(self.code, os.strerror(self.code))


def count_calls(run: Callable[[FaultySystem], None], names: tuple[str, ...] = COUNTED) -> int:
    """Return how many of these calls the steps make when nothing goes wrong."""
    system = FaultySystem(names=names)
    run(system)
    return system.count
