"""The rare parts of an append: begins a log, explains a damaged end, closes a segment. Cold.

If the log is new or its end is damaged, the end of the chain is looked for here, and the damage
judged. What a crash or an edit left at the end is evidence, and is not cut off: the next record
gives the number and the keyed hash of these bytes, and continues from the last line whose MAC is
right.
"""

from __future__ import annotations

from brokerctl.audit.lock import LOG, acquire, open_private
from brokerctl.audit.record import (
    MAX_BYTES,
    SEARCH_BYTES,
    START,
    START_OF_CHAIN,
    Head,
    find_end,
    find_head,
    hash_bytes,
    is_shaped,
    read_at,
    render_body,
)
from brokerctl.errors import AuditError, BrokerError, StoreError
from brokerctl.model import Value
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.audit import LogFile, LogKeys
    from brokerctl.platform.private_files import Folder

CLOSED = "log-"
SKIPPED = b"skipped"
_MAX_DIGITS = 18
SEARCH_WHOLE = 1 << 62  # how far back `repair` looks: the whole log


class TailDamage(Value):
    """Bytes after the last line with a right MAC: a write cut short (torn), or edited lines."""

    is_torn: bool
    skipped: int  # bytes
    lines: int  # whole lines among them
    hash: str  # keyed, 64 hex digits
    ends_open: bool  # the last byte is not a newline

    @property
    def event(self) -> str:
        """Return the event of the record that explains it."""
        return "log.repaired" if self.is_torn else "log.tampered"


class Tail(Value):
    """The head to continue, the damage after it, and whether the file is still empty."""

    head: Head
    damage: TailDamage | None = None
    is_empty: bool = False
    closed: str | None = None  # the newest closed segment, looked up only if the log is empty


def read_tail(
    folder: Folder, ring: LogKeys, fd: int, size: int, limit: int = SEARCH_BYTES
) -> Tail | None:
    """Find the end of the chain in the open log; None if no right line is within `limit`."""
    head = find_end(folder.system, ring, fd, size)
    if head is not None:
        return Tail(head=head)
    names = closed_segments(folder)
    if size == 0:
        return _before(folder, ring, limit, names)
    return _search(folder, ring, fd, size, limit, names)


def _search(
    folder: Folder, ring: LogKeys, fd: int, size: int, limit: int, names: list[str]
) -> Tail | None:
    """Look back for the last right line, if necessary in the closed segments `names`."""
    start = max(0, size - limit)
    data = read_at(folder.system, fd, start, size)
    ends_open = not data.endswith(b"\n")
    end = len(data)
    while end > 0:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        if begin or start == 0:
            head = find_head(ring, data[begin:end].removesuffix(b"\n"))
            if head is not None:
                is_whole = end == len(data) and not ends_open
                return Tail(
                    head=head,
                    damage=None if is_whole else judge(ring, data[end:], ends_open=ends_open),
                )
        end = begin
    before = None if start else _before(folder, ring, limit, names)
    if before is None:
        return None
    return Tail(head=before.head, damage=judge(ring, data, ends_open=ends_open))


def judge(ring: LogKeys, skipped: bytes, *, ends_open: bool) -> TailDamage:
    """Measure and classify the bytes after the last right line."""
    return TailDamage(
        is_torn=is_torn(skipped, ends_open=ends_open),
        skipped=len(skipped),
        lines=_count_whole(skipped),
        hash=hash_bytes(ring, SKIPPED, skipped),
        ends_open=ends_open,
    )


def is_torn(skipped: bytes, *, ends_open: bool) -> bool:
    """Return whether this is a write that was cut short, and not an edit.

    Torn bytes have no newline at their end, no whole line among them, and no piece longer than a
    line: several writers may have died, each after a newline and half a line of its own. A file
    system that lost the last write may have left zeros in its place.
    """
    pieces = skipped.split(b"\n")
    return (
        ends_open
        and not _count_whole(skipped)
        and all(len(piece.rstrip(b"\0")) < MAX_BYTES for piece in pieces)
    )


def _count_whole(skipped: bytes) -> int:
    return sum(map(is_shaped, skipped.split(b"\n")))


def _before(folder: Folder, ring: LogKeys, limit: int, names: list[str]) -> Tail | None:
    """Return the tail of the newest of these closed segments, or the start of the chain."""
    if not names:
        return Tail(head=START_OF_CHAIN, is_empty=True)
    fd, size = open_private(folder, names[-1])
    try:
        found = _search(folder, ring, fd, size, limit, names[:-1])
    finally:
        folder.system.close(fd)
    return found.replace(is_empty=True, closed=names[-1]) if found else None


