"""Each call of raising a store's format fails, or is the last: it is the old or the new, whole."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from brokerctl import keys
from brokerctl.errors import BrokerError, LockTimeoutError, StoreError
from brokerctl.home import open_home
from brokerctl.keys.create import create_ring
from brokerctl.keys.rekey import raise_version, update_ring
from brokerctl.keys.ring import FIRST_VERSION, VERSION
from brokerctl.model import AccessToken
from brokerctl.platform.private_files import MAX_FILE_BYTES, Folder, open_folder
from brokerctl.platform.system import SYSTEM, System
from brokerctl.secret import Secret
from brokerctl.store.entry import FIRST, GRANT, MAGIC
from brokerctl.store.file import FileStore
from brokerctl.store.file.earlier_copy import COPY, copy_store, find_copy_time, remove_copy
from tests.earlier_version import digests
from tests.faults.faulty import FAIL, KILL, LATE, SHORT, FaultySystem, Killed

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"BROKERCTL_KEEPER": "file"}
FILES = {
    "grants/" + 64 * "a": FIRST + b" a grant",
    "grants/" + 64 * "a" + ".queue": FIRST + b" a queue",
    f"tokens/{64 * 'a'}/{64 * 'b'}": FIRST + b" a slot",
    "locks/" + 64 * "a" + ".lock": b"00000000000000000007",
    "trust": b"{}",
}
LEFT_OUT = {"audit/log": b"a record", "plans/" + 64 * "c": FIRST + b" a plan"}


def home(path: Path, system: System = SYSTEM) -> Folder:
    """Open the folder of a store."""
    folder = open_folder(str(path / "v1"), system)
    assert folder is not None
    return folder


def make_earlier(path: Path) -> dict[str, str]:
    """Make a store with a ring of the first version; return what a copy of it has."""
    folder = home(path)
    create_ring(folder, ENVIRON)
    update_ring(folder, ENVIRON, lambda ring: ring.changed(version=FIRST_VERSION))
    for name, data in {**FILES, **LEFT_OUT}.items():
        place = path / "v1" / name
        place.parent.mkdir(0o700, parents=True, exist_ok=True)
        for parent in place.relative_to(path).parents:
            (path / parent).chmod(0o700)
        place.write_bytes(data)
        place.chmod(0o600)
    found = digests(str(path / "v1"))
    return {name: one for name, one in found.items() if name not in LEFT_OUT}


def raise_format(folder: Folder) -> object:
    """Raise it as the store's first write does."""
    return raise_version(folder, ENVIRON, lambda: copy_store(folder))


def version_of(path: Path) -> int:
    """Return the version of the ring, which opens."""
    ring = keys.open_ring(home(path), ENVIRON)
    assert ring is not None
    return ring.version


@pytest.mark.slow("plays some 200 calls, each in a store of its own")
@pytest.mark.parametrize("mode", [FAIL, LATE, SHORT, KILL])
def test_every_call_may_fail_or_be_the_last(tmp_path: Path, mode: str) -> None:
    """The ring is of version 2 only where there is a whole copy; the next try gets there."""
    (tmp_path / "made").mkdir(0o700)
    expected = make_earlier(tmp_path / "made")
    for nth in range(1, 500):
        path = tmp_path / str(nth)
        shutil.copytree(tmp_path / "made", path)
        system = FaultySystem(10**9, mode)
        folder = home(path, system)
        system.count, system.nth = 0, nth
        try:
            raise_format(folder)
        except (BrokerError, Killed):
            pass
        has_struck = system.has_struck
        if version_of(path) == VERSION:
            assert digests(str(path / COPY)) == expected
        else:
            assert {**digests(str(path / "v1"))}.items() >= expected.items()
            raise_format(home(path))
            assert version_of(path) == VERSION
            assert digests(str(path / COPY)) == expected
        if mode != KILL:
            assert sorted(os.listdir(path)) == ["v1", COPY]
        if not has_struck:
            return
    raise AssertionError("it never came to an end")


def test_what_can_not_be_read_is_left_out(tmp_path: Path) -> None:
    """A link, a pipe, another's mode: each is damaged in the store too, and stops nothing."""
    expected = make_earlier(tmp_path)
    grants = tmp_path / "v1" / "grants"
    (grants / "link").symlink_to("/etc/passwd")
    os.mkfifo(grants / "pipe", 0o600)
    (grants / "open").write_bytes(b"x")
    (grants / "open").chmod(0o644)
    (grants / "huge").touch(0o600)
    os.truncate(grants / "huge", 2**40)
    raise_format(home(tmp_path))
    assert digests(str(tmp_path / COPY)) == expected


def test_a_folder_that_the_user_can_mend_is_not_left_out(tmp_path: Path) -> None:
    """Its entries open again after the `chmod` that is hinted at; a copy without them is none."""
    expected = make_earlier(tmp_path)
    grants = tmp_path / "v1" / "grants"
    grants.chmod(0o755)
    with pytest.raises(StoreError, match="grants is open to others") as found:
        raise_format(home(tmp_path))
    assert found.value.hint == f"run 'chmod 700 {grants}'"
    assert version_of(tmp_path) == FIRST_VERSION
    assert os.listdir(tmp_path) == ["v1"]
    grants.chmod(0o700)
    raise_format(home(tmp_path))
    assert digests(str(tmp_path / COPY)) == expected


