"""A damaged entry is set aside under its grant's lock, reported, and blocks nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import DamagedError, StoreError
from brokerctl.keys.making import new_keys
from brokerctl.store.entry import (
    GRANT,
    INTENT,
    OUTCOME,
    PLAN,
    QUEUE,
    TOKEN,
    NewerKeyError,
    grant_name,
    plain_name,
)
from tests.store_room import (
    GRANT_KEY,
    NOW,
    RING,
    TOKEN_KEY,
    log_in,
    make_change,
    make_intent,
    make_queued,
    make_token,
    open_store,
    soon,
)

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.store.file import FileStore

NAME = grant_name(RING.name_key, GRANT_KEY)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return a store with a grant and a token."""
    made = open_store(str(tmp_path / "store"))
    log_in(made)
    return made


def _flip(store: FileStore, kind: int, name: str = NAME) -> None:
    folder, file_name = store.disk.place(kind, name)
    data = folder.read(file_name)
    assert data is not None
    folder.write(file_name, data[:-1] + bytes((data[-1] ^ 1,)))


def _slot_name(store: FileStore) -> str:
    (name,) = store.disk.names(TOKEN)
    return name


def test_a_damaged_grant_is_an_error_for_readers_and_out_of_the_way_for_a_login(
    store: FileStore,
) -> None:
    """`get` says what is wrong; `login` sets it aside and goes on counting where it was."""
    _flip(store, GRANT)
    with pytest.raises(DamagedError, match="altered"):
        store.find_grant(GRANT_KEY)
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        assert locked.state.grant is None
        (damage,) = locked.state.damage
        with pytest.raises(DamagedError, match="altered"):
            locked.intend(make_intent("refresh"))
        locked.intend(make_intent("login"))
        state = locked.commit(make_change("r2", make_token("t2")))
    assert state.generation == 2
    assert store.damage == [damage]
    assert damage.aside in store.disk.child("aside").names()


def test_a_copy_from_before_the_end_is_never_redeemed(store: FileStore) -> None:
    """Putting the entry of a revoked grant back does not make it live again."""
    folder, file_name = store.disk.place(GRANT, NAME)
    old = folder.read(file_name)
    assert old is not None
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        assert locked.end(1, "revoked here")
    folder.write(file_name, old)
    with pytest.raises(DamagedError, match="rolled back: generation 1, and 2 was stored"):
        store.find_grant(GRANT_KEY)
    with store.lock_grant(GRANT_KEY, soon()) as locked, pytest.raises(DamagedError):
        locked.intend(make_intent("refresh"))


def test_an_older_grant_is_rolled_back_and_never_redeemed(store: FileStore) -> None:
    """The lock file remembers the highest generation; a copy put back is not sent to the issuer."""
    folder, file_name = store.disk.place(GRANT, NAME)
    old = folder.read(file_name)
    assert old is not None
    log_in(store, "r2", "t2")
    folder.write(file_name, old)
    with pytest.raises(DamagedError, match="rolled back: generation 1, and 2 was stored"):
        store.find_grant(GRANT_KEY)
    (entry,) = store.entries(GRANT)
    assert "rolled back" in (entry.damage or "")
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        assert locked.state.grant is None
        with pytest.raises(DamagedError, match="rolled back"):
            locked.intend(make_intent("refresh"))
        assert locked.next_generation == 3


def test_a_damaged_slot_means_a_new_token_and_is_kept_aside(store: FileStore) -> None:
    """Readers see no token; the commit that follows does not overwrite the evidence."""
    _flip(store, TOKEN, _slot_name(store))
    assert store.find_token(TOKEN_KEY, NOW, 0) is None
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.commit(make_change("r2", make_token("t2")))
        assert [damage.kind for damage in locked.state.damage] == [TOKEN]
    assert store.find_token(TOKEN_KEY, NOW, 0) is not None


@pytest.mark.parametrize("kind", [INTENT, OUTCOME, QUEUE])
def test_other_damaged_entries_count_as_absent(store: FileStore, kind: int) -> None:
    """Each is set aside and reported; the grant goes on."""
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        locked.enqueue(make_queued())
        locked.intend(make_intent())
    store.disk.write(OUTCOME, NAME, b"{}")
    _flip(store, kind)
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        state = locked.state
        assert {INTENT: state.intent, OUTCOME: state.failure, QUEUE: state.queue}[kind] in {
            None,
            (),
        }
        assert kind in [damage.kind for damage in state.damage]
        assert state.grant is not None


def test_one_damaged_entry_does_not_hide_the_others(store: FileStore) -> None:
    """`entries` yields it as such and goes on."""
    store.put_sealed(PLAN, "a" * 64, b"one")
    store.put_sealed(PLAN, "b" * 64, b"two")
    _flip(store, PLAN, "a" * 64)
    assert [(entry.value, bool(entry.damage)) for entry in store.entries(PLAN)] == [
        (None, True),
        (b"two", False),
    ]
    assert store.find_sealed(PLAN, "a" * 64) is None


