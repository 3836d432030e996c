"""Real processes at the first use of an empty home, and during a `rekey`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from brokerctl import keys
from brokerctl.errors import LockTimeoutError, StoreError
from brokerctl.keys.create import create_ring
from brokerctl.keys.lock import locked
from brokerctl.keys.making import new_keys
from brokerctl.keys.rekey import rekey, update_ring
from brokerctl.platform.private_files import Folder, open_folder
from tests.contracts.secret_service import SecretService
from tests.program import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = os.path.join(ROOT, "src")
FIRST_USE = f"""
import os, sys
sys.path.insert(0, {SOURCES!r})
from brokerctl import keys
from brokerctl.platform.private_files import open_folder
from brokerctl.keys.create import create_ring
os.read(int(sys.argv[2]), 1)  # all start when the other end is closed
home = open_folder(sys.argv[1])
ring = keys.open_ring(home, os.environ)
if ring is None:
    ring = create_ring(home, os.environ)[0]
print(ring.fingerprint("x"))
"""
READER = f"""
import os, sys
sys.path.insert(0, {SOURCES!r})
from brokerctl import keys
from brokerctl.platform.private_files import open_folder
home = open_folder(sys.argv[1])
found = set()
print("started", flush=True)
while not os.path.exists(sys.argv[2]):
    found.add(keys.open_ring(home, {{}}).fingerprint("x"))
print(*found)
"""


def _home(path: str) -> Folder:
    folder = open_folder(path)
    assert folder is not None
    return folder


def _race(count: int, home: str, environ: dict[str, str]) -> list[str]:
    waiting, starting = os.pipe()
    children = [
        subprocess.Popen(
            [sys.executable, "-I", "-c", FIRST_USE, home, str(waiting)],
            env=environ,
            stdout=subprocess.PIPE,
            pass_fds=[waiting],
            text=True,
        )
        for _ in range(count)
    ]
    os.close(waiting)
    os.close(starting)
    answers = [child.communicate(timeout=100)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0] * count
    return answers


def test_32_at_once_make_one_ring(tmp_path: Path) -> None:
    """All get the same ring, and it is the one that stays; no key is left over."""
    path = str(tmp_path / "v1")
    answers = _race(32, path, {"BROKERCTL_KEEPER": "file"})
    ring = keys.open_ring(_home(path), {})
    assert ring is not None
    assert set(answers) == {ring.fingerprint("x")}
    names = sorted(os.listdir(f"{path}/keys"))
    assert [name.partition("-")[0] for name in names] == [".lock", "keeper.json", "key", "ring"]


def test_8_at_once_with_the_os_keyring(tmp_path: Path) -> None:
    """The same through a real keyring, which is asked by the first of them."""
    path = str(tmp_path / "v1")
    with SecretService() as desktop:
        answers = _race(8, path, desktop.environ)
        ring = keys.open_ring(_home(path), desktop.environ)
    assert ring is not None
    assert set(answers) == {ring.fingerprint("x")}
    keys.Means(_home(f"{path}/keys"), {}).cache.drop(_wrap_id(path))


def test_readers_go_on_during_rekey(tmp_path: Path) -> None:
    """Processes that open the ring all the time never see one that does not open."""
    path, stop = str(tmp_path / "v1"), str(tmp_path / "stop")
    home = _home(path)
    ring, _ = create_ring(home, {"BROKERCTL_KEEPER": "file"})
    readers = [
        subprocess.Popen(
            [sys.executable, "-I", "-c", READER, path, stop], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "started\n"
    for _ in range(40):
        rekey(home, {}, "file")
        update_ring(home, {}, new_keys)
    (tmp_path / "stop").touch()
    for reader in readers:
        assert reader.communicate(timeout=60)[0].strip() == ring.fingerprint("x")
        assert reader.returncode == 0


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    """A holder that does not end is named, with the command that lets it go on."""
    folder = _home(str(tmp_path / "keys"))
    with locked(folder), pytest.raises(LockTimeoutError) as caught, locked(folder, wait_s=0.05):
        pass
    assert f"held by process {os.getpid()}" in caught.value.message
    assert caught.value.hint == f"if it is stopped: kill -CONT {os.getpid()}"


def test_a_lost_ring_is_not_made_anew_beside_grants(tmp_path: Path) -> None:
    """Beginning anew would make every grant unreadable for good: refused, with the way back."""
    home = _home(str(tmp_path / "v1"))
    create_ring(home, {"BROKERCTL_KEEPER": "file"})
    grants, folder = home.child("grants"), home.child("keys")
    assert grants is not None
    assert folder is not None
    grants.write("aa", b"sealed")
    folder.unlink("ring")
    with pytest.raises(StoreError, match="ring is missing") as caught:
        create_ring(home, {"BROKERCTL_KEEPER": "file"})
    assert "backup" in (caught.value.hint or "")
    folder.write("ring", b"BKRK\x03" + bytes(80))
    with pytest.raises(StoreError, match="has format 3"):
        keys.open_ring(home, {})


def _wrap_id(path: str) -> str:
    folder = _home(f"{path}/keys")
    state = keys.read_state(folder)
    assert state is not None
    return state[0].wrap_id
