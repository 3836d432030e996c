"""Names, envelopes and payloads: what holds for every input."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl import jsonlite
from brokerctl.errors import DamagedError, StoreError, UsageError
from brokerctl.model import GrantKey, Token, TokenKey, Value
from brokerctl.secret import Secret
from brokerctl.store import codec
from brokerctl.store.entry import (
    GRANT,
    INTENT,
    OUTCOME,
    QUEUE,
    TOKEN,
    FirstFormat,
    grant_name,
    netstring,
    netstring_list,
    open_entry,
    plain_name,
    seal,
    token_name,
)
from brokerctl.store.token_codec import parse_current
from brokerctl.store.values import Failure, Grant, Intent, Queue, Queued, Slot
from tests.store_room import RING

NAME_KEY = bytes(range(32))
# Few letters, and those that netstrings are made of: collisions would be found soon.
small = st.text("a1:,-", max_size=4)
maybe = st.none() | small
lists = st.lists(small, max_size=3).map(tuple)
text = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.floats(0, 1e12)
counts = st.integers(0, 2**63)
numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
# What a later version could write, by names that this one has not.
unknown = st.none() | st.dictionaries(text.map("later ".__add__), anything, min_size=1).map(
    lambda members: jsonlite.dumps(members, sort=True)
)
# Of a key an empty one is none: see `token_codec`.
filled = st.none() | st.dictionaries(
    text.map("later ".__add__), anything.filter(lambda item: item not in (None, [])), min_size=1
).map(lambda members: jsonlite.dumps(members, sort=True))
hidden = unknown.map(lambda members: None if members is None else Secret(members))
narrowing = {
    "actor": maybe,
    "scopes": lists,
    "resource": lists,
    "audience": lists,
    "details": maybe,
    "extra": maybe,
    "thumbprint": maybe,
    "unknown": filled,
}
grant_keys = st.builds(
    GrantKey, issuer=small, client_id=small, subject=maybe, job=maybe, source=maybe, **narrowing
)
token_keys = st.builds(TokenKey, grant=grant_keys, **narrowing)
secrets = text.map(Secret)
tokens = st.builds(
    Token,
    value=secrets,
    fingerprint=text,
    token_type=text,
    scopes=lists,
    issued_at=times,
    expires_at=st.none() | times,
    generation=counts,
    status=text,
    session=maybe,
    size=st.none() | counts,
    issued_type=maybe,
    act=maybe,
    details=maybe,
    claims=maybe,
    unknown=hidden,
)
values = {
    GRANT: st.builds(
        Grant,
        key=grant_keys,
        profile=text,
        flow=text,
        generation=counts,
        obtained_at=times,
        refresh_token=st.none() | secrets,
        scopes=lists,
        sub=maybe,
        dead_why=maybe,
        ends_at=st.none() | times,
        authenticated_at=st.none() | times,
        acr=maybe,
        id_token=st.none() | secrets,
        dpop_key=st.none() | secrets,
        registration=st.none() | secrets,
        unknown=hidden,
    ),
    TOKEN: st.builds(
        Slot,
        key=token_keys,
        profile=text,
        current=st.none() | tokens,
        superseded=st.lists(tokens, max_size=2).map(tuple),
        unknown=hidden,
    ),
    INTENT: st.builds(
        Intent,
        kind=text,
        generation=counts,
        at=times,
        fingerprint=maybe,
        key=st.none() | grant_keys,
        profile=text,
        unknown=hidden,
    ),
    OUTCOME: st.builds(
        Failure,
        attempt=counts,
        serial=counts,
        at=times,
        retry_at=times,
        exit_code=st.integers(0, 9),
        name=text,
        message=text,
        hint=maybe,
        unknown=hidden,
    ),
    QUEUE: st.builds(
        Queue,
        key=grant_keys,
        profile=text,
        items=st.lists(
            st.builds(
                Queued,
                value=secrets,
                fingerprint=text,
                token_type_hint=text,
                since=times,
                expires_at=st.none() | times,
                size=st.none() | counts,
                unknown=hidden,
            ),
            max_size=2,
        ).map(tuple),
        unknown=hidden,
    ),
}


def normal(key: GrantKey | TokenKey) -> tuple[object, ...]:
    """Return what a name stands for: lists are sets."""
    fields = key.as_dict()
    fields.pop("grant", None)
    return tuple(
        (name, tuple(sorted(set(value))) if isinstance(value, tuple) else value)
        for name, value in fields.items()
    )


@given(grant_keys, grant_keys)
def test_grants_have_one_name_where_their_inputs_are_one(first: GrantKey, second: GrantKey) -> None:
    """Injective: `-`, empty, and every way to cut the same text are told apart."""
    is_same = grant_name(NAME_KEY, first) == grant_name(NAME_KEY, second)
    assert is_same is (normal(first) == normal(second))


@given(token_keys, token_keys)
def test_slots_have_one_name_where_their_inputs_are_one(first: TokenKey, second: TokenKey) -> None:
    """Of a slot, the name of its grant's folder is part."""
    same_slot = token_name(NAME_KEY, first) == token_name(NAME_KEY, second)
    same_grant = grant_name(NAME_KEY, first.grant) == grant_name(NAME_KEY, second.grant)
    is_one = (normal(first), normal(first.grant)) == (normal(second), normal(second.grant))
    assert (same_slot and same_grant) is is_one


