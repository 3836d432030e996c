"""One record as a line: its fixed positions, its keyed-hash chain, its limit of 4,096 bytes.

A line is `{"v":1,"seq":N,"kid":K,"time":…,"event":…,…,"prev":"<64 hex>","mac":"<64 hex>"}`. The MAC
is keyed BLAKE2b with the ring's log key K over every byte before `,"mac":`, `prev` is the MAC of
the line before (64 zeros for the first). Sequence number, key and both hashes stand at fixed
places, so that the chain is followed without parsing JSON.
"""

from __future__ import annotations

import time

from brokerctl.errors import StoreError
from brokerctl.jsonlite import dumps
from brokerctl.model import Value
from brokerctl.secret import same_bytes  # type: ignore[attr-defined]  # from C, see there
from brokerctl.sodium import keyed_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.audit import LogKeys
    from brokerctl.platform.system import System

SEARCH_BYTES = 1 << 20  # how far back a writer looks for the end of the chain
_WINDOW_BYTES = 8192
MAX_BYTES = 4096  # of a line, its newline included
GENESIS = b"0" * 64
START = b'{"v":1,"seq":'
_KEY = b',"kid":'
_PREV = b',"prev":"'
_MAC = b'","mac":"'
_END = b'"}'
TRAILER = len(_PREV) + 64 + len(_MAC) + 64 + len(_END)
_BODY_BYTES = MAX_BYTES - 1 - TRAILER - len(START) - 18 - len(_KEY) - 10 - 1
_OURS = frozenset(
    ("v", "seq", "kid", "time", "event", "cut", "host", "boot", "pid_ns", "prev", "mac")
)
_MAX_DIGITS = 18
_CUTS = ((1024, 64), (256, 32), (96, 16), (32, 8), (12, 4), (4, 2))  # (characters, items) kept
_MAX_DEPTH = 6


class Head(Value):
    """The end of the chain: what the next record continues."""

    seq: int
    mac: bytes  # 64 hex digits


START_OF_CHAIN = Head(seq=0, mac=GENESIS)


def render_body(
    event: str, fields: dict[str, Any], now: float, place: dict[str, Any] | None = None
) -> bytes:
    """Render time, event, fields and place as ASCII, cut so that the whole line fits."""
    if not _OURS.isdisjoint(fields):
        raise ValueError(f"a record's own field was given: {min(_OURS & fields.keys())}")
    first, last = {"time": render_time(now), "event": event}, place or {}
    text = _dumps_plain({**first, **fields, **last})
    if text is None or len(text) > _BODY_BYTES + 2:
        plain = {as_plain(name, 0): as_plain(value, 0) for name, value in fields.items()}
        text = dumps({**first, **plain, **last})
        if len(text) > _BODY_BYTES + 2:
            room = _BODY_BYTES + 2 - len(dumps({**first, **last}))
            text = dumps({**first, **cut_to_fit(plain, room), **last})
    return text[1:-1].encode("ascii")


def _dumps_plain(fields: dict[str, Any]) -> str | None:
    """Render fields that are plain JSON; None for our own values and for lone surrogates.

    Nearly all records are plain, and to look at each field costs more than all other steps.
    """
    try:
        text = dumps(fields)
    except (TypeError, RecursionError):
        return None
    return None if "\\ud" in text else text


def render_time(now: float) -> str:
    """Render RFC 3339 in UTC with microseconds; `datetime` is not on the warm road."""
    seconds, micros = divmod(int(now * 1_000_000), 1_000_000)
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"


def close_line(ring: LogKeys, head: Head, body: bytes) -> tuple[bytes, Head]:
    """Return the whole line that continues `head`, newline included, and the new head."""
    seq = head.seq + 1
    signed = b'%s%d%s%d,%s%s%s"' % (START, seq, _KEY, ring.log_id, body, _PREV, head.mac)
    mac = keyed_hash(ring.log_key(ring.log_id), signed).hex().encode()
    return b"%s%s%s%s\n" % (signed, _MAC[1:], mac, _END), Head(seq=seq, mac=mac)


def is_shaped(line: bytes) -> bool:
    """Return whether a line without its newline begins and ends as a whole record does."""
    return (
        len(line) > len(START) + TRAILER
        and line.startswith(START)
        and line.endswith(_END)
        and line[-TRAILER : -TRAILER + len(_PREV)] == _PREV
        and line[-66 - len(_MAC) : -66] == _MAC
    )


