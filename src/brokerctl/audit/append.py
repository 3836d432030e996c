"""Appends records: locked, chained, in one write. No record, no token (contract, section 10)."""

from __future__ import annotations

import errno
import time

from brokerctl.audit.lock import COUNTERS_BYTES, HOLDER_BYTES, LOG, acquire, open_private
from brokerctl.audit.record import SEARCH_BYTES, close_line, find_end, render_body
from brokerctl.errors import AuditError, StoreError
from brokerctl.platform.process import read_place
from brokerctl.platform.system import SYSTEM, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.audit import LogKeys
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System

ROTATE_BYTES = 16 * 1024 * 1024
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_MAKE_ROOM = "make room on that disk, then run it again"
_BATCH = 64  # records of one write: a quarter of SEARCH_BYTES at most
_REFUSED = (".denied", ".refused")


class Log:
    """The log in its folder. `clock` gives seconds since the epoch; `rotate` is in bytes.

    `renew` reads the key ring again, if a line names a newer key than `ring` has.
    """

    def __init__(
        self,
        folder: Folder,
        ring: LogKeys,
        *,
        system: System = SYSTEM,
        clock: Callable[[], float] = time.time,
        rotate: int = ROTATE_BYTES,
        renew: Callable[[], LogKeys] | None = None,
    ) -> None:
        self.folder = folder
        self.ring = ring
        self.renew = renew
        self.system = system
        self.clock = clock
        self.rotate = rotate
        self.search = SEARCH_BYTES
        self.place: dict[str, Any] | None = None  # read at the first append

    def append(self, event: str, fields: dict[str, Any], *, durable: bool = False) -> int:
        """Write one record and return its sequence number, or raise AuditError.

        `durable`: the event changes a grant, so the record is on the disk when this returns. A
        refusal that repeats one of the last minute is only counted; the first one's number is
        returned.
        """
        now = self.clock()
        refusal = (event, fields) if is_refusal(event, fields) else None
        return self._try(self._render([(event, fields)], now), refusal, now, durable=durable)

    def append_all(self, records: list[tuple[str, dict[str, Any]]]) -> None:
        """Write several records of events that change a grant: one lock, one write, one sync.

        All of them are on the disk when this returns; after AuditError some of the first may be.
        Many records are written in parts, so that a writer always finds the chain's end.
        """
        now = self.clock()
        bodies = self._render(records, now)
        for start in range(0, len(bodies), _BATCH):
            self._try(bodies[start : start + _BATCH], None, now, durable=True)

    def _render(self, records: list[tuple[str, dict[str, Any]]], now: float) -> list[bytes]:
        if self.place is None:
            self.place = read_place(self.system)
        return [render_body(event, fields, now, self.place) for event, fields in records]

    def _try(
        self,
        bodies: list[bytes],
        refusal: tuple[str, dict[str, Any]] | None,
        now: float,
        *,
        durable: bool,
    ) -> int:
        try:
            return self._append(bodies, refusal, now, durable=durable)
        except StoreError as error:
            raise AuditError(error.message, hint=error.hint) from error
        except OSError as error:
            raise self._failed(error) from error

    def close_segment(self) -> str | None:
        """Close the log, as `rekey` does, and return the segment's name; None if it was empty."""
        from brokerctl.audit.recover import close_now  # noqa: PLC0415 - no hand-out closes one

        try:
            return close_now(self)
        except StoreError as error:
            raise AuditError(error.message, hint=error.hint) from error
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> AuditError:
        reason = os.strerror(error.errno).lower() if error.errno else "unknown error"
        hint = _MAKE_ROOM if error.errno in _FULL else None
        return AuditError(
            f"can't write the record to {self.folder.path}/{LOG}: {reason}", hint=hint
        )

    def _append(
        self,
        bodies: list[bytes],
        refusal: tuple[str, dict[str, Any]] | None,
        now: float,
        *,
        durable: bool,
    ) -> int:
        fd = -1
        lock = acquire(self.folder)
        try:
            written = self.system.pread(lock, COUNTERS_BYTES, HOLDER_BYTES)
            counts = None
            if refusal is not None or written.strip():
                from brokerctl.audit.repeats import Counts  # noqa: PLC0415 - refusals alone

                counts = Counts(self, lock, written, now, refusal)
                if counts.seq is not None:
                    return counts.seq
            fd, size = open_private(self.folder, LOG, os.O_APPEND)
            before = counts.ended if counts is not None else []
            seq, size = self._write(fd, size, [*before, *bodies], now)
            if counts is not None:
                counts.keep(seq)
            if size > self.rotate:
                from brokerctl.audit.recover import rotate  # noqa: PLC0415 - once in a while

                rotate(self, fd, seq)
            held, lock = lock, -1
            self.system.close(held)  # releases the lock before the slow part below
            if durable:
                self.system.fdatasync(fd)
            return seq
        finally:
            for left in (lock, fd):
                if left >= 0:
                    self.system.close(left)

    def _write(self, fd: int, size: int, bodies: list[bytes], now: float) -> tuple[int, int]:
        """Continue the chain in one write; return the last record's seq and the new size."""
        data, head = b"", find_end(self.system, self.ring, fd, size)
        if head is None:
            from brokerctl.audit.recover import explain_end  # noqa: PLC0415 - new or damaged

            data, head, bodies = explain_end(self, fd, size, bodies, now)
        for body in bodies:
            line, head = close_line(self.ring, head, body)
            data += line
        written = self.system.write(fd, data)
        if written != len(data):  # the bytes stay: they are evidence
            text = f"can't write the whole record to {self.folder.path}/{LOG}: disk full"
            raise AuditError(text, hint=_MAKE_ROOM)
        return head.seq, size + written


def is_refusal(event: str, fields: dict[str, Any]) -> bool:
    """Return whether a record is of a request that got no token."""
    decision = fields.get("decision")
    if not isinstance(decision, dict):
        return event.endswith(_REFUSED) or getattr(decision, "effect", None) == "deny"
    return event.endswith(_REFUSED) or decision.get("effect") == "deny"
