"""What an append does now and then: begins a log, explains a damaged end, closes a segment."""

from __future__ import annotations

from brokerctl.audit.append import LOG
from brokerctl.audit.lock import acquire, open_private
from brokerctl.audit.record import render_body
from brokerctl.audit.tail import name_closed, read_tail
from brokerctl.errors import AuditError, BrokerError, StoreError
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.audit.record import Head
    from brokerctl.audit.tail import Tail

SEARCH_WHOLE = 1 << 62  # how far back `repair` looks: to the beginning


class ChainLostError(AuditError):
    """No right line is near the end of the log: only `audit repair` goes on from here."""


class _Following:
    """The keys of a log's ring, which is read again where a line names a newer key; once.

    Another process may have made that key meanwhile, and then the line is no edit.
    """

    def __init__(self, log: Log) -> None:
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
            except BrokerError as error:  # locked, say: neither to be believed nor to be accused
                raise AuditError(
                    f"a record names a newer key, and the key ring can't be read: {error.message}",
                    hint=error.hint,
                ) from error
        return self._log.ring.log_key(key_id)


def explain_end(
    log: Log, fd: int, size: int, bodies: list[bytes], now: float
) -> tuple[bytes, Head, list[bytes]]:
    """Return what a write starts with, the head to continue, and the records with the first one.

    That one says what segment the chain comes from, or names the damage.
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


def _explained(log: Log, tail: Tail, now: float) -> list[bytes]:
    damage = tail.damage
    fields: dict[str, Any] = {}
    if damage is not None:
        fields = {"skipped": damage.skipped, "lines": damage.lines, "hash": damage.hash}
    if tail.closed is not None:
        found = {"found": damage.event} if damage is not None else {}
        fields = {"segment": tail.closed, **found, **fields}
        return [render_body("log.continued", fields, now, log.place)]
    return [render_body(damage.event, fields, now, log.place)] if damage is not None else []


def rotate(log: Log, fd: int, seq: int) -> None:
    """Close the segment that this record has made long enough."""
    try:
        _rename(log, name_closed(log.folder, fd, seq))
    except (OSError, StoreError):
        return  # the record is written; the next writer tries again


def _rename(log: Log, name: str) -> None:
    log.system.rename(LOG, name, src_dir_fd=log.folder.fd, dst_dir_fd=log.folder.fd)
    log.system.fsync(log.folder.fd)


def close_now(log: Log) -> str | None:
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
