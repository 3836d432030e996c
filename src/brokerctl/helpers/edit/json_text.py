"""Members of somebody else's JSON file that are ours: put in, found, taken out. Pure text.

JSON has no comments that could mark our members, so they are known by their value. The white space
shows what was there before us, which a plain parser and renderer would lose:

* an object that we made begins with white space; an empty one that was there before does not;
* if the text was nothing but white space, that stands after what we wrote.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

_SPACE = " \t\r\n"


class Member(NamedTuple):
    """One member of an object: key, value, and the positions of both."""

    key: str
    value: Any
    start: int
    value_start: int
    end: int


def put_members(text: str, section: str, names: Iterable[str], value: str) -> str:
    """Return the text in which exactly these names of the section have this value.

    ValueError if the text is not JSON, or a name has another value already.
    """
    names = sorted(set(names))
    taken = take_members(text, section, value)
    if taken is not None and value_names(text, section, value) == names:
        return text
    bare = text if taken is None else taken
    return _put_all(bare, section, dict.fromkeys(names, json.dumps(value)))


def add_members(text: str, section: str, values: Mapping[str, str]) -> str:
    """Return the text with these members added to the section; the values are rendered JSON.

    ValueError as for `put_members`.
    """
    return _put_all(text, section, values) if values else text


def take_members(text: str, section: str, value: str) -> str | None:
    """Return the text without the section's members of this value; None if there are none.

    A section that is empty then is removed, if we made it. ValueError if the text is not JSON.
    """
    if json.dumps(value) not in text:
        return None
    members, found = _find(text, section)
    inner = [] if found is None else _read_section(text, found)
    ours = [one for one in inner if one.value == value]
    if found is None or not ours:
        return None
    if len(ours) < len(inner):
        return _cut_some(text, inner, lambda one: one.value == value)
    if text[found.value_start + 1] not in _SPACE:
        return text[: found.value_start + 1] + text[ours[-1].end :]
    if text.startswith(_opening(section)) and text[found.end :].startswith("}\n"):
        return text[found.end + 2 :]
    return _cut_section(text, members, found)


def value_names(text: str, section: str, value: str) -> list[str]:
    """Return the names of the section's members that have this value."""
    return sorted(one.key for one in find_members(text, section) if one.value == value)


def find_value(text: str, name: str) -> Any:  # noqa: ANN401 - JSON has any type
    """Return the value of this name, None if it is missing; ValueError if it is not JSON."""
    _, found = _find(text, name)
    return None if found is None else found.value


def find_members(text: str, section: str) -> list[Member]:
    """Return the section's members, [] if it is missing or null; ValueError if not JSON."""
    _, found = _find(text, section)
    return [] if found is None or found.value is None else _read_section(text, found)


def cut_members(text: str, section: str, starts: Container[int]) -> str:
    """Return the text without the section's members that begin at these positions.

    Everything else stays byte for byte; a section that is empty then stays as `{}`.
    """
    _, found = _find(text, section)
    inner = find_members(text, section)
    gone = [one for one in inner if one.start in starts]
    if found is None or not gone:
        return text
    if len(gone) == len(inner):
        return text[: found.value_start + 1] + text[found.end - 1 :]
    return _cut_some(text, inner, lambda one: one.start in starts)


def _put_all(bare: str, section: str, values: Mapping[str, str]) -> str:
    """Return the text with these members at the end of the section, which is made if missing."""
    entries = [f"{json.dumps(name)}: {value}" for name, value in values.items()]
    if not bare.strip(_SPACE):
        return _opening(section) + ",\n\t".join(entries) + f"\n}}}}\n{bare}"
    members, found = _find(bare, section)
    if found is None:
        return _put_section(bare, members, section, entries)
    inner = _read_section(bare, found)
    for one in inner:
        if one.key in values:
            raise ValueError(f"'{section}' has another value for '{one.key}'")
    if not inner:
        at = found.value_start + 1
        return bare[:at] + ", ".join(entries) + bare[at:]
    gap = _gap(bare, inner, found.value_start)
    return _insert(bare, inner[-1].end, "".join(f",{gap}{entry}" for entry in entries))


