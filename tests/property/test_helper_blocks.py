"""Our part of another tool's configuration: put in, brought up to date, taken out, no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.helpers.edit.blocks import Form, has_block
from brokerctl.helpers.edit.blocks import put_block as put_formed
from brokerctl.helpers.edit.blocks import take_block as take_formed

TEXTS = st.text(alphabet='ab# \t\r\n[]=\\"é\udc80', max_size=60)
LINES = st.lists(st.text(alphabet='ab\t[]="', max_size=12), max_size=4)
ALL = Form(lambda rows, at: True)  # noqa: ARG005 - each row that stands between our marks


def form(*lines: str) -> Form:
    """Return a form that has these lines, a header of ours among them."""
    known = {line.strip() for line in lines}
    return Form(lambda rows, at: rows[at] in known, lambda row: row == "[ours]")


def put_block(text: str, name: str, lines: list[str]) -> str:
    """Put lines in, all of which are known."""
    return put_formed(text, name, lines, ALL)


def take_block(text: str, name: str) -> str | None:
    """Take all lines out that we may have put in."""
    return take_formed(text, name, ALL)


@given(text=TEXTS, lines=LINES)
def test_put_and_taken_is_byte_for_byte_as_before(text: str, lines: list[str]) -> None:
    """Whatever the file's last line, its ends of lines and its bytes are."""
    changed = put_block(text, "git", lines)
    assert has_block(changed, "git")
    assert all(line in changed for line in lines)
    assert take_block(changed, "git") == text


@given(text=TEXTS, first=LINES, second=LINES)
def test_put_twice_is_put_once(text: str, first: list[str], second: list[str]) -> None:
    """The second time brings it up to date where it is."""
    twice = put_block(put_block(text, "git", first), "git", second)
    assert twice == put_block(text, "git", second)


@given(text=TEXTS, lines=LINES, more=TEXTS)
def test_what_was_added_behind_stays(text: str, lines: list[str], more: str) -> None:
    """A person goes on writing below our part."""
    changed = put_block(text, "git", lines) + more
    left = take_block(changed, "git")
    assert left is not None
    assert left.startswith(text)
    assert left.endswith(more)


def test_two_tools_of_one_file_do_not_meet() -> None:
    """Each takes its own part out."""
    both = put_block(put_block("x\n", "git", ["a"]), "cargo", ["b"])
    assert take_block(both, "git") == put_block("x\n", "cargo", ["b"])


@pytest.mark.parametrize("cut", ["begin", "end", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_half_a_part_is_no_reason_to_stop(cut: str, end: str) -> None:
    """Git removes a section with the mark behind it: our lines are known by their form then."""
    lines = ["[ours]", "a = 1"]
    known = form("a = 1")
    text = put_formed("[x]\nb = 2\n", "git", lines, known) + "[y]\nc = 3\n"
    rows = [row for row in text.split("\n") if not row.endswith(f": {cut}")]
    broken = end.join(rows)
    assert has_block(broken, "git")
    assert take_formed(broken, "git", known) == end.join(["[x]", "b = 2", "[y]", "c = 3", ""])
    again = put_formed(broken, "git", lines, known)
    assert take_formed(again, "git", known) == end.join(["[x]", "b = 2", "[y]", "c = 3", ""])


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("row", ["k = v", "# mine", "[mine]", ""])
def test_what_others_wrote_between_our_lines_stays(at: int, row: str) -> None:
    """At every point; a header of ours that something of theirs stands below stays as well."""
    known = form("a = 1", "b = 2")
    text = put_formed("x\n", "git", ["[ours]", "a = 1", "b = 2"], known)
    rows = text.split("\n")
    changed = "\n".join([*rows[:at], row, *rows[at:]])
    left = (take_formed(changed, "git", known) or "").split("\n")
    is_below = row == "k = v" and at > 2
    assert left == ["x", *(["[ours]"] if is_below else []), row, ""]
    again = put_formed(changed, "git", ["[ours]", "a = 1"], known)
    assert row in again.split("\n")
    assert put_formed(again, "git", ["[ours]", "a = 1"], known) == again
