"""Check, gc, re-sealing under new keys, backup and restore."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from brokerctl import jsonlite
from brokerctl.errors import DamagedError, StoreError
from brokerctl.keys.making import new_keys, new_ring
from brokerctl.model import GrantKey, TokenKey
from brokerctl.store import backup as archives
from brokerctl.store.backup import backup, restore
from brokerctl.store.check import check, gc, reseal
from brokerctl.store.entry import GRANT, KEPT, METADATA, PLAN, QUEUE, SECRET, TOKEN, plain_name
from brokerctl.store.values import Change
from tests.store_room import (
    GRANT_KEY,
    NOW,
    RING,
    TOKEN_KEY,
    log_in,
    make_change,
    make_grant,
    make_queued,
    make_token,
    open_store,
    soon,
    without,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from brokerctl.store.file import FileStore

KEY = bytes(range(32))
KDF = {"kdf": "argon2id", "salt": "00" * 16}
SECRET_NAME = plain_name(RING.name_key, "secret", "client")


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return a store with a grant, a token, a queue and a secret."""
    made = open_store(str(tmp_path / "store"))
    log_in(made)
    with made.lock_grant(GRANT_KEY, soon()) as locked:
        locked.enqueue(make_queued("old"))
    made.put_sealed(SECRET, SECRET_NAME, b"hunter2")
    return made


def _derive(kdf: dict[str, Any]) -> bytes:
    assert kdf == KDF
    return KEY


def _damage(store: FileStore, kind: int) -> None:
    (name,) = store.disk.names(kind)
    folder, file_name = store.disk.place(kind, name)
    folder.write(file_name, b"BKR1 and nothing that opens" + bytes(60))


def test_check_counts_what_opens(store: FileStore) -> None:
    """A whole store has no findings."""
    report = check(store)
    assert report.is_whole
    assert {kind: count for kind, count in report.counts.items() if count} == {
        GRANT: 1,
        TOKEN: 1,
        QUEUE: 1,
        SECRET: 1,
    }


def test_check_names_the_damage_and_mends_when_told(store: FileStore) -> None:
    """Without `mend` nothing moves; with it the damaged entry is aside and the rest is whole."""
    _damage(store, TOKEN)
    (damage,) = check(store).damaged
    assert (damage.kind, damage.aside) == (TOKEN, None)
    (mended,) = check(store, mend=True).damaged
    report = check(store)
    assert report.is_whole
    assert report.aside == (mended.aside,)


def test_reseal_leaves_nothing_under_the_old_key(store: FileStore) -> None:
    """After new keys every entry opens without the old seal key."""
    ring = new_keys(RING)
    newer = open_store(store.disk.folder.path, ring=ring)
    report = reseal(newer)
    assert (report.resealed, report.left) == (4, ())
    assert reseal(newer).resealed == 0
    only_new = open_store(store.disk.folder.path, ring=without(ring, "seal", (1,)))
    assert check(only_new).is_whole
    assert only_new.find_token(TOKEN_KEY, NOW, 0) is not None
    assert sum(check(only_new).counts.values()) == 4


def test_reseal_reports_what_it_could_not_open(store: FileStore) -> None:
    """A damaged entry keeps nobody from the rest."""
    _damage(store, TOKEN)
    newer = open_store(store.disk.folder.path, ring=new_keys(RING))
    report = reseal(newer)
    assert report.resealed == 3
    assert [damage.kind for damage in report.left] == [TOKEN]


def test_gc_removes_what_nobody_needs_and_nothing_else(store: FileStore) -> None:
    """Unfinished writes, old plans and metadata, long ended slots; never a grant, lock or queue."""
    store.put_sealed(PLAN, "a" * 64, b"plan")
    store.put_sealed(METADATA, "a" * 64, b"metadata")
    folder, _ = store.disk.place(GRANT, "a" * 64)
    folder.write(".tmp-0011223344556677", b"half")
    nothing = gc(store, time.time())
    assert set(nothing.as_dict().values()) == {0}
    done = gc(store, max(time.time(), NOW) + 100 * 86400)
    assert (done.unfinished, done.plans, done.metadata, done.slots) == (1, 1, 1, 1)
    assert store.find_grant(GRANT_KEY) is not None
    assert len(store.disk.child("locks").names()) >= 1
    assert len(list(store.entries(QUEUE))) == 1


def test_gc_keeps_the_metadata_of_an_issuer_with_a_grant(store: FileStore) -> None:
    """It pins the endpoints: without it the next refresh would go wherever metadata says then."""
    log_in(store)
    data = jsonlite.dumps({"issuer": GRANT_KEY.issuer}).encode()
    store.put_sealed(METADATA, "b" * 64, data)
    assert gc(store, max(time.time(), NOW) + 100 * 86400).metadata == 0
    assert store.find_sealed(METADATA, "b" * 64) == data