def closed_segments(folder: Folder) -> list[str]:
    """Return the names of the closed segments in the order of their sequence numbers."""
    found = [name for name in folder.names() if name.startswith(CLOSED)]
    return sorted((name for name in found if _number(name)), key=_number)


def _number(name: str) -> int:
    digits = name[len(CLOSED) :]
    return int(digits) if digits.isdecimal() and digits.isascii() else 0


def name_closed(folder: Folder, fd: int, seq: int) -> str:
    """Choose the name under which the log is closed: its first sequence number.

    Security: an edited first line may have any number. A closed segment must never be replaced, so
    a name that is not newer than all of them is not used: the last number is taken.
    """
    line = folder.system.pread(fd, len(START) + _MAX_DIGITS + 1, 0)
    digits = line[len(START) :].partition(b",")[0]
    newest = max(map(_number, closed_segments(folder)), default=0)
    is_right = line.startswith(START) and digits.isdigit() and newest < int(digits) <= seq
    return f"{CLOSED}{int(digits) if is_right else max(seq, newest + 1)}"


class ChainLostError(AuditError):
    """No right line is near the end of the log: only `audit repair` can continue it."""


class _Following:
    """The keys of a log's ring, which is read again, once, if a line names a newer key.

    Another process may have made that key meanwhile: then the line is not an edit.
    """

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._renew = log.renew

    @property
    def log_id(self) -> int:
        return self._log.ring.log_id

    def log_key(self, key_id: int, /) -> bytes:
        if key_id > self.log_id and self._renew is not None:
            renew, self._renew = self._renew, None
            try:
                self._log.ring = renew()
            except BrokerError as error:  # a locked ring, say: the line is not judged
                raise AuditError(
                    f"a record names a newer key, and the key ring can't be read: {error.message}",
                    hint=error.hint,
                ) from error
        return self._log.ring.log_key(key_id)


def explain_end(
    log: LogFile, fd: int, size: int, bodies: list[bytes], now: float
) -> tuple[bytes, Head, list[bytes]]:
    """Return the first bytes of the write, the head to continue, and the records to write.

    If there was damage or an earlier segment, a record that explains it comes first.
    """
    tail = read_tail(log.folder, _Following(log), fd, size, log.search)
    if tail is None:
        raise ChainLostError(
            f"the end of the chain can't be found in {log.folder.path}",
            hint="run 'brokerctl audit repair'",
        )
    head, damage = tail.head, tail.damage
    if damage is not None:
        head = head.replace(seq=head.seq + damage.lines)  # edited lines keep their numbers
    is_open = damage is not None and damage.ends_open and not tail.is_empty
    return b"\n" if is_open else b"", head, [*_explained(log, tail, now), *bodies]


def _explained(log: LogFile, tail: Tail, now: float) -> list[bytes]:
    damage = tail.damage
    fields: dict[str, Any] = {}
    if damage is not None:
        fields = {"skipped": damage.skipped, "lines": damage.lines, "hash": damage.hash}
    if tail.closed is not None:
        found = {"found": damage.event} if damage is not None else {}
        fields = {"segment": tail.closed, **found, **fields}
        return [render_body("log.continued", fields, now, log.place)]
    return [render_body(damage.event, fields, now, log.place)] if damage is not None else []


def rotate(log: LogFile, fd: int, seq: int) -> None:
    """Close the segment, which has reached its size with this record."""
    try:
        _rename(log, name_closed(log.folder, fd, seq))
    except (OSError, StoreError):
        return  # the record is written; the next writer tries again


def _rename(log: LogFile, name: str) -> None:
    log.system.rename(LOG, name, src_dir_fd=log.folder.fd, dst_dir_fd=log.folder.fd)
    log.system.fsync(log.folder.fd)


def close_now(log: LogFile) -> str | None:
    """Close the log under its lock, and return the segment's name; None if it was empty."""
    lock = acquire(log.folder)
    fd = -1
    try:
        fd, size = open_private(log.folder, LOG, os.O_APPEND)
        if size == 0:
            return None
        tail = read_tail(log.folder, _Following(log), fd, size, log.search)
        name = name_closed(log.folder, fd, tail.head.seq if tail else 1)
        _rename(log, name)
        return name
    finally:
        log.system.close(lock)
        if fd >= 0:
            log.system.close(fd)
