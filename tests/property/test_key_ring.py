"""The key ring's file form: whatever went in comes out, and nothing else ever does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl import jsonlite, sodium
from brokerctl.errors import DamagedError, StoreError
from brokerctl.keys import making, passphrase, pin, ring
from tests.store_room import without

WRAP_ID = "0f" * 16
KEY = bytes(range(32))


@st.composite
def rings(draw: st.DrawFn) -> ring.KeyRing:
    """Draw a ring with several generations of seal and log keys, some of them dropped."""
    made = making.new_ring()
    for kinds in draw(
        st.lists(st.sampled_from([("seal",), ("log",), ("seal", "log")]), max_size=4)
    ):
        made = making.with_new(made, *kinds)
    old = [key_id for key_id in made.seal_ids if key_id != made.seal_id]
    return without(made, "seal", tuple(draw(st.sets(st.sampled_from(old))) if old else ()))


@given(rings())
def test_parse_is_the_inverse_of_render(made: ring.KeyRing) -> None:
    """Every ring reads back as itself, in the clear and sealed."""
    assert ring.parse_ring(ring.render_ring(made)) == made
    sealed = making.seal_ring(made, WRAP_ID, KEY)
    assert ring.ring_wrap_id(sealed) == WRAP_ID
    assert ring.open_sealed_ring(sealed, KEY) == made


def test_every_flipped_bit_is_refused() -> None:
    """One changed bit anywhere in the file, header included, and it does not open."""
    sealed = making.seal_ring(making.new_ring(), WRAP_ID, KEY)
    for position in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(DamagedError):
            ring.open_sealed_ring(bytes(changed), KEY)


def test_every_cut_is_refused() -> None:
    """No prefix of the file opens, nor one with something behind it."""
    sealed = making.seal_ring(making.new_ring(), WRAP_ID, KEY)
    for end in range(len(sealed)):
        with pytest.raises(DamagedError):
            ring.open_sealed_ring(sealed[:end], KEY)
    with pytest.raises(DamagedError):
        ring.open_sealed_ring(sealed + b"\0", KEY)


@given(st.binary(min_size=32, max_size=32).filter(lambda key: key != KEY))
def test_another_key_opens_nothing(key: bytes) -> None:
    """Only the wrapping key opens the ring."""
    with pytest.raises(DamagedError):
        ring.open_sealed_ring(making.seal_ring(making.new_ring(), WRAP_ID, KEY), key)


@given(st.binary(max_size=300))
def test_garbage_is_damage_and_nothing_else(data: bytes) -> None:
    """Whatever lies in the file, the error is ours."""
    with pytest.raises(DamagedError):
        ring.parse_ring(data)
    with pytest.raises(DamagedError):
        ring.open_sealed_ring(data, KEY)
    with pytest.raises(StoreError):
        pin.parse_pin(data)


@pytest.mark.parametrize(
    "more",
    ['"id":[%s""]' % ('"a",' * 31), f'"id":"{WRAP_ID}","later":{"[" * 90}{"]" * 90}'],
)
def test_an_odd_choice_of_a_keeper_is_damage_and_nothing_else(more: str) -> None:
    """It is no sealed file: whoever edits it by hand gets our error."""
    with pytest.raises(StoreError, match="not what it should be"):
        pin.parse_pin(f'{{"version":1,"keeper":"file","details":{{}},{more}}}'.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version":2', '"version":1'),
        ('"version":2', '"version":3'),
        ('"version":2', '"version":"2"'),
        ('"version":2', '"version":true'),
        ('"current":1', '"current":2'),
        ('"current":1', '"current":true'),
        ('"current":1', '"current":"1"'),
        ('"1":"', '"01":"'),
        ('"1":"', '"0":"'),
        ('"1":"', '"4294967296":"'),
        ('"1":"', '"+1":"'),
        ('"1":"', '"1":"00'),
        ('"1":"', '"1":"z'),
        ('"seal":', '"seel":'),
        ('"keys":', '"more":1,"keys":'),
    ],
)
def test_a_ring_of_another_shape_is_refused(old: str, new: str) -> None:
    """What a later or a broken version could have written is not half understood."""
    data = ring.render_ring(making.new_ring()).decode()
    assert old in data
    changed = sealed_by_hand(data.replace(old, new, 1).encode())
    with pytest.raises(DamagedError):
        ring.open_sealed_ring(changed, KEY)


def sealed_by_hand(plain: bytes, version: int = ring.VERSION) -> bytes:
    """Seal what is no ring of this program's making."""
    head = b"BKRK" + bytes((version,)) + bytes.fromhex(WRAP_ID) + bytes(sodium.NONCE_BYTES)
    nonce = bytes(sodium.NONCE_BYTES)
    return head + sodium.seal(KEY, nonce, plain, head + ring.ASSOCIATED_NAME)


