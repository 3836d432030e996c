"""Counts identical refusals of one requester within a minute, instead of recording each.

A tool that is refused often asks again at once, hundreds of times. The first refusal is recorded;
the others within its minute raise a counter in `log.lock`. When the minute is over, the next append
writes `log.repeated` first, which says how many there were.
"""

from __future__ import annotations

from brokerctl.audit.lock import COUNTERS_BYTES, HOLDER_BYTES
from brokerctl.audit.record import find_key, hash_bytes, render_body
from brokerctl.jsonlite import dumps
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from brokerctl.audit import LogFile, LogKeys
    from brokerctl.platform.system import System

_WINDOW_MICROS = 60_000_000
_ENTRY_BYTES = 192
_SLOTS = COUNTERS_BYTES // _ENTRY_BYTES
_REFUSAL = b"refusal"
_COUNTER = b"counter"


class Counter(Value):
    """How often one refusal was repeated after its record `seq`."""

    what: str  # keyed hash of the refusal
    seq: int
    since: int  # microseconds
    count: int = 0


def name_refusal(ring: LogKeys, event: str, fields: dict[str, Any]) -> str:
    """Return the keyed hash of a refusal: of everything in it but the process id."""
    plain = {k: v.as_dict() if isinstance(v, Value) else v for k, v in fields.items()}
    requester = plain.get("requester")
    if isinstance(requester, dict):
        plain["requester"] = {k: v for k, v in requester.items() if k != "pid"}
    text = dumps([event, plain], sort=True)
    return hash_bytes(ring, _REFUSAL, text.encode("ascii"))


class Counts:
    """The counters, under the log's lock; `seq` is set if this refusal was counted.

    `ended` are the records of counters whose minute is over; they are written before the new one.
    """

    def __init__(
        self,
        log: LogFile,
        lock: int,
        written: bytes,
        now: float,
        refusal: tuple[str, dict[str, Any]] | None,
    ) -> None:
        self._log = log
        self._lock = lock
        self._micros = int(now * 1_000_000)
        self._found = read_counters(log.ring, written)
        self._what = name_refusal(log.ring, *refusal) if refusal is not None else None
        self.seq: int | None = None
        self.ended: list[bytes] = []
        again = count_again(self._found, self._what, self._micros) if self._what else None
        if again is not None:
            write_counters(log.ring, log.system, lock, again[0])
            self.seq = again[1]
            return
        self._kept, ended = split_ended(self._found, self._micros, room=1 if self._what else 0)
        for counter in ended:
            fields = {"of": counter.seq, "count": counter.count}
            self.ended.append(render_body("log.repeated", fields, now, log.place))

    def keep(self, seq: int) -> None:
        """Note that the refusal was written as record `seq`."""
        if self._what:
            self._kept.append(Counter(what=self._what, seq=seq, since=self._micros))
        if self._kept == self._found:
            return
        try:
            write_counters(self._log.ring, self._log.system, self._lock, self._kept)
        except OSError:
            return  # the record is written; the counter only starts again


def read_counters(ring: LogKeys, data: bytes) -> list[Counter]:
    """Read the counters after the line of the lock's holder.

    Security: each has a keyed hash, so that nobody without the key can forge a counter, and thereby
    have a refusal counted instead of recorded. A counter that doesn't verify is ignored.
    """
    found = []
    for start in range(0, len(data), _ENTRY_BYTES):
        words = data[start : start + _ENTRY_BYTES].split()
        if len(words) != 6 or not all(map(bytes.isdigit, words[:4])):  # noqa: PLR2004 - as _render
            continue
        kid, seq, since, count = map(int, words[:4])
        counter = Counter(
            what=words[4].decode("ascii", "replace"), seq=seq, since=since, count=count
        )
        if find_key(ring, kid) is not None and _render(ring, counter, kid).split() == words:
            found.append(counter)
    return found


def write_counters(ring: LogKeys, system: System, fd: int, counters: list[Counter]) -> None:
    """Replace the counters."""
    entries = [_render(ring, counter, ring.log_id) for counter in counters[:_SLOTS]]
    data = b"".join(entries).ljust(_SLOTS * _ENTRY_BYTES)
    system.pwrite(fd, data, HOLDER_BYTES)


def _render(ring: LogKeys, counter: Counter, kid: int) -> bytes:
    text = f"{kid} {counter.seq} {counter.since} {counter.count} {counter.what}"
    mac = hash_bytes(ring, _COUNTER, text.encode(), kid)
    return f"{text} {mac}".encode().ljust(_ENTRY_BYTES - 1) + b"\n"


def count_again(
    counters: list[Counter], what: str, micros: int
) -> tuple[list[Counter], int] | None:
    """Return the counters with this refusal counted and its record's seq, or None if it is new."""
    for index, counter in enumerate(counters):
        if counter.what == what and 0 <= micros - counter.since < _WINDOW_MICROS:
            more = counter.replace(count=counter.count + 1)
            return [*counters[:index], more, *counters[index + 1 :]], counter.seq
    return None


def split_ended(
    counters: Iterable[Counter], micros: int, *, room: int
) -> tuple[list[Counter], list[Counter]]:
    """Split into counters that go on, and those to report: ended, or their slot is needed."""
    going = [c for c in counters if 0 <= micros - c.since < _WINDOW_MICROS]
    kept = going[-(_SLOTS - room) :]
    return kept, [c for c in counters if c.count and c not in kept]