def test_a_key_that_our_ring_is_too_old_for_damages_nothing(
    store: FileStore, tmp_path: Path
) -> None:
    """Another process made new keys meanwhile: nothing is set aside, and we say to try again."""
    newer = open_store(str(tmp_path / "store"), ring=new_keys(RING))
    log_in(newer, "r2", "t2")
    with store.lock_grant(GRANT_KEY, soon()) as locked, pytest.raises(NewerKeyError):
        assert locked.state.grant
    assert newer.find_token(TOKEN_KEY, NOW, 0) is not None


def test_a_reader_goes_on_while_new_keys_are_made(store: FileStore) -> None:
    """With a way to read the ring again, an entry under a newer key is simply read."""
    ring = new_keys(RING)
    log_in(open_store(store.disk.folder.path, ring=ring), "r2", "t2")
    store.disk.renew = lambda: ring
    token = store.find_token(TOKEN_KEY, NOW, 0)
    assert token is not None
    assert token.value.reveal() == "t2"
    assert store.disk.ring is ring


def test_a_link_in_place_of_a_grant_is_set_aside(store: FileStore, tmp_path: Path) -> None:
    """Security: it is not followed, and does not stop the grant for ever."""
    folder, file_name = store.disk.place(GRANT, NAME)
    folder.unlink(file_name)
    os.symlink(tmp_path / "elsewhere", file_name, dir_fd=folder.fd)
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        assert locked.state.grant is None
        assert "symbolic link" in locked.state.damage[0].why


def test_a_file_that_others_can_read_is_for_the_user_to_mend(store: FileStore) -> None:
    """Nothing is set aside where one chmod helps."""
    folder, file_name = store.disk.place(GRANT, NAME)
    os.chmod(file_name, 0o644, dir_fd=folder.fd)
    with store.lock_grant(GRANT_KEY, soon()) as locked, pytest.raises(StoreError) as raised:
        assert locked.state.grant
    assert "chmod 600" in (raised.value.hint or "")
    assert file_name in folder.names()


@pytest.mark.parametrize("name", ["../trust", "x", "A" * 64, "a" * 63 + "/"])
def test_a_blob_is_named_by_a_keyed_hash_alone(store: FileStore, name: str) -> None:
    """Security: no name leads out of its folder; and no grant is written without its lock."""
    with pytest.raises(ValueError, match="sealed blob"):
        store.put_sealed(PLAN, name, b"")
    with pytest.raises(ValueError, match="sealed blob"):
        store.put_sealed(GRANT, plain_name(RING.name_key, "x"), b"")


def test_a_grant_is_not_changed_after_its_lock_was_given_up(store: FileStore) -> None:
    """Holding on to the object is holding nothing."""
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        pass
    with pytest.raises(ValueError, match="given up"):
        locked.commit(make_change())


@pytest.mark.parametrize("mode", [0, 0o644, 0o602, 0o4600])
@pytest.mark.parametrize("kind", [PLAN, OUTCOME])
def test_what_can_be_made_anew_stops_nobody(store: FileStore, kind: int, mode: int) -> None:
    """A cache, or a remembered failure, that others could use is nothing, and is made anew."""
    store.disk.write(kind, NAME, b"{}")
    folder, file_name = store.disk.place(kind, NAME)
    path = f"{folder.path}/{file_name}"
    os.chmod(path, mode)
    if kind == PLAN:
        assert store.find_sealed(PLAN, NAME) == (b"{}" if not mode & 0o77 else None)
        store.put_sealed(PLAN, NAME, b"[]")
        assert store.find_sealed(PLAN, NAME) == b"[]"
        assert os.stat(path).st_mode & 0o7777 == 0o600
        return
    if mode & 0o77:
        assert store.find_failure(GRANT_KEY) is None
    with store.lock_grant(GRANT_KEY, soon()) as locked:
        assert locked.state.grant is not None


@pytest.mark.parametrize(("kind", "part"), [(GRANT, "grant"), (INTENT, "intent"), (QUEUE, "queue")])
def test_what_is_worth_something_is_mended(store: FileStore, kind: int, part: str) -> None:
    """Anything else is left where it is, with the command that mends it."""
    if kind != GRANT:
        store.disk.write(kind, NAME, b"{}")
    folder, file_name = store.disk.place(kind, NAME)
    path = f"{folder.path}/{file_name}"
    os.chmod(path, 0o644)
    with store.lock_grant(GRANT_KEY, soon()) as locked, pytest.raises(StoreError) as caught:
        getattr(locked.state, part)
    assert caught.value.hint == f"run 'chmod 600 {path}'"
    assert os.path.exists(path)
