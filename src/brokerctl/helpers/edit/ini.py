"""Keys of a section of somebody else's INI file, as Python's configparser reads it. Pure text.

A section can't stand twice in a file. So our keys go into the existing section, right below its
header, or a new section is added at the end. Each result is parsed, as a check, before it is used.

`pip config set` drops all comments, and so our marks. Then a key counts as ours by its value, if a
file exists that only a set-up makes and the original file had no such key.
"""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.errors import UsageError
from brokerctl.helpers.edit.blocks import Form, has_block, put_block, take_block, without_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.helpers.edit import SetupFile

_Sections = dict[str, dict[str, str]]


class _Parser(configparser.RawConfigParser):
    """Spells all keys with hyphens: to pip, hyphen and underscore are the same."""

    def optionxform(self, optionstr: str) -> str:
        """Return the spelling with hyphens."""
        return _key(optionstr)


class Keys(NamedTuple):
    """Our keys in one section; a value `*X` matches every value that ends with X."""

    name: str  # the tool's
    section: str
    values: dict[str, str]

    def put(self, place: SetupFile, text: str) -> str:
        """Return the text with these keys; UsageError where one of them has another value."""
        path = place.path
        if self._is_unmarked(place, text):
            return text
        base = without_block(text, self.name, self._form)
        found = _parse(base, path)
        has = found.get(self.section)
        missing = {key: value for key, value in self.values.items() if key not in (has or {})}
        for key, value in self.values.items():
            if has and has.get(key, value) != value:
                raise UsageError(
                    f"{path} has another '{key}' in [{self.section}]",
                    hint=f"take that '{key}' out first",
                )
        wanted = {**found, self.section: {**(has or {}), **missing}}
        for candidate in self._candidates(base, missing, has_section=has is not None):
            if _try(candidate, path) == wanted:
                is_same = has_block(text, self.name) and _try(text, path) == wanted
                return text if is_same else candidate
        lines = " and ".join(f"'{key} = {value}'" for key, value in missing.items())
        raise UsageError(f"can't change [{self.section}] of {path}", hint=f"write {lines} into it")

    def take(self, place: SetupFile, text: str) -> str | None:
        """Return the text without our keys, as it was before; None if they are not in it."""
        if not has_block(text, self.name):
            return self._taken_by_value(place, text) if self._is_unmarked(place, text) else None
        taken = take_block(text, self.name, self._form)
        return None if taken is None else self._checked(place.path, text, taken)

    def _is_unmarked(self, place: SetupFile, text: str) -> bool:
        """Return whether our keys are in the text without our marks."""
        if not place.is_named or has_block(text, self.name):
            return False
        has = (_try(text, place.path) or {}).get(self.section, {})
        return all(_is_like(has.get(key), value) for key, value in self.values.items())

    def _taken_by_value(self, place: SetupFile, text: str) -> str:
        before = _try(place.original, place.path) or {}
        has = before.get(self.section)
        theirs = {key for key in self.values if key in (has or {})}
        rows = text.split("\n")
        gone, header, section = set(), None, ""
        for at, row in enumerate(rows):
            if row.startswith("["):
                section = row.strip()[1:-1]
                header = at if section == self.section else header
            elif (
                section == self.section and self._is_key(row) and _key(_split(row)[0]) not in theirs
            ):
                gone.add(at)
        rest = [row for at, row in enumerate(rows) if at not in gone]
        after = "\n".join(rest)
        if (
            has is None
            and header is not None
            and not (_try(after, place.path) or {}).get(self.section)
        ):
            after = "\n".join([*rest[:header], *rest[header + 1 :]])
        return self._checked(place.path, text, after) if after.strip() else ""

    def _checked(self, path: str, text: str, taken: str) -> str:
        """Return `taken`; UsageError if anything but our keys differs between it and `text`."""
        before, after = _try(text, path), _try(taken, path)
        if before is not None and self._others(before) != self._others(after):
            raise UsageError(f"can't take brokerctl out of {path}", hint="do it by hand")
        return taken

    def _others(self, found: _Sections | None) -> _Sections | None:
        if found is None:
            return None
        has = found.get(self.section, {})
        left = {key: value for key, value in has.items() if key not in self.values}
        others = {name: keys for name, keys in found.items() if name != self.section}
        return {**others, self.section: left} if left else others

    @property
    def _form(self) -> Form:
        header = f"[{self.section}]"
        return Form(lambda rows, at: self._is_key(rows[at]), lambda row: row == header)

    def _is_key(self, row: str) -> bool:
        key, value = _split(row)
        return _key(key) in self.values and _is_like(value, self.values[_key(key)])

    def _candidates(
        self, base: str, missing: dict[str, str], *, has_section: bool
    ) -> Iterator[str]:
        pairs = [f"{key} = {value}" for key, value in missing.items()]
        if not has_section or not pairs:
            head = [] if has_section else [f"[{self.section}]"]
            yield put_block(base, self.name, [*head, *pairs], self._form)
            return
        end = 0
        for row in base.split("\n"):
            end += len(row) + 1
            if not row.strip().startswith(f"[{self.section}]"):
                continue
            if end > len(base):
                yield put_block(base, self.name, pairs, self._form)
                continue
            indent = _indent(base[end:])
            block = put_block("", self.name, [indent + pair for pair in pairs], self._form)
            yield base[:end] + block + base[end:]


def _key(text: str) -> str:
    return text.lower().replace("_", "-")


def _split(row: str) -> tuple[str, str]:
    """Return a row's key and value."""
    key, _, value = (
        row.replace(":", "=", 1).partition("=") if "=" not in row else row.partition("=")
    )
    return key.strip(), value.strip()


def _is_like(value: str | None, wanted: str) -> bool:
    if value is None or wanted[:1] != "*":
        return value == wanted
    return value.endswith(wanted[1:])


def _indent(text: str) -> str:
    """Return the indent for our key: a deeper row below it would be read as part of its value."""
    for row in text.split("\n"):
        if row.strip() and row.strip()[0] not in "#;":
            return row[: len(row) - len(row.lstrip())]
    return ""


def _parse(text: str, path: str) -> _Sections:
    found = _try(text, path)
    if found is None:
        raise UsageError(f"{path} can't be read as what it is", hint="mend it first")
    return found


def _try(text: str, path: str) -> _Sections | None:
    """Return what a file says, keys spelled with hyphens; None if it can't be parsed."""
    parser = _Parser(default_section="\0")
    try:
        parser.read_string(text, path)
    except configparser.Error:
        return None
    return {section: dict(parser.items(section)) for section in parser.sections()}
