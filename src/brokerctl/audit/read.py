"""Reads the log: all of it, in blocks of lines, or the records that a filter matches.

Records can also be followed as they are written. Nothing is verified here: no key and no lock is
needed, unknown fields are kept, and a damaged line is returned as such.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from datetime import UTC, datetime

from brokerctl.audit.filter import ANY, NO_MATCH, RecordFilter, RecordMatcher
from brokerctl.audit.lock import LOG, acquire
from brokerctl.audit.record import read_at, render_time
from brokerctl.audit.recover import closed_segments
from brokerctl.config.duration import parse_duration
from brokerctl.errors import AuditError, StoreError, UsageError
from brokerctl.freshness import LAST_TIME
from brokerctl.model import Value
from brokerctl.platform.private_files import checked_file, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from brokerctl.platform.private_files import Folder

BLOCK_BYTES = 4 * 1024 * 1024
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_POLL_S = 0.2


class Segment(Value):
    """One open file of the log, and its size when it was opened."""

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

    `locked`: the last one is opened under the log's lock, so that no half write is seen.
    """
    names, last = _snapshot(folder, locked=locked)
    try:
        for name in names:
            segment = open_segment(folder, name)
            if segment is None:
                continue  # removed meanwhile: the missing sequence numbers show it
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
        return [], None  # nothing was ever written: reading must make no lock file
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
    """Yield blocks of lines without their newlines, and whether these lines had newlines.

    The last block may be one line that had none; all other lines are whole.
    """
    left = b""
    while start < segment.size:
        data = read_at(folder.system, segment.fd, start, min(start + BLOCK_BYTES, segment.size))
        if not data:
            break  # truncated meanwhile: the sequence numbers show it
        start += len(data)
        lines = (left + data).split(b"\n")
        left = lines.pop()
        if lines:
            yield lines, True
    if left:
        yield [left], False


class FoundRecord(Value):
    """One line that was found: its fields, or None where it can't be read."""

    fields: Any  # dict[str, Any] | None
    segment: str
    line: bytes


def parse_moment(text: str, now: float) -> str:
    """Turn `2026-11-23`, an RFC 3339 time, or a duration ago (`2h`) into the log's own form."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return render_time(now - parse_duration(text))
        except UsageError:
            raise UsageError(
                f"'{text}' is not a time",
                hint="write 2026-11-23, 2026-11-23T09:00:00Z or how long ago: 2h",
            ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return render_time(min(max(moment.timestamp(), 0), LAST_TIME))


def find_records(
    folder: Folder, match: RecordFilter = ANY, limit: int | None = None
) -> list[FoundRecord]:
    """Return the records that match, oldest first; with a limit only the newest ones."""
    found = iterate_records(folder, match)
    return list(found if limit is None else deque(found, maxlen=limit))


def iterate_records(folder: Folder, match: RecordFilter = ANY) -> Iterator[FoundRecord]:
    """Yield the records that match, oldest first, without holding them all."""
    matcher = RecordMatcher(match)
    for segment in all_segments(folder, locked=False):
        yield from _scan(folder, segment, matcher)


def recorded_sessions(folder: Folder, start: str) -> list[str]:
    """Return the ids of sessions in the record that begin so, each once, the newest last."""
    found: dict[str, None] = {}
    for record in iterate_records(folder, RecordFilter(session=start)):
        fields = record.fields or {}
        for named in (fields, fields.get("requester")):
            session = named.get("session") if isinstance(named, dict) else None
            if isinstance(session, str) and session.startswith(start):
                found.pop(session, None)
                found[session] = None
    return list(found)


def follow_records(
    folder: Folder, match: RecordFilter = ANY, limit: int = 10
) -> Iterator[FoundRecord]:
    """Yield the newest records, then each new one, across rotations, without end."""
    segment, matcher = open_segment(folder, LOG), RecordMatcher(match)
    start = _whole_bytes(folder, segment) if segment else 0
    newest = deque(_upto(folder, matcher, segment, start), maxlen=limit)
    yield from newest
    while True:
        if segment is not None:
            segment, lines, start = _read_new(folder, segment, start)
            yield from _matching(segment, lines, matcher)
        following = _next_segment(folder, segment)
        if following is not None:
            if segment is not None:
                # The segment was closed: what was written before that is read first.
                segment, lines, start = _read_new(folder, segment, start)
                yield from _matching(segment, lines, matcher)
                folder.system.close(segment.fd)
            segment, start = following, 0
        else:
            folder.system.sleep(_POLL_S)


def _upto(
    folder: Folder, matcher: RecordMatcher, segment: Segment | None, end: int
) -> Iterator[FoundRecord]:
    for name in closed_segments(folder):
        closed = open_segment(folder, name)
        if closed is not None:
            try:
                if segment is None or not _is_same(folder, closed, segment):
                    yield from _scan(folder, closed, matcher)
            finally:
                folder.system.close(closed.fd)
    if segment is not None:
        yield from _scan(folder, segment.replace(size=end), matcher)


def _is_same(folder: Folder, one: Segment, other: Segment) -> bool:
    first, second = folder.system.fstat(one.fd), folder.system.fstat(other.fd)
    return (first.st_ino, first.st_dev) == (second.st_ino, second.st_dev)


def _next_segment(folder: Folder, segment: Segment | None) -> Segment | None:
    """Return the file after this one; None while this one is still `log`."""
    following = open_segment(folder, LOG)
    if segment is None or following is None:
        return following
    if _is_same(folder, following, segment):
        folder.system.close(following.fd)
        return None
    for name in reversed(closed_segments(folder)):  # rotated more than once since the last look
        closed = open_segment(folder, name)
        if closed is None or _is_same(folder, closed, segment):
            if closed is not None:
                folder.system.close(closed.fd)
            break
        folder.system.close(following.fd)
        following = closed
    return following


def _whole_bytes(folder: Folder, segment: Segment) -> int:
    return sum(
        sum(map(len, lines)) + len(lines) for lines, ended in read_lines(folder, segment) if ended
    )


def _read_new(folder: Folder, segment: Segment, start: int) -> tuple[Segment, list[bytes], int]:
    """Read the whole lines from `start` on; a line without its newline is left for later."""
    segment = segment.replace(size=folder.system.fstat(segment.fd).st_size)
    new: list[bytes] = []
    for lines, ended in read_lines(folder, segment, start):
        if ended:
            new += lines
    return segment, new, start + sum(map(len, new)) + len(new)


def _scan(folder: Folder, segment: Segment, matcher: RecordMatcher) -> Iterator[FoundRecord]:
    for lines, ended in read_lines(folder, segment):
        if ended:
            yield from _matching(segment, lines, matcher)


def _matching(
    segment: Segment, lines: list[bytes], matcher: RecordMatcher
) -> Iterator[FoundRecord]:
    for line in lines:
        fields = matcher.find(line)
        if fields is not NO_MATCH:
            yield FoundRecord(fields=fields, segment=segment.name, line=line)
