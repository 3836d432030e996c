"""What the first version wrote, every later one reads: entries, key ring, log, backup.

The rule of the house: a file below tests/vectors/kept is never made again, changed or removed.
Who must change a format adds a reader for the old one and a folder for the new one. If a test here
fails, the program is wrong and not the vector.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.audit.read import find_records
from brokerctl.audit.verify import verify
from brokerctl.errors import DamagedError, StoreError
from brokerctl.keys import passphrase
from brokerctl.keys.pin import parse_pin
from brokerctl.keys.ring import open_sealed_ring
from brokerctl.oauth.metadata import parse as parse_metadata
from brokerctl.platform.private_files import open_folder
from brokerctl.secret import Secret
from brokerctl.session.leftovers import parse_session
from brokerctl.store import backup, codec
from brokerctl.store.entry import (
    GRANT,
    KIND_NAMES,
    METADATA,
    QUEUE,
    SECRET,
    SESSION,
    TOKEN,
    grant_name,
    open_entry,
    plain_name,
    token_name,
)
from tests.store_room import RING as OTHER_RING
from tests.store_room import open_store
from tests.vectors import kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST, SECOND = "0.1.0", "format-2"
DIGESTS = {
    f"{FIRST}/archive": "c1f38290f6aa11f5a237fa0fd1a9492a4bfb0e689b0fb40990d00a000a1e206f",
    f"{FIRST}/grant": "52a37d8f37074748e1629ab07d89a52a6ddecab80ab51da92e048d2d9b5db9e1",
    f"{FIRST}/intent": "db79b07592b1d5e3ac11a9324af8b2b46e29d045017de92006ce435d594df9c6",
    f"{FIRST}/keeper.json": "282d67f56f47769ff10ab9f01278fe29733504b5b4d26c315b7a63520d8829dd",
    f"{FIRST}/kept": "2208250b2533ce3037e1bd29df88aff1c74df9deb432d50764a4670a049a0e01",
    f"{FIRST}/log": "0010db6a86f6a1472a3bbb6d076c466ccfa33c25df20ef517786dc33cb4d4297",
    f"{FIRST}/metadata": "939ff1b5063894072c40bc8539f34e43467f5808425d85dae06f16b0876242e9",
    f"{FIRST}/outcome": "2a94639ba0ae8962fb602786c990e42bb3fdf84b5f417f64709416efb534f780",
    f"{FIRST}/plan": "2ae265ca0870138285eea9c29260344a8b22a81be4ae9d7bc460ed413cc26ce9",
    f"{FIRST}/queue": "ab1fcc27d0367bce01676486deda60613f8ba074fd900426de27b28d418d11fa",
    f"{FIRST}/ring": "2c058900ef28e5a42ed4c4bb0945db5a8b22a17957afb52375c38a8d4778a284",
    f"{FIRST}/secret": "814abc080dfe8b91b5dff152ccfd27e654e2a74e79969b18fa50667b1c967e1c",
    f"{FIRST}/session": "b36ce4e9d2d7222f9c529784b603c772565b82ec3331ffbc58ff01a4825d4dab",
    f"{FIRST}/token": "48815ced70e509eed0cd99f110c545888c7ca72389a065456399eba851bee975",
    f"{SECOND}/archive": "8e5a0591394f9f231a7f0d115c654b84989a87f43bd43bffe06afc7c9a76b0f6",
    f"{SECOND}/grant": "2e961a91a0af77f03f127c5746c9cceb14aa61c14e66d09f836d31756defb941",
    f"{SECOND}/intent": "4a1fa9dc00114685842fd86173ecc52c7f90e673a19ee7200c7b1d93eefc7143",
    f"{SECOND}/job": "06ea1f5b8128aa97d893eda3601dc6a792c61f7e29acb4462595c8b5331f83ee",
    f"{SECOND}/kept": "acd8a3076fd3e095a14998c5e347623dd3092177dd6c636f23927d875afe5e71",
    f"{SECOND}/lease": "a26d5a88201915440b8818272e3fb74fdaa87348e331acd042790999550ea867",
    f"{SECOND}/metadata": "2332d0120b671f1cbe4f0634b17afdded4cf0b929436f2b1b2223b12b293ca11",
    f"{SECOND}/outcome": "76448858bfe08cb19de08fc0299c27663a11ac6b8eca522ff4e12a61bcdd3fb1",
    f"{SECOND}/plan": "96359b57f7b901ce96900650b71128b5244194ebf309566ab24225c5eeaf1aa1",
    f"{SECOND}/question": "98536178b8518d0af01353ea29a445793c1a792ee9455889899ee4f137b73c0e",
    f"{SECOND}/queue": "04999dd1d95ae9d695d3d6325551b7fec9ab14831efae0671bf0d128c4f9c575",
    f"{SECOND}/ring": "11cdad36c1b8ab54098ba29d8297a4942194dd8af4910b77004b409bdea65451",
    f"{SECOND}/secret": "1671ab7b1729e98fd61b94b6c6fb4c07e729288580eda429795ab7bd9c295533",
    f"{SECOND}/session": "c4a337f0cb1f8986c2ceab944975f3446b6e9e091233c161562e4e2e7de806b9",
    f"{SECOND}/token": "fd9e8e131f700ba43b793bf5fe0d9b0a451bc1f1bc3301bd130e64d27fad1074",
}
# What each folder holds: ring, values and their names.
SETS = {
    FIRST: (kept.RING, kept.VALUES, kept.NAMES),
    SECOND: (kept.NEW_RING, kept.NEW_VALUES, kept.NEW_NAMES),
}
each_set = pytest.mark.parametrize("version", SETS)
each_entry = pytest.mark.parametrize(
    ("version", "kind"),
    [(version, kind) for version, (_, values, _) in SETS.items() for kind in values],
    ids=lambda value: KIND_NAMES.get(value, value),
)


def read(name: str, version: str = FIRST) -> bytes:
    """Return a kept file's bytes."""
    with open(os.path.join(kept.FOLDER, version, name), "rb") as file:
        return file.read()


