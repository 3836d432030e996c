"""Colour for people: on a terminal alone, never with NO_COLOR or CI set or on a dumb one.

What is said can be understood without it; what is piped, kept or parsed has none.
"""

from __future__ import annotations

from brokerctl.platform.system import os, read_environ

_LABELS = {"error": "bad", "hint": "hint", "warning": "care", "note": "title"}
_STYLES = {
    "good": "32",
    "care": "33",
    "bad": "1;31",
    "hint": "36",
    "title": "1",
}


def is_wanted(fd: int) -> bool:
    """Return whether what is written to `fd` may be coloured."""
    if not os.isatty(fd):
        return False
    environ = read_environ()
    if environ.get("NO_COLOR") or environ.get("CI"):
        return False
    return environ.get("TERM", "dumb") not in {"", "dumb"}


def paint(text: str, style: str, *, is_on: bool) -> str:
    """Return our own text in a style, or as it is. Others' text is made safe before, not here."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if is_on else text


def label(word: str, fd: int) -> str:
    """Return how a line for people begins: `brokerctl: error:` and its like."""
    return f"brokerctl: {paint(f'{word}:', _LABELS[word], is_on=is_wanted(fd))}"
