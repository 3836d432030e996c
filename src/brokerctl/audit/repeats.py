"""Identical refusals of one requester within a minute are counted, not repeated.

A helper that is refused is often asked again at once, hundreds of times. The first refusal is a
record; the others within its minute raise a counter in `log.lock`, and when the minute is over the
next record is preceded by `log.repeated`, which says how many there were.
"""

from __future__ import annotations

from brokerctl.audit.lock import HOLDER_BYTES
from brokerctl.audit.record import find_key, hash_bytes
from brokerctl.jsonlite import dumps
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from brokerctl.audit import LogKeys
    from brokerctl.system import System

_WINDOW_MICROS = 60_000_000
_SLOTS = 16
_ENTRY_BYTES = 192
_REFUSED = (".denied", ".refused")
_REFUSAL = b"refusal"
_COUNTER = b"counter"


class Counter(Value):
    """How often one refusal came again after its record `seq`."""

    what: str  # keyed hash of the refusal
    seq: int
    since: int  # microseconds
    count: int = 0


def is_refusal(event: str, fields: dict[str, Any]) -> bool:
    """Say whether a record is of a request that got no token."""
    decision = fields.get("decision")
    if isinstance(decision, Value):
        decision = decision.as_dict()
    is_denied = isinstance(decision, dict) and decision.get("effect") == "deny"
    return is_denied or event.endswith(_REFUSED)


def name_refusal(ring: LogKeys, event: str, fields: dict[str, Any]) -> str:
    """Return the name of a refusal: all of it but the number of the process."""
    plain = {k: v.as_dict() if isinstance(v, Value) else v for k, v in fields.items()}
    requester = plain.get("requester")
    if isinstance(requester, dict):
        plain["requester"] = {k: v for k, v in requester.items() if k != "pid"}
    text = dumps([event, plain], sort=True)
    return hash_bytes(ring, _REFUSAL, text.encode("ascii"))


def read_counters(ring: LogKeys, system: System, fd: int) -> list[Counter]:
    """Read the counters behind the holder's line.

    Security: each carries a keyed hash, so that nobody without the key can plant one and so have
    a refusal counted away instead of recorded. One that doesn't verify is nothing.
    """
    data = system.pread(fd, _SLOTS * _ENTRY_BYTES, HOLDER_BYTES)
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
    """Split into those that go on and those to be reported: ended, or in the way of new ones."""
    going = [c for c in counters if 0 <= micros - c.since < _WINDOW_MICROS]
    kept = going[-(_SLOTS - room) :]
    return kept, [c for c in counters if c.count and c not in kept]
