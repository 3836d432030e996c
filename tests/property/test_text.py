"""Text from elsewhere can't move a cursor, hide or turn round, whatever it holds."""

from __future__ import annotations

import subprocess
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerctl.text import safe, shell_word

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


def test_a_shell_word_is_one_word() -> None:
    """A shell gives back what was quoted, and a plain path is left as it is."""
    words = [
        "/home/a-b/c_d.toml",
        "",
        "a b",
        "'",
        '"',
        "$HOME",
        "`id`",
        "\\",
        "\n",
        "*",
        "~",
        "é;&",
    ]
    script = " ".join(["printf '%s|'", *map(shell_word, words)])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(f"{word}|" for word in words)
    assert shell_word(words[0]) == words[0]
