"""A small script for tools that run only programs in a folder of their own. Pure text."""

from __future__ import annotations

import shlex

from brokerctl.errors import UsageError

_EXEC, _ROWS = "exec ", 4  # four rows; the last one is the empty row after the last newline
_MARK = "# brokerctl helper install {name}: this file"


def put_script(path: str, text: str, name: str, words: list[str]) -> str:
    """Return a script that runs these words and adds its own; UsageError if the file is another."""
    taken = take_script(text, name)
    if text and taken is None:
        raise UsageError(f"{path} is there already, and not made by brokerctl", hint="move it away")
    row = f'exec {shlex.join(words)} "$@"'
    if not taken:
        return f"#!/bin/sh\n{_MARK.format(name=name)}\n{row}\n"
    rows = text.split("\n")
    calls = [at for at, one in enumerate(rows) if one.startswith(_EXEC)]
    if len(calls) != 1:
        raise UsageError(f"{path} was changed by hand", hint="move it away")
    return "\n".join([*rows[: calls[0]], row, *rows[calls[0] + 1 :]])


def take_script(text: str, name: str) -> str | None:
    """Return "" to remove the file; its text if somebody changed it; None if it is not ours."""
    rows = text.split("\n")
    if _MARK.format(name=name) not in rows[:2]:
        return None
    is_whole = len(rows) == _ROWS and rows[2].startswith(_EXEC) and not rows[3]
    return "" if is_whole else text
