"""Who still runs with a token that has just ended: processes that outlived the session's child."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_BYTES = 1 << 20
_MOMENT_S = 0.1


class Survivor:
    """One process that holds a variable of ours."""

    __slots__ = ("name", "pid")

    def __init__(self, pid: int, name: str) -> None:
        self.pid = pid
        self.name = name


def find_survivors(assignments: Iterable[tuple[str, str]]) -> list[Survivor]:
    """Return processes of ours whose environment holds one of these NAME, VALUE pairs.

    This finds what was inherited, not what was copied: a report for people, no boundary. The rest
    of a pipeline that is just ending gets a moment for it.
    """
    lines = [os.fsencode(f"{name}={value}") for name, value in assignments]
    found, is_sure = _find(lines)
    if is_sure and not found:
        return []
    time.sleep(_MOMENT_S)
    return _find(lines)[0]


def _find(lines: list[bytes]) -> tuple[list[Survivor], bool]:
    """Return who holds one, and whether every process could be looked at."""
    own = os.getpid()
    found, is_sure = [], True
    try:
        entries = os.listdir("/proc") if lines else []
    except OSError:
        entries = []  # no /proc here: nothing to report
    for entry in entries:
        if not entry.isdigit() or int(entry) == own:
            continue
        text = _read(f"/proc/{entry}/environ")
        if not text and _is_starting(entry):
            is_sure = False
        environ = text.split(b"\0")
        if any(line in environ for line in lines):
            name = _read(f"/proc/{entry}/comm").decode("utf-8", "replace").strip()
            found.append(Survivor(int(entry), name))
    return found, is_sure


def _is_starting(entry: str) -> bool:
    """Say whether an empty environment is that of a process in the middle of its execve(2).

    A process that has ended, and a thread of the kernel, has no program.
    """
    try:
        return bool(os.readlink(f"/proc/{entry}/exe"))
    except OSError:
        return False


def _read(path: str) -> bytes:
    """Read what the kernel lets us read; another user's process is none of ours."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        pieces = []
        while piece := os.read(fd, _MOST_BYTES):
            pieces.append(piece)
        return b"".join(pieces)
    except OSError:
        return b""
    finally:
        os.close(fd)
