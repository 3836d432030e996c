"""As much of HCL as a set-up needs: whether a file says something already. Pure text."""

from __future__ import annotations

import itertools
import json
import re

from brokerctl.errors import UsageError

_TOKENS = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|//[^\n]*|/\*.*?\*/|[A-Za-z_][\w-]*', re.DOTALL)


def refuse_other(path: str, rest: str, key: str) -> None:
    """Raise UsageError where a file has this key, beside our part of it, or is JSON.

    In doubt it is refused: a word in a heredoc counts as a key.
    """
    if rest.lstrip().startswith("{"):
        raise UsageError(f"{path} is JSON, which has no place for comments", hint="edit it by hand")
    if has_key(rest, key):
        raise UsageError(f"{path} has a '{key}' already", hint="remove that one first")


def has_key(text: str, key: str) -> bool:
    """Say whether a key is in a text, outside comments and strings; quoted it is one too."""
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
