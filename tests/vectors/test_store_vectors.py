"""Every committed entry opens, or is refused for the one fault that it has."""

from __future__ import annotations

import os

import pytest

from brokerctl.errors import DamagedError, StoreError
from brokerctl.store import codec
from brokerctl.store.entry import KIND_NAMES, NewerKeyError, open_entry
from tests.vectors.make_store_vectors import CURRENT, FOLDER, KEYS, render, vectors

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
        return "newer format" if "has format BKR2" in error.message else error.message
    return "success"


@pytest.mark.parametrize("name", sorted(vectors()))
def test_a_vector_ends_as_its_header_says(name: str) -> None:
    """One fault a file, read from the committed bytes."""
    with open(os.path.join(FOLDER, name), "rb") as file:
        header, entry = read_vector(file.read())
    assert outcome(header, entry) == header["expect"]


def test_what_is_committed_is_what_the_script_makes() -> None:
    """At least a hundred, none missing, none edited: a change of the format is seen here."""
    found = {}
    for name in os.listdir(FOLDER):
        with open(os.path.join(FOLDER, name), "rb") as file:
            found[name] = file.read()
    assert len(found) >= 100
    assert found == {name: render(vector) for name, vector in vectors().items()}


def test_an_unknown_header_key_aborts() -> None:
    """A misspelt header must not make a vector pass."""
    with pytest.raises(AssertionError, match="unknown"):
        read_vector(b"expct: success\nkind: grant\nname: n\ncomment: c\n\nBKR1")
