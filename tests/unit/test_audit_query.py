"""Finding records: filters, unknown fields, damaged lines, and following over rotations."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.audit.filter import RecordFilter
from brokerctl.audit.read import find_records, follow_records, parse_moment
from brokerctl.errors import UsageError
from brokerctl.platform.system import System
from tests.audit_log import START, SmallLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIT = {"uid": 1000, "pid": 41, "exe": "/usr/bin/git", "tool": "git", "session": "s1"}
CURL = {"uid": 0, "pid": 42, "exe": "/usr/bin/curl", "tool": "get", "session": None}


@pytest.fixture
def small(tmp_path: Path) -> SmallLog:
    """Return a log of four different records, a second apart."""
    small = SmallLog(tmp_path)
    small.log.append("token.handed_out", {"profile": "a", "requester": GIT, "new_field": [1]})
    small.log.append("token.denied", {"profile": "b", "requester": CURL})
    small.log.append("grant.ended", {"profile": "a"})
    small.log.append("tokens", {"purpose": '"profile":"b"', "owner": "s1", "requester": "?"})
    return small


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be in another time zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def seqs(small: SmallLog, match: RecordFilter, limit: int | None = None) -> list[int]:
    """Return the numbers of what matches."""
    found = find_records(small.log.folder, match, limit)
    return [entry.fields["seq"] for entry in found]


def test_each_filter_finds_its_records(small: SmallLog) -> None:
    """Profile and event exactly, or the event's first part; several filters must all match."""
    assert seqs(small, RecordFilter()) == [1, 2, 3, 4]
    assert seqs(small, RecordFilter(profile="a")) == [1, 3]
    assert seqs(small, RecordFilter(profile="b")) == [2]
    assert seqs(small, RecordFilter(event="token")) == [1, 2]
    assert seqs(small, RecordFilter(event="token.denied")) == [2]
    assert seqs(small, RecordFilter(session="s1")) == [1]
    assert seqs(small, RecordFilter(profile="a", event="token")) == [1]
    assert seqs(small, RecordFilter(profile="é")) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("git", [1]),
        ("/usr/bin/curl", [2]),
        ("curl", [2]),
        ("uid:1000", [1]),
        ("pid:42", [2]),
        ("42", [2]),
        ("pid:1000", []),
        ("tool:get", [2]),
        ("rl", []),
    ],
)
def test_a_requester_is_found_by_what_is_known_of_it(
    small: SmallLog, wanted: str, expected: list[int]
) -> None:
    """A number, a path, its last part or a tool; `uid:0` names the field."""
    assert seqs(small, RecordFilter(requester=wanted)) == expected


def test_since_is_from_and_until_is_before(small: SmallLog) -> None:
    """So that two neighbouring spans share no record."""
    middle = parse_moment("2026-11-23T23:29:53.25Z", START)
    assert seqs(small, RecordFilter(since=middle)) == [2, 3, 4]
    assert seqs(small, RecordFilter(until=middle)) == [1]


def test_a_moment_is_a_date_a_time_or_how_long_ago(tokyo: None) -> None:
    """Without a zone it is UTC, as the log is, wherever the machine stands."""
    assert tokyo is None
    assert parse_moment("2026-11-23", START) == "2026-11-23T00:00:00.000000Z"
    assert parse_moment("2026-11-23T01:00:00+01:00", START) == "2026-11-23T00:00:00.000000Z"
    assert parse_moment("2h", START) == "2026-11-23T21:29:51.250000Z"
    with pytest.raises(UsageError, match="'yesterday' is not a time"):
        parse_moment("yesterday", START)


def test_a_limit_keeps_the_newest(small: SmallLog) -> None:
    """As with `tail`."""
    assert seqs(small, RecordFilter(), limit=2) == [3, 4]
    assert seqs(small, RecordFilter(), limit=0) == []


def test_unknown_fields_are_kept(small: SmallLog) -> None:
    """A newer version's record is shown whole."""
    assert find_records(small.log.folder)[0].fields["new_field"] == [1]


def test_a_damaged_line_hides_no_other(small: SmallLog) -> None:
    """It is handed on as what it is; half a line at the end is nobody's record yet."""
    lines = small.lines()
    small.write(lines[0] + b'\xff{"v"\n[]\n' + lines[1] + lines[2][:30])
    found = find_records(small.log.folder)
    assert [entry.fields and entry.fields["seq"] for entry in found] == [1, None, None, 2]


def test_closed_segments_come_first(tmp_path: Path) -> None:
    """Oldest first, over all files, by number and not by name."""
    small = SmallLog(tmp_path, rotate=1).fill(8)
    small.log.rotate = 1 << 24
    small.fill(2)
    numbers = seqs(small, RecordFilter(event="token.handed_out"))
    assert numbers == sorted(numbers)
    assert len(numbers) == 10


class Script(System):
    """Does something each time that the follower waits."""

    steps: Iterator[object] = iter(())

    def sleep(self, _: object) -> None:
        """Take one step; when there is none left, stop following."""
        if next(self.steps, None) is None:
            raise KeyboardInterrupt


def follow(small: SmallLog, script: Script, steps: Iterator[object]) -> list[int | None]:
    """Follow while the script is played; return the numbers of the hand-outs, None for damage."""
    script.steps = steps
    found: list[int | None] = []
    following = follow_records(small.log.folder, RecordFilter(event="token"), 2)
    with pytest.raises(KeyboardInterrupt):
        found.extend(entry.fields and entry.fields["number"] for entry in following)
    return found


def test_following_shows_each_record_once(tmp_path: Path) -> None:
    """The newest ones first, then each as it comes; half a line waits for its end."""
    script = Script()
    small = SmallLog(tmp_path, system=script).fill(5)

    def steps() -> Iterator[object]:
        yield small.log.append("token.handed_out", {"number": 10})
        whole = small.lines()
        small.write(b"".join(whole) + b'{"v":1')
        yield "half"
        yield small.log.append("token.handed_out", {"number": 11})

    assert follow(small, script, steps()) == [3, 4, 10, None, 11]


def test_following_goes_on_over_rotations(tmp_path: Path) -> None:
    """Also when the log was closed more than once since the last look."""
    script = Script()
    small = SmallLog(tmp_path, system=script)

    def steps() -> Iterator[object]:
        yield small.fill(3)
        small.log.rotate = 1
        yield small.log.append("token.handed_out", {"number": 10})
        for number in range(11, 15):
            small.log.append("token.handed_out", {"number": number})
        small.log.rotate = 1 << 24
        yield small.log.append("token.handed_out", {"number": 15})
        yield small.log.append("token.handed_out", {"number": 16})

    assert follow(small, script, steps()) == [0, 1, 2, *range(10, 17)]


def open_below(folder: Path) -> int:
    """Return how many descriptors of this process are of files in the folder, removed ones too."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith(str(folder)) for link in links if os.path.lexists(link))


def test_following_closes_what_it_leaves(tmp_path: Path) -> None:
    """A follower of a month holds one file open, not hundreds."""
    script = Script()
    small = SmallLog(tmp_path, system=script)
    counts: list[int] = []

    def steps() -> Iterator[object]:
        for _ in range(4):
            small.log.rotate = 1
            small.fill(2)
            small.log.rotate = 1 << 24
            small.fill(1)
            yield True
            counts.append(open_below(tmp_path))
            yield True

    follow(small, script, steps())
    assert counts[-1] == counts[1]