def flips(data: bytes) -> Iterator[bytes]:
    """Yield the data with each of its bits flipped, one at a time."""
    for at, byte in enumerate(data):
        for bit in range(8):
            yield data[:at] + bytes((byte ^ (1 << bit),)) + data[at + 1 :]


def as_value(kind: int, payload: bytes) -> Any:  # noqa: ANN401 - the kind says which value
    """Read a payload as its room does."""
    readers = {METADATA: parse_metadata, SESSION: parse_session}
    return readers[kind](payload) if kind in readers else codec.parse(kind, payload)


def test_no_kept_file_was_changed_added_or_lost() -> None:
    """Each is what it was on its first day, by its digest; a new one gets its line above."""
    found = {
        os.path.relpath(os.path.join(top, name), kept.FOLDER)
        for top, _, names in os.walk(kept.FOLDER)
        for name in names
    }
    assert found == set(DIGESTS)
    for path, digest in DIGESTS.items():
        assert hashlib.sha256(read(path, "")).hexdigest() == digest, path


def test_every_kind_is_kept() -> None:
    """A kind that is added to the store gets an entry that is kept as well."""
    assert set(kept.NEW_VALUES) == set(KIND_NAMES)


@each_entry
def test_a_kept_entry_opens_and_holds_what_it_held(kind: int, version: str) -> None:
    """With all of its fields, under the name and the key that it was sealed with."""
    ring, values, names = SETS[version]
    payload = open_entry(ring, kind, names[kind], read(KIND_NAMES[kind], version))
    assert as_value(kind, payload) == values[kind]


@each_entry
def test_each_bit_of_a_kept_entry_counts(kind: int, version: str) -> None:
    """A real entry of each kind with any one bit flipped is refused: all of them are tried."""
    ring, _, names = SETS[version]
    entry, tried = read(KIND_NAMES[kind], version), 0
    for flipped in flips(entry):
        with pytest.raises(StoreError):  # the parent: a newer format or key is refused too
            open_entry(ring, kind, names[kind], flipped)
        tried += 1
    assert tried == 8 * len(entry)