@given(rings())
def test_what_a_later_version_put_into_the_ring_stays_there(made: ring.KeyRing) -> None:
    """Also through new keys: a kind of key that is not known is no damage. Version 1 had none."""
    later = jsonlite.dumps({**jsonlite.loads(ring.render_ring(made)), "ca": {"current": 1}})
    opened = ring.open_sealed_ring(sealed_by_hand(later.encode()), KEY)
    again = ring.open_sealed_ring(making.seal_ring(making.new_keys(opened), WRAP_ID, KEY), KEY)
    assert again.unknown == {"ca": {"current": 1}}
    assert opened != made
    first = later.replace('"version":2', '"version":1', 1).encode()
    with pytest.raises(DamagedError):
        ring.open_sealed_ring(sealed_by_hand(first, version=1), KEY)


@given(rings(), st.sampled_from((ring.FIRST_VERSION, ring.VERSION)))
def test_a_ring_keeps_its_version_until_it_is_raised(made: ring.KeyRing, version: int) -> None:
    """Neither new keys nor another seal raise it: whoever does makes a copy of the store first."""
    old = making.new_keys(made.changed(version=version))
    sealed = making.seal_ring(old, WRAP_ID, KEY)
    assert sealed[4] == version
    assert ring.open_sealed_ring(sealed, KEY).version == version


@given(rings())
def test_new_keys_keep_the_old_for_reading(made: ring.KeyRing) -> None:
    """New seal and log keys have ids never used before; names and fingerprints stay."""
    after = making.new_keys(made)
    assert after.seal_id > max(made.seal_ids)
    assert after.log_id > max(made.log_ids)
    assert [after.seal_key(i) for i in made.seal_ids] == [made.seal_key(i) for i in made.seal_ids]
    assert [after.log_key(i) for i in made.log_ids] == [made.log_key(i) for i in made.log_ids]
    assert after.name_key == made.name_key
    assert after.fingerprint("token") == made.fingerprint("token")


@given(rings())
def test_no_key_is_ever_printed(made: ring.KeyRing) -> None:
    """The repr of a ring shows ids alone."""
    shown = repr(made)
    assert made.name_key.hex() not in shown
    assert repr(made.name_key) not in shown
    assert made.seal_key(made.seal_id).hex() not in shown


@given(st.binary(min_size=32, max_size=32))
def test_a_key_has_one_spelling(key: bytes) -> None:
    """Base64url, padded or not, reads back; any other spelling of the same bytes is refused."""
    spelled = making.render_key(key)
    assert len(spelled) == 43
    assert ring.parse_key(spelled) == ring.parse_key(spelled + "=") == key
    last = spelled[-1]
    for other in set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") - {last}:
        try:
            assert ring.parse_key(spelled[:-1] + other) != key
        except ValueError:
            continue


@given(st.text(max_size=50))
def test_other_text_is_no_key(value: str) -> None:
    """Parsing raises ValueError alone, and never shows what it was given."""
    try:
        assert making.render_key(ring.parse_key(value)) == value.removesuffix("=")
    except ValueError as error:
        assert str(error) == "not base64url of 32 bytes"  # noqa: PT017 - most texts raise, a few don't


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "kdf": st.sampled_from(["argon2id", "scrypt", None]),
            "salt": st.one_of(st.just("00" * 16), st.text(max_size=40), st.integers()),
            "ops": st.one_of(st.integers(), st.just(3), st.booleans(), st.floats()),
            "memory": st.one_of(st.integers(), st.just(2**27), st.just(2**40)),
        },
    )
)
def test_parameters_are_bounded_before_anything_is_derived(found: dict[str, object]) -> None:
    """Too cheap, too dear, of another kind or cut: refused without a byte of memory."""
    try:
        parsed = passphrase.parse_parameters(found)
    except StoreError:
        return
    assert passphrase.OPS_FLOOR <= parsed.ops <= passphrase.OPS_CEILING
    assert passphrase.MEMORY_FLOOR <= parsed.memory <= passphrase.MEMORY_CEILING


def test_names_and_fingerprints_never_change() -> None:
    """A new name key would lose every entry, a new fingerprint key every trace in the log."""
    for kind in ("name", "fingerprint"):
        with pytest.raises(ValueError, match="never changes"):
            making.with_new(making.new_ring(), kind)


def test_the_sealed_file_is_what_the_format_says() -> None:
    """Magic, version, id, nonce: the promise on compatibility is about these bytes."""
    made = making.new_ring()
    sealed = making.seal_ring(made, WRAP_ID, KEY)
    assert sealed[:5] == b"BKRK\x02"
    assert sealed[5:21].hex() == WRAP_ID
    plain = sodium.open_sealed(KEY, sealed[21:45], sealed[45:], sealed[:45] + b"keys/ring")
    assert plain == ring.render_ring(made)