def test_gc_keeps_the_metadata_of_a_client_with_a_token(store: FileStore) -> None:
    """A client has no grant; what its secret is bound to stays while it is at work."""
    key = GrantKey(issuer="https://i.example", client_id="c", actor="client")
    token = make_token("t9", issued_at=max(time.time(), NOW) + 100 * 86400)
    with store.lock_grant(key, soon()) as locked:
        locked.commit(Change(token_key=TokenKey(grant=key), token=token, profile="p"))
    store.put_sealed(METADATA, "b" * 64, jsonlite.dumps({"issuer": key.issuer}).encode())
    assert gc(store, token.issued_at).metadata == 0
    assert store.find_sealed(METADATA, "b" * 64) is not None


def test_gc_removes_the_locks_of_what_is_gone(store: FileStore) -> None:
    """A lock that remembers a generation stays, and so does one that somebody holds."""
    other, held = (GrantKey(issuer="https://i.example", client_id=name) for name in ("a", "b"))
    with store.lock_grant(other, soon()):
        pass
    with store.lock_grant(held, soon()):
        assert gc(store, time.time()).locks == 1
    assert gc(store, time.time()).locks == 1
    (name,) = store.disk.names(GRANT)
    store.disk.remove(GRANT, name)
    assert gc(store, time.time()).locks == 0
    assert store.disk.child("locks").names() == [f"{name}.lock"]


def test_a_backup_comes_back_under_another_ring(store: FileStore, tmp_path: Path) -> None:
    """Another machine has other keys: names, seals and fingerprints are made anew."""
    data, made = backup(store, KEY, KDF, ("client", "another"))
    assert (made.counts, made.damaged) == ({GRANT: 1, TOKEN: 1, QUEUE: 1, SECRET: 1, KEPT: 0}, ())
    ring = new_ring()
    other = open_store(str(tmp_path / "other"), ring=ring)
    report = restore(other, data, _derive)
    assert (len(report.restored), report.kept, report.is_partial) == (4, (), False)
    ((entry,), fingerprint) = other.entries(TOKEN), ring.fingerprint("t1")
    ((token,), current) = entry.value.superseded, entry.value.current
    assert (token.value.reveal(), token.fingerprint, current) == ("t1", fingerprint, None)
    grant = store.find_grant(GRANT_KEY)
    assert grant is not None
    assert other.find_grant(GRANT_KEY) == grant.replace(issued=None)
    assert other.find_sealed(SECRET, plain_name(ring.name_key, "secret", "client")) == b"hunter2"


def test_a_secret_that_no_profile_named_is_reported(store: FileStore, tmp_path: Path) -> None:
    """Its place on another machine is unknown: exit 9, never lost in silence."""
    data, _ = backup(store, KEY, KDF)
    other = open_store(str(tmp_path / "other"), ring=new_ring())
    report = restore(other, data, _derive)
    assert report.is_partial
    assert [damage.kind for damage in report.refused] == [SECRET]


def test_restore_never_replaces_a_higher_generation(store: FileStore) -> None:
    """What is here is as new or newer: it stays, and the older token is not served again."""
    data, _ = backup(store, KEY, KDF)
    log_in(store, "r2", "t2")
    report = restore(store, data, _derive)
    assert (report.restored, len(report.kept)) == ((), 4)
    grant = store.find_grant(GRANT_KEY)
    assert grant is not None
    assert (grant.generation, grant.refresh_token and grant.refresh_token.reveal()) == (2, "r2")


def test_restore_refuses_what_the_lock_file_knows_to_be_older(store: FileStore) -> None:
    """The grant is gone, its mark is not: an older generation would be redeemed twice."""
    data, _ = backup(store, KEY, KDF)
    log_in(store, "r2", "t2")
    (name,) = store.disk.names(GRANT)
    store.disk.remove(GRANT, name)
    report = restore(store, data, _derive)
    assert report.is_partial
    assert "rolled back" in report.refused[0].why
    assert store.find_grant(GRANT_KEY) is None


def test_restore_brings_back_what_was_lost(store: FileStore) -> None:
    """The same generation as the highest seen is the one that was lost."""
    data, _ = backup(store, KEY, KDF)
    for kind in (GRANT, TOKEN, QUEUE):
        (name,) = store.disk.names(kind)
        store.disk.remove(kind, name)
    assert len(restore(store, data, _derive).restored) == 3
    assert store.find_grant(GRANT_KEY) is not None


def test_a_restored_token_is_listed_and_never_served(store: FileStore) -> None:
    """It may have been revoked since the backup: `revoke` reaches it, and `get` asks the issuer."""
    key = GRANT_KEY.replace(actor="client")  # who acts for itself has no grant to compare with
    token_key = TOKEN_KEY.replace(grant=key)
    with store.lock_grant(key, soon()) as locked:
        locked.commit(Change(token_key=token_key, token=make_token("t9"), profile="p"))
    data, _ = backup(store, KEY, KDF)
    for name in store.disk.names(TOKEN):
        store.disk.remove(TOKEN, name)
    assert f"token/{name}" in restore(store, data, _derive).restored
    assert store.find_token(token_key, NOW, 0) is None
    with store.lock_grant(key, soon()) as locked:
        (slot,) = locked.state.slots
        (found, *_) = slot.superseded
    assert (slot.current, found.value.reveal(), found.status) == (None, "t9", "superseded")


