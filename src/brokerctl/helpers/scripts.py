"""A small script of ours where a tool runs only what lies in a place of its own. Pure text."""

from __future__ import annotations

import shlex

from brokerctl.errors import UsageError

_MARK = "# brokerctl helper install {name}: this file"


def put_script(path: str, text: str, name: str, words: list[str]) -> str:
    """Return the script that runs these words and its own; UsageError where another file is."""
    if text and take_script(text, name) is None:
        raise UsageError(f"{path} is there already, and not made by brokerctl", hint="move it away")
    return f'#!/bin/sh\n{_MARK.format(name=name)}\nexec {shlex.join(words)} "$@"\n'


def take_script(text: str, name: str) -> str | None:
    """Return nothing, which removes the script; None if it is not ours."""
    return "" if _MARK.format(name=name) in text.split("\n")[:2] else None
