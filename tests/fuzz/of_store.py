"""What lies on the disk: entries, key rings, the pinned keeper, lock files, archives."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from brokerctl.errors import DamagedError, StoreError
from brokerctl.keys import passphrase, pin, ring
from brokerctl.keys.making import new_ring, seal_ring
from brokerctl.platform.system import SYSTEM
from brokerctl.session.leftovers import Session, parse_session, render_session
from brokerctl.store import backup, codec
from brokerctl.store.entry import GRANT, KIND_NAMES, TOKEN, open_entry
from brokerctl.store.file.lock_holder import held_by, parse_holder
from brokerctl.store.token_codec import parse_current
from tests.fuzz import driving as some
from tests.fuzz.driving import Target, bent, mutated
from tests.store_room import open_store
from tests.vectors.make_store_vectors import FOLDER, PAYLOADS
from tests.vectors.test_store_vectors import Ring, read_vector

WRAPPING, WRAP_ID = bytes(range(32)), "0f" * 16
KEYS = new_ring()


def good(kind: str) -> tuple[str, bytes]:
    """Return a committed entry of a kind that opens, with its name."""
    with open(os.path.join(FOLDER, "BKR2", f"good-{kind}"), "rb") as file:
        header, entry = read_vector(file.read())
    return header["name"], entry


GOOD = {kind: good(text) for kind, text in KIND_NAMES.items()}


def open_one(data: tuple[int, bytes]) -> None:
    """Open an entry under a name and kind; nothing but the entry itself opens."""
    kind, entry = data
    name, right = GOOD[kind]
    try:
        open_entry(Ring(), kind, name, entry)
    except StoreError:
        assert entry != right
    else:
        assert entry == right


def read_value(data: tuple[int, bytes]) -> None:
    """Read an opened entry's value; what is read can be written and read again."""
    kind, payload = data
    value = codec.parse(kind, payload)
    assert codec.parse(kind, codec.render(value)) == value
    if kind == TOKEN:
        assert parse_current(payload) == value.current


def open_ring(data: bytes) -> None:
    """Open a sealed ring; only the one that was sealed does."""
    try:
        found = ring.open_sealed_ring(data, WRAPPING)
    except DamagedError:
        assert data != SEALED
    else:
        assert found == KEYS


def read_pin(data: bytes) -> None:
    """Read the pinned keeper, and what the passphrase keeper noted."""
    found = pin.parse_pin(data)
    assert pin.parse_pin(pin.render_pin(found)) == found
    passphrase.parse_parameters(found.details_dict())


def read_lock(data: bytes) -> None:
    """Read a lock file, and say who holds it."""
    error = held_by(parse_holder(data), SYSTEM)
    assert error.message.isprintable()


def read_session(data: bytes) -> None:
    """Read what a supervisor left."""
    found = parse_session(data)
    assert found is None or isinstance(found, Session)


def read_archive(data: bytes) -> None:
    """Open a backup as `store restore` does first."""
    dict(backup._members(backup._open(data, derive)))  # noqa: SLF001 - the whole would need a store


def restore(members: tuple[bytes, bytes, bytes]) -> None:
    """Restore an archive that was made by somebody who wishes us ill and told its passphrase."""
    about, grant, secret = members
    tar = backup._tar(  # noqa: SLF001 - as above
        [("about", about), (f"grant/{'6' * 64}", grant), (f"secret/{secret.hex()}", secret)]
    )
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store")
        data = backup._seal(tar, WRAPPING, PARAMETERS)  # noqa: SLF001 - as above
        report = backup.restore(store, data, derive)
        assert len(report.restored + report.kept) + len(report.refused) == 2


def read_members(data: bytes) -> None:
    """Read an archive's tar, as its owner's passphrase opened it."""
    dict(backup._members(data))  # noqa: SLF001 - only who has the passphrase can make one


def derive(found: dict[str, Any]) -> bytes:
    """Check the parameters as the passphrase keeper does, and derive nothing."""
    passphrase.parse_parameters(found)
    return WRAPPING


SEALED = seal_ring(KEYS, WRAP_ID, WRAPPING)
PARAMETERS = passphrase.render_parameters(passphrase.Parameters(salt="ab" * 16))
PIN = {"version": 1, "keeper": "passphrase", "id": WRAP_ID, "details": PARAMETERS}
HOLDER = {"pid": 1, "start": 5, "host": "h", "boot": "b", "pid_ns": 4026531836, "since": "2026"}
LEFT = Session(id="1f", pid=1, started="5", boot="b", pid_space="p", host="h", at=1.5)
TAR = backup._tar([("about", b"{}"), (f"grant/{'6' * 64}", PAYLOADS[1])])  # noqa: SLF001 - as above
ARCHIVE = backup._seal(TAR, WRAPPING, PARAMETERS)  # noqa: SLF001 - as above
HEADER, _, STREAM = ARCHIVE.partition(b"\n")
BENT_HEADERS = some.mapped(bent(json.loads(HEADER)), lambda head: head + b"\n" + STREAM)
TARGETS: dict[str, Target] = {
    "entries": Target(
        some.one_of(
            *(
                some.tuples(some.among([kind]), mutated([entry], (b"BKR1", b"BKR2")))
                for kind, (_, entry) in GOOD.items()
            )
        ),
        open_one,
    ),
    "opened entries": Target(
        some.one_of(
            *(
                some.tuples(
                    some.among([kind]), some.one_of(*[bent(json.loads(data))] * 9, some.nested)
                )
                for kind, data in PAYLOADS.items()
            )
        ),
        read_value,
    ),
    "sealed key rings": Target(mutated([SEALED], (b"BKRK", b"\x02")), open_ring),
    "opened key rings": Target(bent(json.loads(ring.render_ring(KEYS))), ring.parse_ring),
    "wrapping keys": Target(
        some.mapped(mutated([b"A" * 43, b"-_" * 21 + b"A="]), some.as_text),
        ring.parse_key,
        (ValueError,),
    ),
    "keeper.json": Target(some.one_of(bent(PIN, {**PIN, "previous": PIN}), some.nested), read_pin),
    "lock files": Target(
        some.mapped(bent(HOLDER), lambda data: b"%020d\n%b" % (7, data)), read_lock
    ),
    "sessions": Target(bent(json.loads(render_session(LEFT))), read_session),
    "archives": Target(some.one_of(mutated([ARCHIVE]), BENT_HEADERS), read_archive),
    "restored archives": Target(
        some.tuples(
            bent({"ring": "r", "secrets": {"": "ci", "00": "x"}}),
            bent(json.loads(PAYLOADS[GRANT])),
            some.few_bytes,
        ),
        restore,
        few=10,
    ),
    "archives' insides": Target(mutated([TAR]), read_members),
}