def test_a_restored_token_that_is_the_grant_is_served(store: FileStore, tmp_path: Path) -> None:
    """A token without an end, of a grant without a refresh token, is all that there is of it."""
    forever = make_token("t1", lifetime_s=None)
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.commit(
            make_change("", forever).replace(grant=make_grant().replace(refresh_token=None))
        )
    data, _ = backup(store, KEY, KDF)
    other = open_store(str(tmp_path / "other"))
    restore(other, data, _derive)
    token = other.find_token(TOKEN_KEY, NOW, 0)
    assert token is not None
    with other.lock_grant(GRANT_KEY, soon()) as locked:
        locked.end(2, "revoked here")
    for name in other.disk.names(TOKEN):
        other.disk.remove(TOKEN, name)
    restore(other, data, _derive)
    assert other.find_token(TOKEN_KEY, NOW, 0) is None


def test_what_falls_off_a_restored_slot_is_queued(store: FileStore, tmp_path: Path) -> None:
    """Seventeen living tokens: the one too many is still reached by `revoke`."""
    for number in range(2, 18):
        log_in(store, f"r{number}", f"t{number}")
    data, _ = backup(store, KEY, KDF)
    other = open_store(str(tmp_path / "other"))
    restore(other, data, _derive)
    with other.lock_grant(GRANT_KEY, soon()) as locked:
        (slot,) = locked.state.slots
        queued = {item.value.reveal() for item in locked.state.queue}
    held = {token.value.reveal() for token in slot.superseded}
    assert (len(held), {f"t{number}" for number in range(1, 18)} - held - queued) == (16, set())


def test_an_altered_archive_changes_nothing(store: FileStore, tmp_path: Path) -> None:
    """Every byte counts, the header's too; and nothing may be missing or follow."""
    data, _ = backup(store, KEY, KDF)
    other = open_store(str(tmp_path / "other"))
    header = data.index(b"\n")
    wrong = [data[:-1], data + b"x", data[: header + 1], b"", data[header + 1 :]]
    wrong += [data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :] for at in range(0, len(data), 97)]
    for altered in wrong:
        with pytest.raises((DamagedError, StoreError, AssertionError)):
            restore(other, altered, _derive)
    with pytest.raises(DamagedError, match="another passphrase"):
        restore(other, data, lambda _: bytes(32))
    assert sum(check(other).counts.values()) == 0


def test_an_archive_of_many_pieces_opens(store: FileStore, tmp_path: Path) -> None:
    """More than one piece of the stream, cut at the piece's end too."""
    store.put_sealed(SECRET, "a" * 64, bytes(200_000))
    data, _ = backup(store, KEY, KDF)
    assert len(restore(open_store(str(tmp_path / "other")), data, _derive).restored) == 5
    cut = data.index(b"\n") + 1 + 24 + 2 * (64 * 1024 + 17)
    with pytest.raises(DamagedError, match="cut short"):
        restore(store, data[:cut], _derive)


def test_nothing_may_follow_a_last_piece_that_is_full(store: FileStore) -> None:
    """The stream has ended; what comes after it was never sealed."""
    full = archives._seal(bytes(64 * 1024), KEY, KDF)  # noqa: SLF001 - a tar is never so long
    with pytest.raises(DamagedError, match="something follows"):
        restore(store, full + b"x", _derive)


@pytest.mark.parametrize(
    "about", [b"", b"[]", b"{", b'"x"', b'{"ring":"r"}', b'{"ring":1,"secrets":{}}',
              b'{"ring":"r","secrets":[]}', b'{"ring":"r","secrets":{"a":null}}']
)  # fmt: skip
def test_an_archive_that_says_nothing_of_itself_is_refused(store: FileStore, about: bytes) -> None:
    """Whoever gave us file and passphrase is still a stranger; nothing was changed."""
    tar = archives._tar([("about", about), (f"secret/{'0' * 64}", b"s")])  # noqa: SLF001 - as above
    with pytest.raises(DamagedError, match="does not say what it holds"):
        restore(store, archives._seal(tar, KEY, KDF), _derive)  # noqa: SLF001 - as above
    assert [entry.name for entry in store.entries(SECRET)] == [SECRET_NAME]


def test_a_newer_archive_is_refused_by_version(store: FileStore) -> None:
    """Named, with what to do."""
    data, _ = backup(store, KEY, KDF)
    with pytest.raises(StoreError, match="version 3") as raised:
        restore(store, data.replace(b'"version":2', b'"version":3', 1), _derive)
    assert "the version of brokerctl that wrote it" in (raised.value.hint or "")


def test_a_damaged_entry_is_left_out_of_a_backup_and_named(store: FileStore) -> None:
    """The rest is saved."""
    _damage(store, TOKEN)
    _, report = backup(store, KEY, KDF)
    assert [damage.kind for damage in report.damaged] == [TOKEN]
    assert report.counts[GRANT] == 1