@given(grant_keys, st.sampled_from(sorted(set(GrantKey(issuer="", client_id="").as_dict()))))
def test_every_input_changes_the_name(key: GrantKey, field: str) -> None:
    """A field that is not hashed would serve one grant's token for another."""
    value = getattr(key, field)
    new = '{"new":1}' if field == "unknown" else "new"
    changed = key.replace(**{field: (*value, new) if isinstance(value, tuple) else new})
    assert grant_name(NAME_KEY, key) != grant_name(NAME_KEY, changed)


@given(grant_keys)
def test_kinds_and_keys_have_names_of_their_own(key: GrantKey) -> None:
    """A slot never has its grant's name, and another ring other names."""
    slot = TokenKey(grant=key, **{field: getattr(key, field) for field in narrowing})
    assert grant_name(NAME_KEY, key) != token_name(NAME_KEY, slot)
    assert grant_name(NAME_KEY, key) != grant_name(bytes(32), key)


@given(st.lists(maybe, max_size=4), st.lists(maybe, max_size=4))
def test_plain_names_are_injective(first: list[str | None], second: list[str | None]) -> None:
    """As the names of plans, secrets and sessions are."""
    same = plain_name(NAME_KEY, "plan", *first) == plain_name(NAME_KEY, "plan", *second)
    assert same is (first == second)


def test_netstrings_are_written_as_the_contract_says() -> None:
    """Absent is `-`, empty is `0:,`, a list is sorted and unique, lengths count bytes."""
    assert (netstring(None), netstring(""), netstring("é")) == (b"-", b"0:,", b"2:\xc3\xa9,")
    assert netstring_list(("b", "a", "b")) == b"8:1:a,1:b,,"
    assert netstring_list(()) == b"0:,"


def test_a_grants_name_is_the_hash_of_the_contracts_order() -> None:
    """Computed here by hand once: a changed order would lose every grant in the field."""
    from hashlib import blake2b  # noqa: PLC0415 - the one test that needs it

    key = GrantKey(issuer="i", client_id="c", subject="s", scopes=("b", "a"), extra="{}")
    data = b"11:brokerctl/1,5:grant,1:i,1:c,1:s,--8:1:a,1:b,,0:,0:,-2:{},-"
    expected = blake2b(data, digest_size=32, key=NAME_KEY, person=b"brokerctl/1").hexdigest()
    assert grant_name(NAME_KEY, key) == expected


def test_what_is_not_text_is_a_usage_error() -> None:
    """A lone surrogate comes from a command line that is not in the terminal's encoding."""
    with pytest.raises(UsageError, match=r"'\\udcff' is not text"):
        plain_name(NAME_KEY, "plan", "\udcff")


@given(st.integers(1, 9), st.text("0123456789abcdef/", max_size=10), st.binary(max_size=300))
def test_an_entry_opens_as_what_it_was_sealed(kind: int, name: str, payload: bytes) -> None:
    """And as nothing else: no other kind, no other name."""
    sealed = seal(RING, kind, name, payload)
    assert open_entry(RING, kind, name, sealed) == payload
    for wrong_kind, wrong_name in ((kind % 9 + 1, name), (kind, f"{name}0")):
        with pytest.raises(DamagedError):
            open_entry(RING, wrong_kind, wrong_name, sealed)


@given(st.binary(max_size=40))
def test_every_flipped_bit_is_refused(payload: bytes) -> None:
    """Of header, ciphertext and tag, each by itself."""
    sealed = seal(RING, GRANT, "n", payload)
    for position in range(len(sealed) * 8):
        at, bit = divmod(position, 8)
        flipped = sealed[:at] + bytes((sealed[at] ^ (1 << bit),)) + sealed[at + 1 :]
        with pytest.raises(StoreError):  # the parent: a newer format or key is refused too
            open_entry(RING, GRANT, "n", flipped)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_errors(data: bytes) -> None:
    """Whatever lies on the disk is an entry or a StoreError."""
    with pytest.raises(StoreError):
        open_entry(RING, GRANT, "n", data)
    with pytest.raises(DamagedError):
        codec.parse(GRANT, data)


def is_later(value: object) -> bool:
    """Return whether there is a member in a value that this version does not know."""
    if isinstance(value, tuple):
        return any(map(is_later, value))
    fields = value.as_dict() if isinstance(value, Value) else {}
    return fields.get("unknown") is not None or any(map(is_later, fields.values()))


@pytest.mark.parametrize("kind", sorted(values))
@given(data=st.data())
def test_a_value_comes_back_as_it_was(kind: int, data: st.DataObject) -> None:
    """Parse of render is the same value, secrets and all."""
    value = data.draw(values[kind])
    assert codec.parse(kind, codec.render(value)) == value
    with pytest.raises(DamagedError) if is_later(value) else contextlib.nullcontext():
        codec.parse(kind, FirstFormat(codec.render(value)))
    if isinstance(value, Slot):
        assert parse_current(codec.render(value)) == value.current
