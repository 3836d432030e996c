"""Text from elsewhere can't move a cursor, hide or turn round, whatever it holds."""

from __future__ import annotations

import os
import subprocess
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerctl.errors import shell_word
from brokerctl.text import any_of, safe
from tests.program import require_tool

if TYPE_CHECKING:
    from pathlib import Path

ANY = st.text(st.characters(exclude_categories=()))
VARIATION = "\ufe0f"


@given(ANY)
@example("\x1b]0;title\x07")
@example("\u202egnp.exe")
@example("\ud800")
def test_nothing_unseen(text: str) -> None:
    """What comes out is printable, one line, and encodes to UTF-8."""
    shown = safe(text)
    assert shown.isprintable()
    shown.encode()
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"} for char in shown)


@given(ANY, st.integers(0, 40))
def test_limit(text: str, limit: int) -> None:
    """Never longer than the limit; what fits is never cut, and escaping twice changes nothing."""
    shown = safe(text, limit)
    assert len(shown) <= limit
    whole = safe(text, 10 * len(text) + 1)
    assert shown == whole or shown.endswith("..."[:limit])
    assert (len(whole) <= limit) == (shown == whole)
    assert safe(whole, len(whole)) == whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ASCII, and more: äöü 漢字", "plain ASCII, and more: äöü 漢字"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\x7f\x9b", "a\\x0ab\\x09c\\x7f\\x9b"),
        ("\u202eabc\u2066\u200b\ufeff", "\\u202eabc\\u2066\\u200b\\ufeff"),
        ("\u3164\U000e0001", "\\u3164\\U000e0001"),
        (f"a{VARIATION}\u034f\u2028", "a\\ufe0f\\u034f\\u2028"),
    ],
)
def test_table(text: str, shown: str) -> None:
    """Each kind of trick is written out; letters of any script stay."""
    assert safe(text) == shown


def test_cut() -> None:
    """A cut is visible and never splits an escape."""
    assert safe("x" * 300, 10) == "xxxxxxx..."
    assert safe("xxxxx\x1b" + "y" * 9, 10) == "xxxxx..."


# Each would start a command of its own, open a file or be more than one word, if a shell heeded it.
HOSTILE = [
    "x;cd;touch PWNED;",
    "$(touch PWNED)",
    "`touch PWNED`",
    "a b",
    "a&touch PWNED",
    "a|touch PWNED",
    "a>PWNED",
    "a\\;touch PWNED",
    'a";touch PWNED;"',
    "$HOME ${HOME}",
    "~root",
    "#a",
    "!!",
    "{a,b}",
    "*[a-z]?",
    "=ls",
    "%1",
    "é;&",
    "\\",
]
UNSHOWN = [
    "a';touch PWNED;'",
    "a\ntouch PWNED",
    "a\rtouch PWNED",
    "\u202e;touch PWNED",
    "\u00a0;touch PWNED",
    "",
    "-rf",
]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_a_shell_word_is_one_word(shell: str, tmp_path: Path) -> None:
    """Any shell gives back what was quoted, and starts nothing; a plain path is left as it is."""
    words = [*HOSTILE, "/home/a-b/c_d.toml"]
    script = "\n".join(f"printf '%s|' {shell_word(word)}" for word in words)
    assert in_shell(shell, script, tmp_path) == "".join(f"{word}|" for word in words)
    assert shell_word(words[-1]) == words[-1]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_a_hint_starts_nothing_however_it_is_copied(shell: str, tmp_path: Path) -> None:
    """Its quotes copied too, or a name that no word can hold: no command but the one shown."""
    for word in HOSTILE + UNSHOWN:
        command = f"printf '' {shell_word(word)}"
        for copied in (command, f"'true {shell_word(word)}'", f"run 'true {shell_word(word)}'"):
            in_shell(shell, copied, tmp_path)
    assert os.listdir(tmp_path) == []


def in_shell(shell: str, script: str, folder: Path) -> str:
    """Return what a script prints in an empty folder."""
    argv = [require_tool(shell), "-c", script]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


def test_any_of_what_can_be_said() -> None:
    """One, two and more."""
    assert [any_of("abc"[:count]) for count in (1, 2, 3)] == ["a", "a or b", "a, b or c"]
