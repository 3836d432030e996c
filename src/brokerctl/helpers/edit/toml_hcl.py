"""Reads as much of other tools' TOML and HCL as a set-up needs. Pure text."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from typing import Any

from brokerctl.errors import UsageError

_TOKENS = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|//[^\n]*|/\*.*?\*/|[A-Za-z_][\w-]*', re.DOTALL)


def refuse_other(path: str, rest: str, key: str) -> None:
    """Raise UsageError if `rest`, a file without our part, has this key or is JSON.

    In doubt the file is refused: a word in a heredoc counts as a key.
    """
    if rest.lstrip().startswith("{"):
        raise UsageError(f"{path} is JSON, which has no place for comments", hint="edit it by hand")
    if has_key(rest, key):
        raise UsageError(f"{path} has a '{key}' already", hint="remove that one first")


def has_key(text: str, key: str) -> bool:
    """Return whether a text has a key outside comments and strings; a quoted key counts."""
    return not {key, f'"{key}"'}.isdisjoint(_TOKENS.findall(text))


def find_labels(text: str, key: str) -> set[str]:
    """Return the labels of all blocks of a kind: `key "LABEL" {}`, or the keys below it in JSON."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)[key]
        except (ValueError, KeyError, TypeError):
            return set()
        return set(found) if isinstance(found, dict) else set()
    words = [word.strip('"') for word in _TOKENS.findall(text) if word[0] not in "#/"]
    return {label for word, label in itertools.pairwise(words) if word == key}


def parse_toml(path: str, text: str) -> dict[str, Any]:
    """Return what a file says; UsageError with its path if it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="mend it first") from None


def read_toml(text: str) -> dict[str, Any] | None:
    """Return what a text says; None if it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