def test_no_grant_of_a_copy_is_older_than_its_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version may commit meanwhile; what it left in the copy was never rolled back."""
    make_earlier(tmp_path)
    lock = tmp_path / "v1" / "locks" / (64 * "a" + ".lock")
    read = Folder.read

    def read_and_commit(folder: Folder, name: str, limit: int = MAX_FILE_BYTES) -> bytes | None:
        data = read(folder, name, limit)
        if folder.path.endswith("/grants"):
            lock.write_bytes(b"00000000000000000008")
        return data

    monkeypatch.setattr(Folder, "read", read_and_commit)
    raise_format(home(tmp_path))
    assert (tmp_path / COPY / "locks" / lock.name).read_bytes() == b"00000000000000000007"


def test_what_is_only_noted_costs_no_token_that_is_there(tmp_path: Path) -> None:
    """Where another process raises the format for too long, a notice is said once more."""
    environ = {**ENVIRON, "HOME": str(tmp_path), "BROKERCTL_HOME": str(tmp_path / "state")}
    opened = open_home(environ)

    def wait_in_vain() -> None:
        raise LockTimeoutError("keys/.lock is held by process 7")

    opened.store.disk.raise_format = wait_in_vain
    answer = AccessToken(
        value=Secret("t"),
        token_type="Bearer",
        expires_at=None,
        scopes=(),
        profile="p",
        issuer="https://i.example",
        subject=None,
        resource=(),
        fingerprint="",
        source="cache",
        broader="more than was asked for",
    )
    assert opened.notices(answer) == ["more than was asked for"]


def test_a_copy_is_private_and_made_anew(tmp_path: Path) -> None:
    """Whatever the umask; of an attempt that got no further nothing is left."""
    expected = make_earlier(tmp_path)
    folder = home(tmp_path)
    before = os.umask(0)
    try:
        copy_store(folder)
        (tmp_path / COPY / "stale").write_bytes(b"")
        (tmp_path / ".tmp-copy-old" / "grants").mkdir(0o700, parents=True)
        (tmp_path / ".tmp-copy-old").chmod(0o700)
        copy_store(folder)
    finally:
        os.umask(before)
    assert digests(str(tmp_path / COPY)) == expected
    assert sorted(os.listdir(tmp_path)) == ["v1", COPY]
    for top, _, names in os.walk(tmp_path / COPY):
        assert os.stat(top).st_mode & 0o777 == 0o700
        assert {os.stat(os.path.join(top, one)).st_mode & 0o777 for one in names} <= {0o600}
    assert find_copy_time(folder) is not None
    assert remove_copy(folder)
    assert not remove_copy(folder)
    assert os.listdir(tmp_path) == ["v1"]


def test_a_link_in_the_place_of_the_copy_is_not_followed(tmp_path: Path) -> None:
    """What it leads to stays; nothing is changed, and the error says what is in the way."""
    make_earlier(tmp_path)
    (tmp_path / "other").mkdir(0o700)
    (tmp_path / "other" / "file").write_bytes(b"")
    (tmp_path / COPY).symlink_to(tmp_path / "other")
    with pytest.raises(StoreError, match="no copy of it could be made"):
        raise_format(home(tmp_path))
    assert version_of(tmp_path) == FIRST_VERSION
    assert os.listdir(tmp_path / "other") == ["file"]
    assert sorted(os.listdir(tmp_path)) == ["other", "v1", COPY]


def test_the_format_is_raised_before_the_first_write_and_once(tmp_path: Path) -> None:
    """By every way to write; where it can't be, nothing is written."""
    make_earlier(tmp_path)
    folder, ring = home(tmp_path), keys.open_ring(home(tmp_path), ENVIRON)
    assert ring is not None
    name, raised = 64 * "d", []

    def refuse() -> None:
        raise StoreError("there is no room")

    store = FileStore(folder, ring, raise_format=refuse)
    for write in (store.disk.write, store.disk.write_unsynced):
        with pytest.raises(StoreError, match="no room"):
            write(GRANT, name, b"{}")
    assert store.disk.read(GRANT, name) is None
    store = FileStore(folder, ring, raise_format=lambda: raised.append(1))
    assert store.disk.read(GRANT, name) is None
    assert raised == []
    store.disk.write_unsynced(GRANT, name, b"{}")
    store.disk.write(GRANT, name, b"{}")
    assert raised == [1]
    assert (tmp_path / "v1" / "grants" / name).read_bytes().startswith(MAGIC)


def test_who_comes_second_has_nothing_to_do(tmp_path: Path) -> None:
    """The ring is read again under the lock: one copy, of the store as it was."""
    expected = make_earlier(tmp_path)
    assert raise_format(home(tmp_path)) is not None
    (tmp_path / "v1" / "grants" / "later").write_bytes(MAGIC)
    assert raise_format(home(tmp_path)) is None
    assert digests(str(tmp_path / COPY)) == expected