def find_numbers(line: bytes) -> tuple[int, int] | None:
    """Return (seq, key id) by position, unverified, or None."""
    comma = line.find(b",", len(START), len(START) + _MAX_DIGITS + 1)
    end = line.find(b",", comma + 1, comma + 32)
    seq, kid = line[len(START) : comma], line[comma + len(_KEY) : end]
    if comma < 0 or end < 0 or line[comma : comma + len(_KEY)] != _KEY:
        return None
    if not (seq.isdigit() and kid.isdigit()) or seq[:1] == b"0" or kid != b"%d" % int(kid):
        return None
    return int(seq), int(kid)


def find_head(ring: LogKeys, line: bytes) -> Head | None:
    """Return the head that a line (without newline) makes, or None if its MAC is wrong.

    Security: a line with a key that the ring does not have proves nothing: anybody can write an id.
    If a `rekey` has made a newer key meanwhile, `recover` reads the ring again.
    """
    numbers = find_numbers(line) if is_shaped(line) else None
    key = find_key(ring, numbers[1]) if numbers is not None else None
    if numbers is None or key is None:
        return None
    head = Head(seq=numbers[0], mac=line[-66:-2])
    right = keyed_hash(key, line[: -66 - len(_MAC) + 1]).hex().encode()
    return head if same_bytes(right, head.mac) else None


def find_key(ring: LogKeys, key_id: int) -> bytes | None:
    """Return a log key, or None for an id that the ring does not have."""
    try:
        return ring.log_key(key_id)
    except (LookupError, ValueError, StoreError):
        return None


def hash_bytes(ring: LogKeys, what: bytes, data: bytes, key_id: int | None = None) -> str:
    """Return the keyed hash, in hex, of bytes that a record names.

    Security: anybody may have written these bytes. `what` comes first, so that a hash in the log
    can never be the MAC of a line, which begins with `{`.
    """
    key = ring.log_key(ring.log_id if key_id is None else key_id)
    return keyed_hash(key, what + b"\0" + data).hex()


def as_plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - JSON is what it is
    """Return a field as JSON's own types; what is nested too deep becomes an ellipsis."""
    if isinstance(value, str):
        # Security: a path from /proc may not be UTF-8; a reader of the log must not fail at it.
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Value):
        value = value.as_dict()
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {as_plain(key, depth): as_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_plain(item, depth + 1) for item in value]
    return value


def cut_to_fit(plain: dict[str, Any], room: int) -> dict[str, Any]:
    """Return the fields shortened to `room` bytes, with the mark `cut`."""
    for chars, items in _CUTS:
        cut = {name: _cut(value, chars, items) for name, value in plain.items()}
        cut["cut"] = True
        if len(dumps(cut)) <= room:
            return cut
    kept: dict[str, Any] = {"cut": True}
    for name, value in plain.items():  # too many fields: the first matter most
        kept[name] = _cut(value, *_CUTS[-1])
        if len(dumps(kept)) > room:
            del kept[name]
    return kept


def _cut(value: Any, chars: int, items: int) -> Any:  # noqa: ANN401 - as as_plain
    if isinstance(value, str) and len(value) > chars:
        return f"{value[:chars]}…(+{len(value) - chars})"
    if isinstance(value, list):
        left = [_cut(item, chars, items) for item in value[:items]]
        return [*left, f"…(+{len(value) - items})"] if len(value) > items else left
    if isinstance(value, dict):
        names = list(value)
        kept = {_cut(name, chars, items): _cut(value[name], chars, items) for name in names[:items]}
        return {**kept, "…": len(names) - items} if len(names) > items else kept
    return value


def find_end(system: System, ring: LogKeys, fd: int, size: int) -> Head | None:
    """Return the head that the last line makes, if it is whole and its MAC is right."""
    data = read_at(system, fd, max(0, size - _WINDOW_BYTES), size)
    if not data.endswith(b"\n"):
        return None
    start = data.rfind(b"\n", 0, -1) + 1
    return find_head(ring, data[start:-1]) if start or size <= _WINDOW_BYTES else None


def read_at(system: System, fd: int, start: int, end: int) -> bytes:
    """Read the bytes from start to end; fewer if the file became shorter."""
    chunks = []
    while start < end and (chunk := system.pread(fd, end - start, start)):
        chunks.append(chunk)
        start += len(chunk)
    return b"".join(chunks)