def test_names_are_what_they_were() -> None:
    """The keyed hash of the same inputs finds the same grant, slot and secret."""
    name_key = kept.RING.name_key
    assert grant_name(name_key, kept.KEY) == kept.GRANT_NAME
    assert token_name(name_key, kept.TOKEN_KEY) == kept.TOKEN_NAME
    assert plain_name(name_key, "secret", "ci") == kept.SECRET_NAME
    assert grant_name(name_key, kept.NEW_KEY) == kept.NEW_GRANT_NAME
    assert token_name(name_key, kept.NEW_SLOT.key) == kept.NEW_TOKEN_NAME


@each_set
def test_the_kept_ring_opens_and_each_of_its_bits_counts(version: str) -> None:
    """Every key of it comes back, and with any one bit flipped none does."""
    sealed = read("ring", version)
    assert open_sealed_ring(sealed, kept.WRAPPING_KEY) == SETS[version][0]
    for flipped in flips(sealed):
        with pytest.raises(DamagedError):
            open_sealed_ring(flipped, kept.WRAPPING_KEY)


def test_the_kept_choice_of_a_keeper_is_read() -> None:
    """The keeper, its key's id and the passphrase's parameters."""
    assert parse_pin(read("keeper.json")) == kept.PIN
    assert passphrase.parse_parameters(kept.PIN.details_dict()).memory == 64 * 1024 * 1024


def test_the_kept_log_is_whole_and_can_be_asked(tmp_path: Path) -> None:
    """Its chain verifies, and its records are found."""
    folder = open_folder(str(tmp_path / "audit"))
    assert folder is not None
    (tmp_path / "audit" / "log").write_bytes(read("log"))
    (tmp_path / "audit" / "log").chmod(0o600)
    report = verify(folder, kept.RING, parse=True)
    assert (report.is_whole, report.records, report.notices) == (True, 3, ())
    assert tuple(found.fields["event"] for found in find_records(folder)) == kept.RECORDS


@each_set
def test_the_kept_backup_is_restored(tmp_path: Path, version: str) -> None:
    """Under a ring of another machine: grant, slot, queue and secret, by its passphrase."""
    store = open_store(str(tmp_path / "store"))

    def derive(found: dict[str, Any]) -> bytes:
        return passphrase.derive_key(kept.PASSPHRASE, passphrase.parse_parameters(found))

    done = backup.restore(store, read("archive", version), derive)
    assert (len(done.restored), done.kept, done.refused) == (4, (), ())
    [grant] = [entry.value for entry in store.entries(GRANT)]
    assert grant.refresh_token == kept.VALUES[GRANT].refresh_token
    [slot] = [entry.value for entry in store.entries(TOKEN)]
    held = [token.value for token in slot.superseded]  # for `revoke`: a restored one is not served
    newest = SETS[version][1][TOKEN].current.value
    assert (slot.current, held) == (None, [newest, Secret("access-6")])
    assert grant.unknown == SETS[version][1][GRANT].unknown
    [queue] = [entry.value for entry in store.entries(QUEUE)]
    assert queue.items[0].value == kept.VALUES[QUEUE].items[0].value
    name = plain_name(OTHER_RING.name_key, "secret", "ci")
    assert store.find_sealed(SECRET, name) == kept.VALUES[SECRET]


@pytest.mark.slow("opens an archive 83,328 times")
def test_each_bit_of_the_kept_backup_counts(tmp_path: Path) -> None:
    """Header, stream and tags: with any one bit flipped nothing at all is restored."""
    data, store = read("archive"), open_store(str(tmp_path / "store"))
    key = passphrase.derive_key(
        kept.PASSPHRASE, passphrase.parse_parameters(kept.PIN.details_dict())
    )

    def derive(found: dict[str, Any]) -> bytes:
        passphrase.parse_parameters(found)
        return key

    for flipped in flips(data):
        with pytest.raises(StoreError):
            backup.restore(store, flipped, derive)
    assert list(store.entries(GRANT)) == []
