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
    if not _find(lines):
        return []
    time.sleep(_MOMENT_S)
    return _find(lines)


def _find(lines: list[bytes]) -> list[Survivor]:
    own = os.getpid()
    found = []
    try:
        entries = os.listdir("/proc") if lines else []
    except OSError:
        entries = []  # no /proc here: nothing to report
    for entry in entries:
        if not entry.isdigit() or int(entry) == own:
            continue
        environ = _read(f"/proc/{entry}/environ").split(b"\0")
        if any(line in environ for line in lines):
            name = _read(f"/proc/{entry}/comm").decode("utf-8", "replace").strip()
            found.append(Survivor(int(entry), name))
    return found


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
