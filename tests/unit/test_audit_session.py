"""A session's story: its own records, and what others recorded of its tokens and questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.audit import show
from brokerctl.audit.filter import RecordFilter
from brokerctl.audit.read import find_records, recorded_sessions
from brokerctl.errors import UsageError
from tests.audit_log import SmallLog

if TYPE_CHECKING:
    from pathlib import Path

ONE, OTHER = "3f9a" + "0" * 28, "3f9b" + "0" * 28


def by(session: str | None, tool: str = "exec") -> dict[str, Any]:
    """Return a requester."""
    return {"uid": 1000, "pid": 41, "exe": "/usr/bin/bash", "tool": tool, "session": session}


@pytest.fixture
def small(tmp_path: Path) -> SmallLog:
    """Return a log of two sessions, and of what was recorded of them by others."""
    small = SmallLog(tmp_path, rotate=3000)
    given = {"profiles": ["a", "b"], "serves": ["socket"], "requester": by(ONE)}
    events: list[tuple[str, dict[str, Any]]] = [
        ("session.started", {"session": ONE, **given}),
        ("session.started", {"session": OTHER, **given, "requester": by(OTHER)}),
        ("question.asked", {"question": "q1", "profile": "a", "requester": by(ONE)}),
        ("question.asked", {"question": "q2", "profile": "a", "requester": by(OTHER)}),
        ("question.answered", {"question": "q1", "requester": by(None, "approve")}),
        ("question.answered", {"question": "q2", "requester": by(None, "approve")}),
        ("lease.given", {"lease": "l1", "question": "q1", "session": None}),
        ("token.handed_out", {"profile": "a", "fingerprint": "f1", "requester": by(ONE)}),
        ("token.handed_out", {"profile": "a", "fingerprint": "f2", "requester": by(OTHER)}),
        ("token.handed_out", {"profile": "a", "fingerprint": "f1", "requester": by(None, "get")}),
        ("session.ended", {"session": ONE, "profiles": ["a"], "reason": "ended", "requester": {}}),
        ("token.revoked", {"profile": "a", "fingerprint": "f1", "requester": by(None, "session")}),
        ("token.revoked", {"profile": "a", "fingerprint": "f2", "requester": by(None, "session")}),
        ("lease.ended", {"lease": "l1", "question": "q1", "outcome": "over"}),
        ("exec.end", {"profiles": ["a"], "requester": by(ONE), "outcome": "exit 0"}),
    ]
    for name, fields in events:
        small.log.append(name, fields)
    return small


def seqs(small: SmallLog, match: RecordFilter) -> list[int]:
    """Return the places of what matches, among the records that were appended."""
    own = [one for one in find_records(small.log.folder) if one.fields["event"][:4] != "log."]
    found = {one.fields["seq"] for one in find_records(small.log.folder, match)}
    return [at for at, one in enumerate(own, 1) if one.fields["seq"] in found]


STORY = [1, 3, 5, 7, 8, 11, 12, 14, 15]


def test_a_story_is_whole_and_nobody_else_s(small: SmallLog) -> None:
    """In order, over closed files, by the whole id or by its beginning."""
    assert seqs(small, RecordFilter(session=ONE)) == STORY
    assert seqs(small, RecordFilter(session="3f9a")) == STORY
    assert seqs(small, RecordFilter(session=OTHER)) == [2, 4, 6, 9, 13]
    assert seqs(small, RecordFilter(session="9")) == []
    assert seqs(small, RecordFilter(session=ONE, event="token.revoked")) == [12]
    assert seqs(small, RecordFilter(session=ONE, profile="a", event="token")) == [8, 12]


def test_the_beginning_of_two_ids_is_refused(small: SmallLog) -> None:
    """Two stories in one would be a third."""
    assert recorded_sessions(small.log.folder, "3f9") == [OTHER, ONE]
    with pytest.raises(UsageError, match="begins the ids of 2 sessions: 3f9b00000000, 3f9a000"):
        show.refuse_ambiguous(small.log.folder, "3f9")
    for start in (None, "3f9a", ONE, "nobody"):
        show.refuse_ambiguous(small.log.folder, start)


def test_a_story_can_be_read_in_120_columns(small: SmallLog) -> None:
    """What a session was given and how it ended stand in its lines."""
    lines = [
        show.record_line(one) for one in find_records(small.log.folder, RecordFilter(session=ONE))
    ]
    assert max(map(len, lines)) <= 120
    assert lines[0].split()[1:] == ["session.started", "a", "b", "socket", "exec", "bash", "41"]
    assert lines[5].split()[1:4] == ["session.ended", "a", "ended"]
    assert lines[-1].split()[1:4] == ["exec.end", "exit", "0"]
