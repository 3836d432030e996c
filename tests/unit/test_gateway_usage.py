"""The record of use: what is counted together, what is never written, and nothing is lost."""

from __future__ import annotations

import pytest

from brokerctl.errors import AuditError
from brokerctl.session.serve.usage import MOST_SEGMENTS, OTHER, UsageLog, Used, answer_class

MINUTE = 1_800_000_000.0


class Room:
    """A log of use with a clock of its own, and a record that can fail."""

    def __init__(self) -> None:
        self.now = MINUTE
        self.error: AuditError | None = None
        self.records: list[dict[str, object]] = []
        self.log = UsageLog(self.record, "gateway.used", lambda: self.now)

    def record(self, name: str, fields: dict[str, object]) -> None:
        """Note a record, or fail."""
        assert name == "gateway.used"
        if self.error is not None:
            raise self.error
        self.records.append(fields)

    def use(self, path: str = "/a", method: str = "GET", answer: str = "2xx") -> None:
        """Count one request of three bytes, whose answer has five."""
        used = Used(profile="api", method=method, origin="https://a.test", path=path, answer=answer)
        self.log.add(used.replace(sent=3, received=5))


def test_a_minute_is_written_when_it_is_over() -> None:
    """One record for each kind, its numbers added up; what is still going on waits."""
    room = Room()
    for path in ("/a/b", "/a/c/d", "/a"):
        room.use(path)
    room.use("/a", answer="5xx")
    room.log.flush()
    assert room.records == []
    room.now += 60
    room.use("/a")
    room.log.flush()
    assert [(one["answer"], one["count"], one["sent"]) for one in room.records] == [
        ("2xx", 3, 9),
        ("5xx", 1, 3),
    ]
    assert room.records[0] == {
        "profile": "api",
        "minute": "2027-01-15T08:00:00Z",
        "method": "GET",
        "origin": "https://a.test",
        "path": "/a",
        "answer": "2xx",
        "count": 3,
        "sent": 9,
        "received": 15,
    }
    room.log.close()
    assert [one["count"] for one in room.records] == [3, 1, 1]


def test_a_client_that_makes_up_paths_fills_no_log() -> None:
    """So many different first segments in a minute, and then one line for all others."""
    room = Room()
    for number in range(MOST_SEGMENTS * 3):
        room.use(f"/{number}/x")
    room.log.close()
    assert len(room.records) == MOST_SEGMENTS + 1
    (rest,) = [one for one in room.records if one["path"] == OTHER]
    assert rest["count"] == MOST_SEGMENTS * 2


def test_a_method_that_is_made_up_is_other() -> None:
    """It is the client's own word."""
    room = Room()
    room.use(method="MADE-UP")
    room.use(method="ANOTHER")
    room.log.close()
    assert [(one["method"], one["count"]) for one in room.records] == [(OTHER, 2)]


@pytest.mark.parametrize("path", ["/" + "a" * 500, "/\x1b[31m\u202e" + "b" * 90])
def test_a_segment_is_cut_and_safe_to_show(path: str) -> None:
    """A record is read at a terminal."""
    room = Room()
    room.use(path)
    room.log.close()
    shown = str(room.records[0]["path"])
    assert len(shown) <= 41
    assert shown.isascii()
    assert shown.isprintable()


def test_what_could_not_be_written_is_written_later() -> None:
    """A full disk loses no count."""
    room = Room()
    room.use("/a")
    room.use("/b")
    room.error = AuditError("the disk is full")
    with pytest.raises(AuditError):
        room.log.close()
    room.use("/a")
    room.error = None
    room.log.close()
    assert [(one["path"], one["count"]) for one in room.records] == [("/a", 2), ("/b", 1)]
    room.log.close()
    assert len(room.records) == 2


def test_answers_are_told_by_their_class() -> None:
    """2xx for 204."""
    assert [answer_class(status) for status in (101, 204, 302, 404, 503)] == [
        *("1xx", "2xx", "3xx", "4xx", "5xx")
    ]
