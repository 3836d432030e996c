"""Append one record: locked, chained, in one write. No record, no token (contract, section 10)."""

from __future__ import annotations

import time

from brokerctl.audit.lock import acquire, open_private
from brokerctl.audit.place import read_place
from brokerctl.audit.record import close_line, render_body
from brokerctl.audit.repeats import (
    Counter,
    count_again,
    is_refusal,
    name_refusal,
    read_counters,
    split_ended,
    write_counters,
)
from brokerctl.audit.tail import LOG, SEARCH_BYTES, Tail, name_closed, read_tail
from brokerctl.errors import AuditError, StoreError
from brokerctl.system import SYSTEM, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.audit import LogKeys
    from brokerctl.files import Folder
    from brokerctl.system import System

ROTATE_BYTES = 16 * 1024 * 1024
SEARCH_WHOLE = 1 << 62  # how far back `repair` looks: to the beginning


class ChainLostError(AuditError):
    """No right line is near the end of the log: only `audit repair` goes on from here."""


class Log:
    """The log in its folder. `clock` gives seconds since the epoch; `rotate` is in bytes."""

    def __init__(
        self,
        folder: Folder,
        ring: LogKeys,
        *,
        system: System = SYSTEM,
        clock: Callable[[], float] = time.time,
        rotate: int = ROTATE_BYTES,
    ) -> None:
        self.folder = folder
        self.ring = ring
        self.system = system
        self.clock = clock
        self.rotate = rotate
        self.search = SEARCH_BYTES
        self.place: dict[str, Any] | None = None  # read at the first append

    def append(self, event: str, fields: dict[str, Any], *, durable: bool = False) -> int:
        """Write one record and return its sequence number, or raise AuditError.

        `durable`: the event changes a grant, so it is on the disk when this returns. A refusal
        that repeats one of the last minute is counted, and the first one's number returned.
        """
        now = self.clock()
        if self.place is None:
            self.place = read_place(self.system)
        body = render_body(event, fields, now, self.place)
        what = name_refusal(self.ring, event, fields) if is_refusal(event, fields) else None
        try:
            return self._append(body, what, now, durable=durable)
        except StoreError as error:
            raise AuditError(error.message, hint=error.hint) from error
        except OSError as error:
            raise self._failed(error) from error

    def close_segment(self) -> str | None:
        """Close the log, as `rekey` does, and return the segment's name; None if it was empty."""
        try:
            return self._close_now()
        except StoreError as error:
            raise AuditError(error.message, hint=error.hint) from error
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> AuditError:
        reason = os.strerror(error.errno).lower() if error.errno else "unknown error"
        return AuditError(f"can't write the record to {self.folder.path}/{LOG}: {reason}")

    def _append(self, body: bytes, what: str | None, now: float, *, durable: bool) -> int:
        micros = int(now * 1_000_000)
        fd = -1
        lock = acquire(self.folder)
        try:
            counters = read_counters(self.ring, self.system, lock)
            again = count_again(counters, what, micros) if what else None
            if again is not None:
                write_counters(self.ring, self.system, lock, again[0])
                return again[1]
            kept, ended = split_ended(counters, micros, room=1 if what else 0)
            fd, size = open_private(self.folder, LOG, os.O_APPEND)
            seq, size = self._write(fd, size, [*self._repeated(ended, now), body], now)
            if what:
                kept.append(Counter(what=what, seq=seq, since=micros))
            if kept != counters:
                self._keep(lock, kept)
            if size > self.rotate:
                self._rotate(fd, seq)
            held, lock = lock, -1
            self.system.close(held)  # releases: the slow part below is outside
            if durable:
                self.system.fdatasync(fd)
            return seq
        finally:
            for left in (lock, fd):
                if left >= 0:
                    self.system.close(left)

    def _write(self, fd: int, size: int, bodies: list[bytes], now: float) -> tuple[int, int]:
        """Continue the chain in one write; return the last record's seq and the new size."""
        tail = read_tail(self.folder, self.ring, fd, size, self.search)
        if tail is None:
            raise ChainLostError(
                f"the end of the chain can't be found in {self.folder.path}",
                hint="run 'brokerctl audit repair'",
            )
        head = tail.head
        if tail.damage is not None:
            head = head.replace(seq=head.seq + tail.damage.lines)  # edited lines keep their numbers
        is_open = tail.damage is not None and tail.damage.ends_open and not tail.is_empty
        data = b"\n" if is_open else b""
        for body in [*self._explained(tail, now), *bodies]:
            line, head = close_line(self.ring, head, body)
            data += line
        written = self.system.write(fd, data)
        if written != len(data):  # never cut off again: what is there is evidence
            raise AuditError(f"can't write the whole record to {self.folder.path}/{LOG}: disk full")
        return head.seq, size + written

    def _keep(self, lock: int, counters: list[Counter]) -> None:
        try:
            write_counters(self.ring, self.system, lock, counters)
        except OSError:
            return  # the record is written: a counter that starts again is no reason to fail

    def _rotate(self, fd: int, seq: int) -> None:
        try:
            self._rename(name_closed(self.folder, fd, seq))
        except (OSError, StoreError):
            return  # the record is written; the next writer tries again

    def _rename(self, name: str) -> None:
        self.system.rename(LOG, name, src_dir_fd=self.folder.fd, dst_dir_fd=self.folder.fd)
        self.system.fsync(self.folder.fd)

    def _close_now(self) -> str | None:
        lock = acquire(self.folder)
        fd = -1
        try:
            fd, size = open_private(self.folder, LOG, os.O_APPEND)
            if size == 0:
                return None
            tail = read_tail(self.folder, self.ring, fd, size, self.search)
            name = name_closed(self.folder, fd, tail.head.seq if tail else 1)
            self._rename(name)
            return name
        finally:
            self.system.close(lock)
            if fd >= 0:
                self.system.close(fd)

    def _repeated(self, ended: list[Counter], now: float) -> list[bytes]:
        return [self._own("log.repeated", {"of": c.seq, "count": c.count}, now) for c in ended]

    def _explained(self, tail: Tail, now: float) -> list[bytes]:
        """Render the record that must come first: a new segment's, or one that names the damage."""
        fields: dict[str, Any] = {}
        if tail.damage is not None:
            fields = {
                "skipped": tail.damage.skipped,
                "lines": tail.damage.lines,
                "hash": tail.damage.hash,
            }
        if tail.closed is not None:
            found = {"found": tail.damage.event} if tail.damage is not None else {}
            return [self._own("log.continued", {"segment": tail.closed, **found, **fields}, now)]
        return [self._own(tail.damage.event, fields, now)] if tail.damage is not None else []

    def _own(self, event: str, fields: dict[str, Any], now: float) -> bytes:
        return render_body(event, fields, now, self.place)
