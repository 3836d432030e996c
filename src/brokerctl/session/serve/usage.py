"""The record of use: what went through a session, counted by the minute.

One record for each profile, method, origin, first segment of the path and class of answer, so that
an hour of work is some hundred lines. Never a query, a body, or more of a path: they may hold
secrets.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from brokerctl import freshness
from brokerctl.errors import BrokerError
from brokerctl.model import Value
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Counts = tuple[int, int, int]  # requests, bytes sent, bytes received

MINUTE_S = 60
MOST_SEGMENTS = 100  # different ones of a profile in a minute; what comes after them is "other"
_SEGMENT_CHARS = 40
OTHER = "other"
REFUSED = "refused"  # by us: nothing was sent
# Security: a client can make up methods as it likes, and each would be a line of the record.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"))


class UseKey(Value):
    """What one record counts."""

    minute: int
    profile: str
    method: str
    origin: str
    path: str  # its first segment
    answer: str  # 1xx … 5xx, or refused


class Used(Value):
    """One request that is over; `path` is from its slash, without a query."""

    profile: str
    method: str
    origin: str
    path: str
    answer: str
    sent: int = 0  # bytes of its body
    received: int = 0  # bytes of its answer's


class UsageLog:
    """Counts, and writes what a minute has brought when it is over."""

    def __init__(
        self,
        record: Callable[[str, dict[str, object]], None],
        event: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._event = event
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[UseKey, _Counts] = {}
        self._segments: dict[tuple[int, str], set[str]] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to write each minute when it ends."""
        threading.Thread(target=self._run, daemon=True, name="usage").start()

    def add(self, used: Used) -> None:
        """Count one request that is over."""
        minute = int(self._clock() // MINUTE_S)
        with self._lock:
            key = UseKey(
                minute=minute,
                profile=used.profile,
                method=used.method if used.method in _METHODS else OTHER,
                origin=used.origin,
                path=self._segment(minute, used.profile, used.path),
                answer=used.answer,
            )
            self._merge(key, (1, used.sent, used.received))

    def flush(self, *, is_end: bool = False) -> None:
        """Write the minutes that are over, or all at the session's end."""
        minute = int(self._clock() // MINUTE_S)
        with self._lock:
            ready = {key: one for key, one in self._counts.items() if is_end or key.minute < minute}
            for key in ready:
                del self._counts[key]
            self._segments = {
                key: names for key, names in self._segments.items() if key[0] >= minute
            }
        while ready:
            key = min(ready, key=lambda one: tuple(one.as_dict().values()))
            try:
                self._record(self._event, _fields(key, *ready[key]))
            except BrokerError:
                with self._lock:
                    for left, counts in ready.items():
                        self._merge(left, counts)
                raise
            del ready[key]

    def close(self) -> None:
        """Write everything that was counted."""
        self._stopped.set()
        self.flush(is_end=True)

    def _segment(self, minute: int, profile: str, path: str) -> str:
        segment = "/" + safe(path[1:].partition("/")[0], _SEGMENT_CHARS)
        known = self._segments.setdefault((minute, profile), set())
        if segment in known or len(known) < MOST_SEGMENTS:
            known.add(segment)
            return segment
        return OTHER

    def _merge(self, key: UseKey, more: _Counts) -> None:
        count, sent, received = self._counts.get(key, (0, 0, 0))
        self._counts[key] = (count + more[0], sent + more[1], received + more[2])

    def _run(self) -> None:
        while not self._stopped.wait(MINUTE_S - self._clock() % MINUTE_S + 0.05):
            with suppress(BrokerError):  # the next hand-out meets the same, and says it
                self.flush()


def answer_class(status: int) -> str:
    """Return `2xx` for 200, and so on."""
    return f"{status // 100}xx"


def _fields(key: UseKey, count: int, sent: int, received: int) -> dict[str, object]:
    named = key.as_dict()
    del named["minute"]
    minute = freshness.timestamp(key.minute * MINUTE_S)
    return {**named, "minute": minute, "count": count, "sent": sent, "received": received}
