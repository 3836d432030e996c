"""The chain: no byte of the log can be changed, and no line taken or moved, without `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.audit_log import SmallLog

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = (0x01, 0x20, 0x80)  # another digit or letter, another case, no ASCII any more


@pytest.fixture
def small(tmp_path: Path) -> SmallLog:
    """Return a log of six records."""
    return SmallLog(tmp_path).fill(6)


def test_an_untouched_log_is_whole(small: SmallLog) -> None:
    """Reading it by position and reading every field say the same."""
    assert small.verify() == small.verify(parse=True)
    assert small.verify().is_whole
    assert small.verify().last_seq == small.verify().records == 6


@pytest.mark.parametrize("flip", FLIPS)
def test_each_byte_counts(small: SmallLog, flip: int) -> None:
    """Every byte in turn, newlines and the MAC's own digits too: exit code 7."""
    data = small.read()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= flip
        small.write(bytes(changed))
        kinds = small.kinds()
        expected = "torn" if place == len(data) - 1 else "edited"
        assert kinds[:1] == [expected], place


def test_each_byte_of_a_continued_log_counts(tmp_path: Path) -> None:
    """The records of the log's own, and the line between two segments, are no weaker."""
    small = SmallLog(tmp_path, rotate=1).fill(2)
    small.log.rotate = 1 << 24
    small.fill(1)
    small.write(small.read() + b'{"v":1,"seq":6,"kid":1,"ti')
    small.fill(1)
    assert small.verify().is_whole
    for name in small.names():
        if name == "log.lock":
            continue
        data = small.read(name)
        for place in range(0, len(data), 3):
            changed = bytearray(data)
            changed[place] ^= 1
            small.write(bytes(changed), name)
            assert not small.verify().is_whole, (name, place)
        small.write(data, name)


def test_each_missing_line_is_a_gap(small: SmallLog) -> None:
    """All but the last line: what follows it continues what is not there."""
    lines = small.lines()
    for place in range(5):
        small.write(b"".join(lines[:place] + lines[place + 1 :]))
        found = small.verify().problems
        assert [problem.kind for problem in found] == ["gap" if place else "truncated"]
        assert found[0].message == f"record {place + 1} is missing"


def test_lines_in_another_order_are_found(small: SmallLog) -> None:
    """Each line alone is right: the order is what the chain keeps."""
    lines = small.lines()
    for place in range(5):
        other = [*lines]
        other[place], other[place + 1] = other[place + 1], other[place]
        small.write(b"".join(other))
        assert set(small.kinds()) <= {"gap", "truncated"}
        assert small.kinds()


def test_a_line_written_twice_is_found(small: SmallLog) -> None:
    """A hand-out that seems to have happened twice is a lie too."""
    lines = small.lines()
    for place in range(6):
        small.write(b"".join([*lines[: place + 1], *lines[place:]]))
        assert small.kinds()[0] == "gap"


def test_a_line_of_another_log_is_found(small: SmallLog, tmp_path: Path) -> None:
    """Another log by the same key continues other records."""
    other = SmallLog(tmp_path / "other").fill(3, other=1).lines()
    lines = small.lines()
    small.write(b"".join([*lines[:2], other[2], *lines[3:]]))
    found = small.verify().problems
    assert [problem.kind for problem in found] == ["gap", "gap"]
    assert found[0].message == "record 3 continues another record than 2"


def test_a_cut_end_is_torn_wherever_it_is_cut(small: SmallLog) -> None:
    """A tear is told from an edit: it lies at the end and is no whole line."""
    data, last = small.read(), len(small.lines()[-1])
    for length in range(len(data) - last + 1, len(data)):
        small.write(data[:length])
        assert small.kinds() == ["torn"], length


def test_a_cut_end_is_explained_by_the_next_record(small: SmallLog) -> None:
    """Wherever the write was cut, the chain goes on, `verify` ends 0 and says what happened."""
    data, last = small.read(), len(small.lines()[-1])
    for length in range(len(data) - last, len(data)):
        small.write(data[:length])
        small.fill(1)
        report = small.verify(parse=True)
        assert report.is_whole, length
        assert len(report.notices) == (0 if length == len(data) - last else 1)
