"""Our part of another tool's configuration: put in, brought up to date, taken out, no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.errors import UsageError
from brokerctl.helpers.blocks import has_block, put_block, take_block

TEXTS = st.text(alphabet='ab# \t\r\n[]=\\"é\udc80', max_size=60)
LINES = st.lists(st.text(alphabet='ab\t[]="', max_size=12), max_size=4)


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


@pytest.mark.parametrize("cut", ["begin", "end"])
def test_half_a_part_is_not_guessed_at(cut: str) -> None:
    """Where its first or last line is gone, a person has to look."""
    text = put_block("x\n", "git", ["a"])
    broken = "\n".join(row for row in text.split("\n") if not row.endswith(f": {cut}"))
    for act in (has_block, take_block):
        with pytest.raises(UsageError, match="no longer whole"):
            act(broken, "git")
