"""Reading the log from its first segment to its last line, in blocks, for verify and query."""

from __future__ import annotations

import errno
import os

from brokerctl.audit.append import LOG, read_at
from brokerctl.audit.lock import acquire
from brokerctl.audit.tail import closed_segments
from brokerctl.errors import AuditError, StoreError
from brokerctl.model import Value
from brokerctl.platform.private_files import checked_file, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.platform.private_files import Folder

BLOCK_BYTES = 4 * 1024 * 1024
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Segment(Value):
    """One open file of the log, and how much of it there was when it was opened."""

    name: str
    fd: int
    size: int


def open_segment(folder: Folder, name: str) -> Segment | None:
    """Open one file of the log for reading; None if there is none of that name."""
    path = f"{folder.path}/{name}"
    try:
        fd = folder.system.open(name, _FLAGS, dir_fd=folder.fd)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        failure = refused(path, error)
        raise AuditError(failure.message, hint=failure.hint) from error
    try:
        return Segment(name=name, fd=fd, size=checked_file(fd, path, folder.system))
    except StoreError as error:
        folder.system.close(fd)
        raise AuditError(error.message, hint=error.hint) from error


def all_segments(folder: Folder, *, locked: bool) -> Iterator[Segment]:
    """Yield every file of the log, open, in order; each is closed when the next is asked for.

    `locked` takes the log's lock while the last one is opened, so that no half write is seen.
    """
    names, last = _snapshot(folder, locked=locked)
    try:
        for name in names:
            segment = open_segment(folder, name)
            if segment is None:
                continue  # removed meanwhile: its records are missed by their numbers
            try:
                yield segment
            finally:
                folder.system.close(segment.fd)
        if last is not None:
            yield last
    finally:
        if last is not None:
            folder.system.close(last.fd)


def _snapshot(folder: Folder, *, locked: bool) -> tuple[list[str], Segment | None]:
    if not any(name == LOG or name.startswith(LOG + "-") for name in folder.names()):
        return [], None  # nothing was ever written: no lock is made for looking
    try:
        lock = acquire(folder) if locked else -1
        try:
            last = open_segment(folder, LOG)  # before the list: closed meanwhile, it is in both
            names = closed_segments(folder)
        finally:
            if locked:
                folder.system.close(lock)
    except StoreError as error:
        raise AuditError(error.message, hint=error.hint) from error
    except OSError as error:
        raise AuditError(f"can't read the log: {os.strerror(error.errno or 0).lower()}") from error
    return names, last


def read_lines(
    folder: Folder, segment: Segment, start: int = 0
) -> Iterator[tuple[list[bytes], bool]]:
    """Yield the lines in blocks, without their newlines, and whether they had one.

    The last block may be one line without a newline; all others are whole.
    """
    left = b""
    while start < segment.size:
        data = read_at(folder.system, segment.fd, start, min(start + BLOCK_BYTES, segment.size))
        if not data:
            break  # became shorter: a truncation, which the numbers tell
        start += len(data)
        lines = (left + data).split(b"\n")
        left = lines.pop()
        if lines:
            yield lines, True
    if left:
        yield [left], False
