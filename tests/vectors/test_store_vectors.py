"""Every committed entry opens, or is refused for the one fault that it has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl import jsonlite
from brokerctl.errors import DamagedError, StoreError
from brokerctl.store import codec
from brokerctl.store.entry import KIND_NAMES, NewerKeyError, grant_name, open_entry
from tests.vectors.make_store_vectors import (
    CURRENT,
    FOLDER,
    FORMATS,
    GRANT,
    KEYS,
    PAYLOADS,
    TOKEN,
    members_of,
    render,
    vectors,
    with_member,
    with_unknown,
)

if TYPE_CHECKING:
    from brokerctl.model import Value

EACH = [(magic, name) for magic in FORMATS for name in sorted(vectors(magic))]
KNOWN = ("expect", "kind", "name", "comment")
SAYS = {
    "truncated": "was cut short",
    "wrong key": "was sealed by another key (",
    "wrong kind": "is an entry of another kind",
    "corrupt": ("was altered, swapped or sealed by another key", "is not an entry"),
    "payload": "holds what this brokerctl can't read",
}


class Ring:
    """The keys of the vectors."""

    seal_id = CURRENT

    def seal_key(self, key_id: int) -> bytes:
        """Return a key, as the real ring does."""
        if key_id not in KEYS:
            raise DamagedError("no such key")
        return KEYS[key_id]


def read_vector(data: bytes) -> tuple[dict[str, str], bytes]:
    """Split a file into header and entry; a header key that nobody knows is an error."""
    head, _, entry = data.partition(b"\n\n")
    header = dict(line.split(": ", 1) for line in head.decode().split("\n"))
    assert tuple(header) == KNOWN, "an unknown or missing header key"
    return header, entry


def outcome(header: dict[str, str], entry: bytes) -> str:
    """Open the entry as the store does, and say in the vectors' words what came of it."""
    kind = next(number for number, text in KIND_NAMES.items() if text == header["kind"])
    try:
        codec.parse(kind, open_entry(Ring(), kind, header["name"], entry))
    except DamagedError as error:
        for expect, texts in SAYS.items():
            if any(
                text in error.message for text in ((texts,) if isinstance(texts, str) else texts)
            ):
                return expect
        return error.message
    except NewerKeyError:
        return "newer key"
    except StoreError as error:
        return "newer format" if "has format BKR9" in error.message else error.message
    return "success"


def read_committed(magic: bytes, name: str) -> bytes:
    """Return a vector's file."""
    with open(os.path.join(FOLDER, magic.decode(), name), "rb") as file:
        return file.read()


@pytest.mark.parametrize(("magic", "name"), EACH)
def test_a_vector_ends_as_its_header_says(magic: bytes, name: str) -> None:
    """One fault a file, read from the committed bytes."""
    header, entry = read_vector(read_committed(magic, name))
    assert outcome(header, entry) == header["expect"]


@pytest.mark.parametrize("magic", FORMATS)
def test_what_is_committed_is_what_the_script_makes(magic: bytes) -> None:
    """At least a hundred, none missing, none edited: a change of the format is seen here."""
    found = {
        name: read_committed(magic, name)
        for name in os.listdir(os.path.join(FOLDER, magic.decode()))
    }
    assert len(found) >= 100
    assert found == {name: render(vector) for name, vector in vectors(magic).items()}


def contains(whole: object, part: object) -> bool:
    """Return whether every member of `part`, however deep, is in `whole` with its value."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            name in whole and contains(whole[name], value) for name, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and [*map(contains, whole, part)] == [True] * len(part)
    return type(whole) is type(part) and repr(whole) == repr(part)  # repr: -0.0 is not 0.0


@pytest.mark.parametrize(
    ("magic", "name"), [one for one in EACH if one[1].startswith(("good-", "unknown-", "new-"))]
)
def test_every_member_comes_back_as_it_was(magic: bytes, name: str) -> None:
    """Known or not, at every depth: what is read and written again has lost nothing."""
    header, entry = read_vector(read_committed(magic, name))
    kind = next(number for number, text in KIND_NAMES.items() if text == header["kind"])
    payload = open_entry(Ring(), kind, header["name"], entry)
    value = codec.parse(kind, payload)
    if isinstance(value, bytes):
        assert value == payload
        return
    again = codec.render(value)
    assert contains(jsonlite.loads(again), jsonlite.loads(payload))
    assert codec.parse(kind, again) == value


@pytest.mark.parametrize("where", with_unknown())
def test_an_unknown_member_is_shown_to_nobody(where: str) -> None:
    """It may be a secret: printing the value that it is in shows nothing but of a key."""
    kind, payload = with_unknown()[where]
    shown = repr(codec.parse(kind, payload))
    assert ("of this name too" in shown) == ("key" in where or where == "slot-grant")


def test_a_member_of_a_key_is_part_of_its_name() -> None:
    """A later version's grant is another grant, under the name that this version gives it too."""
    bare, payload = with_unknown()["grant"][1], with_unknown()["grant-key"][1]
    key, later = codec.parse(1, bare).key, codec.parse(1, payload).key
    names = {grant_name(bytes(32), one) for one in (key, later)}
    assert len(names) == 2
    again = codec.parse(1, codec.render(codec.parse(1, payload))).key
    assert grant_name(bytes(32), again) in names
    assert hash(again) == hash(later)


@pytest.mark.parametrize("nothing", [b"null", b"[]"])
def test_an_empty_member_of_a_key_makes_no_other_key(nothing: bytes) -> None:
    """A later version writes what it has not filled too: its grants are this version's."""
    payload = PAYLOADS[GRANT]
    later = with_member(payload, b'"key"', b'"later":%b' % nothing)
    assert codec.parse(GRANT, later).key == codec.parse(GRANT, payload).key
    slot = with_member(PAYLOADS[TOKEN], b'"grant"', b'"later":%b' % nothing)
    slot = with_member(slot, b'"key"', b'"more":%b' % nothing)
    assert codec.parse(TOKEN, slot).key == codec.parse(TOKEN, PAYLOADS[TOKEN]).key


@pytest.mark.parametrize("around", [b'"later":%b', b'"later":{"a":%b}'])
def test_what_is_read_can_be_written_from_anywhere(around: bytes) -> None:
    """However deep the calls are then: a commit must not fail after the issuer's answer."""

    def write(value: Value, calls: int) -> bytes:
        return codec.render(value) if calls == 0 else write(value, calls - 1)

    def nested(depth: int) -> bytes:
        return with_member(PAYLOADS[GRANT], b"{", around % (b"[" * depth + b"]" * depth))

    value = codec.parse(GRANT, nested(60))
    assert codec.parse(GRANT, write(value, 400)) == value
    for depth in (100, 500, 900):
        with pytest.raises(DamagedError):
            codec.parse(GRANT, nested(depth))


def test_what_nobody_has_filled_yet_is_empty() -> None:
    """The members that BKR2 is ready for are there from the first day."""
    empty = jsonlite.loads(codec.render(codec.parse(1, with_unknown()["grant"][1])))
    new = jsonlite.loads(b"{%b}" % members_of("grant"))
    assert {name: empty[name] for name in new} == dict.fromkeys(new)


def test_an_unknown_header_key_aborts() -> None:
    """A misspelt header must not make a vector pass."""
    with pytest.raises(AssertionError, match="unknown"):
        read_vector(b"expct: success\nkind: grant\nname: n\ncomment: c\n\nBKR2")
