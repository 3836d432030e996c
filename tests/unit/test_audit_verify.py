"""Verifying: each kind of damage by its name, and what accepting it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerctl.audit.record import close_line
from brokerctl.audit.recover import read_tail
from brokerctl.audit.repair import accept, repair
from brokerctl.jsonlite import loads
from brokerctl.model import Requester
from tests.audit_log import RING, SmallLog

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.audit.verify import Report

ME = Requester(uid=1000, pid=7, tool="audit")


@pytest.fixture
def small(tmp_path: Path) -> SmallLog:
    """Return a log of six records."""
    return SmallLog(tmp_path).fill(6)


def edit(small: SmallLog, number: int) -> None:
    """Change one record."""
    small.write(small.read().replace(b'"number":%d,' % number, b'"number":%d,' % (number + 10)))


def accepted(small: SmallLog) -> Report:
    """Accept what is wrong and return the judgement after it."""
    return accept(small.log, ME, "known").report


def test_nothing_written_is_whole(tmp_path: Path) -> None:
    """No log yet: no problem, and looking leaves nothing behind."""
    empty = SmallLog(tmp_path)
    assert empty.verify().is_whole
    assert empty.names() == []


def test_a_missing_closed_segment_is_a_truncation(tmp_path: Path) -> None:
    """The first one: the log's beginning is missing. Another: what it held is."""
    small = SmallLog(tmp_path, rotate=1).fill(4)
    names = [name for name in small.names() if name.startswith("log-")]
    assert names == ["log-1", "log-2", "log-4", "log-6"]
    (small.path / "log-1").unlink()
    assert [(p.kind, p.message) for p in small.verify().problems] == [
        ("truncated", "record 1 is missing")
    ]
    (small.path / "log-4").unlink()
    assert [(p.kind, p.message) for p in small.verify().problems] == [
        ("truncated", "record 1 is missing"),
        ("truncated", "records 4 to 5 are missing"),
    ]


def test_a_cut_closed_segment_is_a_truncation(tmp_path: Path) -> None:
    """The next segment continues what is no longer there."""
    small = SmallLog(tmp_path, rotate=2500).fill(12)
    lines = small.lines("log-1")
    small.write(b"".join(lines[:-2]), "log-1")
    assert small.kinds() == ["truncated"]


def test_an_edit_is_named_once_with_its_place(small: SmallLog) -> None:
    """Two changed lines in a row are one problem; what lies around them is right."""
    lines = small.lines()
    edit(small, 2)
    edit(small, 3)
    (problem,) = small.verify().problems
    assert (problem.line, problem.offset) == (3, sum(map(len, lines[:2])))
    assert problem.message == "2 lines were edited or added after record 2"


def test_an_added_line_is_an_edit(small: SmallLog) -> None:
    """A line that nobody with the key wrote, between two that are right."""
    lines = small.lines()
    small.write(b"".join([*lines[:3], b'{"v":1}\n', *lines[3:]]))
    assert small.kinds() == ["edited"]
    assert small.verify().records == 6


def test_an_edit_and_a_gap_behind_it_are_both_named(small: SmallLog) -> None:
    """One damage does not hide another."""
    edit(small, 2)
    lines = small.lines()
    small.write(b"".join([*lines[:3], *lines[5:]]))
    assert small.kinds() == ["edited", "gap"]


def test_an_explanation_without_its_bytes_is_an_edit(small: SmallLog) -> None:
    """What `log.repaired` names must lie there: it is evidence."""
    torn = b'{"v":1,"seq":7'
    small.write(small.read() + torn)
    small.fill(1)
    assert small.verify().is_whole
    whole = small.read()
    for other in (b"", b"\n", torn[:-1] + b"\n", torn.upper() + b"\n", torn + b"x\n"):
        small.write(whole.replace(torn + b"\n", other))
        assert small.kinds() == ["edited"], other


def test_evidence_that_was_put_back_does_not_undo_the_alarm(small: SmallLog) -> None:
    """`log.tampered` stays a problem when the old line is restored."""
    before = small.read()
    edit(small, 5)
    edited = small.read()
    small.fill(1)
    small.write(small.read().replace(edited, before))
    assert small.kinds() == ["edited"]


def test_a_right_mac_over_no_record_is_found_by_parsing(small: SmallLog) -> None:
    """Only a bug of ours can write that; --parse reads every field."""
    folder = small.log.folder
    with (small.path / "log").open("r+b") as file:
        tail = read_tail(folder, RING, file.fileno(), len(small.read()))
        assert tail is not None
        line, _ = close_line(RING, tail.head, b'"time":1,"event":"e"')
    small.write(small.read() + line)
    assert small.verify().is_whole
    assert [problem.kind for problem in small.verify(parse=True).problems] == ["unreadable"]


def test_accepted_problems_are_listed_and_end_well(small: SmallLog) -> None:
    """Who accepted what and why is a record; `verify` ends 0 and still tells of it."""
    edit(small, 3)
    report = accepted(small)
    assert report.is_whole
    assert [problem.kind for problem in report.accepted] == ["edited"]
    record = loads(small.lines()[-1])
    assert record["event"] == "log.accepted"
    assert (record["reason"], record["requester"]["uid"]) == ("known", 1000)
    small.fill(2)
    assert small.verify(parse=True).is_whole


@pytest.mark.parametrize("torn", [b"", b'{"v":1,"se'])
def test_an_edited_last_line_can_be_accepted(small: SmallLog, torn: bytes) -> None:
    """Also where a write was cut short after it."""
    edit(small, 5)
    small.write(small.read() + torn)
    assert accepted(small).is_whole
    assert small.verify().is_whole


def test_accepting_covers_nothing_that_comes_later(small: SmallLog) -> None:
    """Another edit, before or behind the acceptance, is a problem again."""
    edit(small, 3)
    assert accepted(small).is_whole
    small.fill(2)
    whole = small.read()
    small.write(whole.replace(b'"number":1,', b'"number":4,', 1))
    assert small.kinds() == ["edited", "edited"]
    small.write(whole.replace(b'"number":13,', b'"number":14,'))
    assert small.kinds() == ["edited"]
    lines = whole.splitlines(keepends=True)
    small.write(b"".join(lines[:-1]) + lines[-1].replace(b'"p"', b'"q"'))
    assert small.kinds() == ["edited"]
    assert len(small.verify().accepted) == 1
    assert accepted(small).is_whole


def test_an_acceptance_holds_after_rotation(tmp_path: Path) -> None:
    """The file's name changes when it is closed; the problem is the same."""
    small = SmallLog(tmp_path).fill(4)
    edit(small, 1)
    assert accepted(small).is_whole
    small.log.close_segment()
    small.fill(1)
    assert small.verify().is_whole


def test_repair_alone_accepts_nothing(small: SmallLog) -> None:
    """It makes the log writable and says what is wrong."""
    edit(small, 3)
    assert not repair(small.log, ME).report.is_whole
    assert not small.verify().is_whole


def test_accepting_a_whole_log_writes_no_acceptance(small: SmallLog) -> None:
    """There is nothing to accept."""
    assert accepted(small).is_whole
    assert b"log.accepted" not in small.read()
