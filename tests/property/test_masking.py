"""What is masked, whatever the stream is cut at and however the secret is written."""

from __future__ import annotations

import base64
import itertools
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from brokerctl.session.mask import SHOWN_BYTES, STARS, Forms, Masker, forms_of

TOKEN = some.text("abcdefXYZ019-._~+/=", min_size=8, max_size=40)
FEW = some.binary(max_size=9).map(lambda data: bytes(97 + byte % 2 for byte in data))


def union(forms: tuple[bytes, ...], data: bytes) -> bytes:
    """Return the data without any byte that belongs to a form: the definition, slowly."""
    hit = bytearray(len(data))
    for form in forms:
        for at in range(len(data) - len(form) + 1):
            if data[at : at + len(form)] == form:
                hit[at : at + len(form)] = b"\1" * len(form)
    return bytes(byte for byte, is_hit in zip(data, hit, strict=True) if not is_hit)


def masked(forms: tuple[bytes, ...], pieces: list[bytes]) -> bytes:
    """Return what a stream of these pieces shows."""
    masker = Masker(forms)
    return b"".join([*map(masker.feed, pieces), masker.rest()])


@given(some.lists(FEW.filter(bool), min_size=1, max_size=4), some.lists(FEW, max_size=12))
@example([b"b", b"baa", b"abab"], [b"aba", b"b"])  # a short one's start inside a longer one's
@settings(max_examples=400)
def test_any_cut_shows_what_the_definition_says(forms: list[bytes], pieces: list[bytes]) -> None:
    """Two letters alone, so that forms overlap, repeat and begin with each other's ends."""
    known = tuple(forms)
    out = masked(known, pieces)
    assert out.replace(b"*", b"") == union(known, b"".join(pieces))


def is_within(some_bytes: bytes, others: bytes) -> bool:
    """Return whether these bytes stand among the others, in this order."""
    left = iter(others)
    return all(byte in left for byte in some_bytes)


@given(
    some.lists(FEW.filter(bool), min_size=1, max_size=3),
    some.lists(FEW.filter(bool), min_size=1, max_size=3),
    some.lists(FEW, max_size=8),
    some.lists(FEW, max_size=8),
)
@settings(max_examples=400)
def test_what_is_masked_can_change_in_mid_stream(
    first: list[bytes], then: list[bytes], before: list[bytes], after: list[bytes]
) -> None:
    """What was held back for a form that is looked for no more is shown, and no byte is lost."""
    masker, data = Masker(tuple(first)), b"".join([*before, *after])
    out = [masker.feed(piece) for piece in before]
    masker.replace(Forms(tuple(then)))
    out += [*map(masker.feed, after), masker.rest()]
    shown = b"".join(out).replace(b"*", b"")
    assert is_within(union((*first, *then), data), shown)
    assert is_within(shown, data)


@given(TOKEN, some.lists(FEW, max_size=6), some.lists(FEW, max_size=6), FEW, some.integers(1, 7))
def test_a_secret_is_masked_from_the_moment_it_is_learnt(
    token: str, before: list[bytes], after: list[bytes], old: bytes, step: int
) -> None:
    """Beside one that was masked before, the beginning of which may be held back just then."""
    forms = tuple(form for form in (b"ab" + old,) if form)
    secret = b"." + token.encode() + b"."
    masker, later = Masker(forms), secret.join([*after, b""])
    out = [masker.feed(piece) for piece in before]
    masker.replace(Forms((*forms, *forms_of(secret.decode()))))
    out += [masker.feed(later[at : at + step]) for at in range(0, len(later), step)]
    shown = b"".join([*out, masker.rest()])
    assert secret not in shown
    left = union(forms, b"".join([*before, later.replace(secret, b"*")]))
    assert shown.replace(b"*", b"") == left.replace(b"*", b"")


@given(TOKEN, some.binary(max_size=60), some.binary(max_size=60), some.integers(1, 7))
def test_every_byte_can_be_a_cut(token: str, before: bytes, after: bytes, step: int) -> None:
    """A token in binary data is starred out, however few bytes come at a time."""
    forms = forms_of(token)
    data = before + token.encode() + after
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    out = masked(forms, pieces)
    assert STARS in out
    assert token.encode() not in out


@given(TOKEN, some.binary(max_size=8), some.binary(max_size=8))
def test_each_encoding_is_masked(token: str, before: bytes, after: bytes) -> None:
    """Of the token inside what is encoded, the inner characters of base64 are gone."""
    raw = token.encode()
    shown = {
        raw.hex(),
        raw.hex().upper(),
        quote(token, safe=""),
        quote(token),
        quote_plus(token),
        quote(token, safe="").replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d"),
        json.dumps(token),
        json.dumps(token).replace("/", "\\/"),
    }
    for text in shown:
        out = masked(forms_of(token), [text.encode()])
        assert out.strip(b'"*') == b"", text
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(before + raw + after)
        out = masked(forms_of(token), [whole])
        assert STARS in out
        left = out.replace(STARS, b"")
        assert len(whole) - len(left) >= len(encode(raw).rstrip(b"=")) - 4


@given(TOKEN, some.integers(1, 39), some.integers(1, 39))
def test_a_pause_shows_the_first_bytes_and_no_more(token: str, first: int, second: int) -> None:
    """When nothing comes for a while a few bytes appear; the rest is still recognised."""
    raw = token.encode()
    masker = Masker((raw,))
    out = b""
    cuts = sorted({0, min(first, len(raw)), min(second, len(raw)), len(raw)})
    for start, end in itertools.pairwise(cuts):
        out += masker.feed(raw[start:end]) + masker.settle()
    out += masker.feed(b" end") + masker.rest()
    shown = out.partition(STARS)[0]
    assert raw.startswith(shown)
    assert len(shown) <= SHOWN_BYTES
    assert out == shown + STARS + b" end"


def test_a_prompt_is_not_held_back() -> None:
    """What can be no beginning of a secret is shown at once."""
    masker = Masker((b"ghp_secret",))
    assert masker.feed(b"Password: ") == b"Password: "
    assert not masker.is_holding


def test_binary_is_left_as_it_is() -> None:
    """A stream without a secret comes through byte by byte."""
    data = bytes(range(256)) * 40
    assert masked(forms_of("eyJhbGciOiJub25lIn0.e30."), [data[:3001], data[3001:]]) == data


@pytest.mark.parametrize("token", ["a", "abc", "é" * 5, "\udcff" * 6])
def test_short_and_strange_secrets(token: str) -> None:
    """One letter is masked as itself alone; what is no UTF-8 is masked as its bytes."""
    raw = token.encode("utf-8", "surrogateescape")
    assert masked(forms_of(token), [b"<" + raw + b">"]) == b"<" + STARS + b">"
    assert masked(forms_of(token), [b"--xyz--"]) == b"--xyz--"
