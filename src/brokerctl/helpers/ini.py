"""Keys of a section of somebody else's INI file, as Python's configparser reads it. Pure text.

A section can't be there twice, so our keys go into the one that there is, right after its name;
a section that is not there goes to the end. The result is read as a check before it is used.
"""

from __future__ import annotations

import configparser

from brokerctl.errors import UsageError
from brokerctl.helpers.blocks import has_block, put_block, take_block


class _Parser(configparser.RawConfigParser):
    """Spells a key as pip does, to which both are the same."""

    def optionxform(self, optionstr: str) -> str:
        """Return the spelling with hyphens."""
        return optionstr.lower().replace("_", "-")


def put_keys(path: str, text: str, name: str, section: str, keys: dict[str, str]) -> str:
    """Return the text with these keys; UsageError where one of them has another value."""
    base = take_block(text, name)
    base = text if base is None else base
    found = _parse(base, path)
    has = found.get(section)
    missing = {key: value for key, value in keys.items() if (has or {}).get(key) is None}
    for key in keys.keys() - missing.keys():
        if has and has[key] != keys[key]:
            raise UsageError(
                f"{path} has another '{key}' in [{section}]", hint=f"take that '{key}' out first"
            )
    wanted = {**found, section: {**(has or {}), **missing}}
    for candidate in _candidates(base, name, section, missing, has_section=has is not None):
        if _try(candidate, path) == wanted:
            is_same = has_block(text, name) and _try(text, path) == wanted
            return text if is_same else candidate
    lines = " and ".join(f"'{key} = {value}'" for key, value in missing.items())
    raise UsageError(f"can't change [{section}] of {path}", hint=f"write {lines} into it")


def _candidates(
    base: str, name: str, section: str, keys: dict[str, str], *, has_section: bool
) -> list[str]:
    pairs = [f"{key} = {value}" for key, value in keys.items()]
    if not has_section or not pairs:
        head = [] if has_section else [f"[{section}]"]
        return [put_block(base, name, [*head, *pairs])]
    found, end = [], 0
    for row in base.split("\n"):
        end += len(row) + 1
        if not row.strip().startswith(f"[{section}]"):
            continue
        if end > len(base):
            found.append(put_block(base, name, pairs))
            continue
        indent = _indent(base[end:])
        block = put_block("", name, [indent + pair for pair in pairs])
        found.append(base[:end] + block + base[end:])
    return found


def _indent(text: str) -> str:
    """Return the indent of the next key: one that is deeper than ours would continue our value."""
    for row in text.split("\n"):
        if row.strip() and row.strip()[0] not in "#;":
            return row[: len(row) - len(row.lstrip())]
    return ""


def _parse(text: str, path: str) -> dict[str, dict[str, str]]:
    found = _try(text, path)
    if found is None:
        raise UsageError(f"{path} can't be read as what it is", hint="mend it first")
    return found


def _try(text: str, path: str) -> dict[str, dict[str, str]] | None:
    """Return what a file says, keys spelled with hyphens; None where it says nothing sensible."""
    parser = _Parser(default_section="\0")
    try:
        parser.read_string(text, path)
    except configparser.Error:
        return None
    return {section: dict(parser.items(section)) for section in parser.sections()}
