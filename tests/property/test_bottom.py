"""The lowest rooms hold for every input: JSON, sealing, values, secrets, the hot grammar."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl import get, jsonlite, sodium
from brokerctl.model import GrantKey
from brokerctl.secret import Secret

KEY = bytes(range(32))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_json_round_trip(value: object) -> None:
    """What is rendered parses to the same, by us and by the standard library."""
    text = jsonlite.dumps(value, sort=True)
    assert text == json.dumps(value, separators=(",", ":"), sort_keys=True)
    assert jsonlite.loads(text.encode()) == value


@given(st.binary(max_size=200))
def test_json_raises_value_error_alone(data: bytes) -> None:
    """Whatever comes in, the parser answers or raises ValueError."""
    try:
        mine = jsonlite.loads(data)
    except ValueError:
        return
    assert mine == json.loads(data)


# From 3.12 on the scanner takes it, and what walks through it in Python does not.
DEEP = "[" * 2000 + '"\\u0041"' + "]" * 2000


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "1e999", '{"a":1,"a":2}', '"\\ud800"', "[" * 99999, DEEP, "9" * 5000, "[1"],
)
def test_json_refuses(text: str) -> None:
    """What json.loads would let through is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - ValueError is the whole contract
        jsonlite.loads(text.encode())


@given(st.binary(max_size=300), st.binary(max_size=50), st.binary(min_size=24, max_size=24))
def test_seal_round_trip_and_public_path(plain: bytes, associated: bytes, nonce: bytes) -> None:
    """Sealing opens again, and is byte for byte what PyNaCl's public path makes."""
    from nacl import bindings  # noqa: PLC0415 - the public path beside ours

    sealed = sodium.seal(KEY, nonce, plain, associated)
    assert sodium.open_sealed(KEY, nonce, sealed, associated) == plain
    public = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, associated, nonce, KEY)
    assert sealed == public


@given(st.binary(min_size=1, max_size=60), st.data())
def test_flipped_bit_is_refused(plain: bytes, data: st.DataObject) -> None:
    """No altered byte of a sealed text opens."""
    sealed = bytearray(sodium.seal(KEY, bytes(24), plain, b"name"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(sodium.OpenError):
        sodium.open_sealed(KEY, bytes(24), bytes(sealed), b"name")


@given(st.binary(max_size=300))
def test_keyed_hash_is_blake2b(data: bytes) -> None:
    """The keyed hash is the standard library's BLAKE2b with our personalisation."""
    from hashlib import blake2b  # noqa: PLC0415 - the public path beside ours

    expected = blake2b(data, digest_size=32, key=KEY, person=b"brokerctl/1").digest()
    assert sodium.keyed_hash(KEY, data) == expected


@given(st.binary(max_size=300))
def test_sha256_is_everybody_s(data: bytes) -> None:
    """What people compare with their own tools is the standard library's."""
    from hashlib import sha256  # noqa: PLC0415 - the public path beside ours

    assert sodium.sha256(data) == sha256(data).digest()


@given(st.text())
def test_secret_shows_nothing(text: str) -> None:
    """A secret prints as stars in every way that text is made, and can't be pickled or hashed."""
    secret = Secret(text)
    shown = f"{secret} {secret!r} {secret!s:>10} {[secret]} {GrantKey(issuer='i', client_id='c')}"
    assert shown.count("****") == 4
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)
    assert secret == Secret(text)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_hot_grammar_never_raises(words: list[str]) -> None:
    """Any command line is understood or left to the full program."""
    options = get.parse_get(words, None)
    assert options is None or options.form in {"token", "header", "json", "env", "netrc", "curl"}


def test_values_are_values() -> None:
    """Values compare, copy and refuse to change."""
    key = GrantKey(issuer="i", client_id="c")
    assert key == GrantKey(issuer="i", client_id="c")
    assert key.replace(subject="s").subject == "s"
    assert len({key, key.replace()}) == 1
    with pytest.raises(AttributeError):
        key.issuer = "other"  # type: ignore[misc]  # the refusal is what is tested
    with pytest.raises(TypeError):
        GrantKey(issuer="i")  # type: ignore[call-arg]  # as above