def _opening(section: str) -> str:
    return f"{{{json.dumps(section)}: {{\n\t"


def _put_section(text: str, members: list[Member], section: str, entries: list[str]) -> str:
    """Return the text with a new section after the last member, spaced like that member."""
    opened = text.index("{")
    gap = _gap(text, members, opened) if members else "\n\t"
    inner = gap + gap.rpartition("\n")[2] if "\n" in gap else " "
    close = gap if "\n" in gap else " "
    body = f",{inner}".join(entries)
    made = f"{gap}{json.dumps(section)}: {{{inner}{body}{close}}}"
    if members:
        return _insert(text, members[-1].end, f",{made}")
    return _insert(text, opened + 1, f"{made}\n")


def _cut_section(text: str, members: list[Member], found: Member) -> str:
    at = members.index(found)
    if at:
        return text[: members[at - 1].end] + text[found.end :]
    if len(members) > 1:
        return text[: found.start] + text[members[1].start :]
    return text[: text.index("{") + 1] + text[found.end :].removeprefix("\n")


def _cut_some(text: str, inner: list[Member], is_meant: Callable[[Member], bool]) -> str:
    """Return the text without some members, each removed with the comma before it, if any."""
    first = next(at for at, one in enumerate(inner) if not is_meant(one))
    pieces, at = [text[: inner[0].start]], inner[first].start
    for before, one in pairwise(inner[first:]):
        if is_meant(one):
            pieces.append(text[at : before.end])
            at = one.end
    return "".join(pieces) + text[at:]


def _gap(text: str, members: list[Member], opened: int) -> str:
    """Return what stands between the last member and the comma, or the brace, before it."""
    before = _skip(text, members[-2].end) if len(members) > 1 else opened
    return text[before + 1 : members[-1].start]


def _insert(text: str, at: int, more: str) -> str:
    return text[:at] + more + text[at:]


def _find(text: str, section: str) -> tuple[list[Member], Member | None]:
    """Return the text's members, and the one of this name in any case, as Go reads JSON."""
    start = _skip(text, 0)
    members, end = _read_object(text, start)
    if _skip(text, end) != len(text):
        raise ValueError("it is not JSON: there is more behind its end")
    found = [one for one in members if one.key.lower() == section.lower()]
    if len(found) > 1:
        raise ValueError(f"'{section}' is in it twice")
    return members, found[0] if found else None


def _read_section(text: str, found: Member) -> list[Member]:
    if not isinstance(found.value, dict):
        raise ValueError(f"'{found.key}' is not an object")  # noqa: TRY004 - of the text, no type
    return _read_object(text, found.value_start)[0]


def _read_object(text: str, at: int) -> tuple[list[Member], int]:
    """Return the members of the object that begins here, and where it ends."""
    if text[at : at + 1] != "{":
        raise ValueError("it is not JSON: an object is missing")
    members: list[Member] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return members, at + 1
    while True:
        key, colon = _read_value(text, at)
        colon = _skip(text, colon)
        if not isinstance(key, str) or text[colon : colon + 1] != ":":
            raise ValueError("it is not JSON: a key is missing")
        value_start = _skip(text, colon + 1)
        value, end = _read_value(text, value_start)
        members.append(Member(key, value, at, value_start, end))
        comma = _skip(text, end)
        if text[comma : comma + 1] == "}":
            return members, comma + 1
        if text[comma : comma + 1] != ",":
            raise ValueError("it is not JSON: a comma is missing")
        at = _skip(text, comma + 1)


def _read_value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: line {error.lineno}") from error
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it is not JSON: {name} is no value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)  # Python's default accepts NaN


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
