"""Which keeper it is, what the environment may say, and who may read what."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from brokerctl import keys
from brokerctl.errors import StoreError, UsageError
from brokerctl.keys.create import create_ring
from brokerctl.keys.env import find_given
from brokerctl.keys.making import new_key_text
from brokerctl.platform.private_files import Folder, open_folder
from brokerctl.platform.system import SYSTEM
from brokerctl.secret import Secret
from tests.program import ROOT, require_tool

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = os.path.join(ROOT, "src")
LIGHT = frozenset({"_json", "_operator", "_sodium", "binascii", "errno", "fcntl", "stat", "time"})
LIGHT |= {"__future__", "_cffi_backend", "brokerctl", "nacl", "os", "posix", "posixpath", "sys"}


@pytest.fixture
def home(tmp_path: Path) -> Folder:
    """Return an empty v1 folder."""
    folder = open_folder(str(tmp_path / "v1"))
    assert folder is not None
    return folder


def test_the_choice_is_pinned(home: Folder) -> None:
    """A variable that appears later switches nothing in silence; a contradiction is an error."""
    ring, _ = create_ring(home, {"BROKERCTL_KEEPER": "file"})
    assert keys.open_ring(home, {"BROKERCTL_KEY": new_key_text()}) == ring
    with pytest.raises(UsageError, match="'env' and the key of this store is kept by 'file'"):
        keys.open_ring(home, {"BROKERCTL_KEEPER": "env"})


def test_the_configuration_chooses_below_the_environment(home: Folder, tmp_path: Path) -> None:
    """`keys.keeper` decides at first use, unless BROKERCTL_KEEPER does."""
    environ = {"BROKERCTL_KEY": new_key_text()}
    create_ring(home, environ, "file")
    assert keys.open_ring(home, {}) is not None
    other = open_folder(str(tmp_path / "other"))
    assert other is not None
    create_ring(other, {**environ, "BROKERCTL_KEEPER": "env"}, "file")
    with pytest.raises(StoreError):
        keys.open_ring(other, {})


def test_an_unknown_keeper_is_named(home: Folder) -> None:
    """The message lists what there is, and nothing is made."""
    with pytest.raises(UsageError, match="'vault'") as caught:
        create_ring(home, {"BROKERCTL_KEEPER": "vault"})
    assert caught.value.hint == "one of keyring, passphrase, file, env"
    assert keys.open_ring(home, {}) is None


def test_nothing_is_created_by_looking(home: Folder) -> None:
    """Opening a home without a ring leaves it as it is."""
    assert keys.open_ring(home, {}) is None
    assert os.listdir(home.path) == []


@pytest.mark.parametrize("value", ["short", "A" * 42 + "B", "A" * 43 + "==", " " + "A" * 43, "é"])
def test_a_key_that_is_none_is_refused_unseen(home: Folder, value: str) -> None:
    """A malformed BROKERCTL_KEY is exit 6; the message does not repeat it."""
    with pytest.raises(StoreError, match="not base64url of 32 bytes") as caught:
        create_ring(home, {"BROKERCTL_KEY": value})
    assert value not in caught.value.message
    assert caught.value.hint == "run 'brokerctl store key' for a new one"


def test_a_file_gives_the_key(home: Folder, tmp_path: Path) -> None:
    """BROKERCTL_KEY_FILE is read through links, as Kubernetes mounts it; one newline may end it."""
    key = new_key_text()
    real = tmp_path / "real"
    real.write_text(key + "\n")
    real.chmod(0o444)
    (tmp_path / "link").symlink_to(real)
    ring, _ = create_ring(home, {"BROKERCTL_KEY_FILE": str(tmp_path / "link")})
    assert keys.open_ring(home, {"BROKERCTL_KEY": key}) == ring


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=repr)
def test_a_line_end_is_no_part_of_what_is_given(tmp_path: Path, end: str) -> None:
    """In a variable as in a file: a passphrase in both must open the same store."""
    path = tmp_path / "given"
    path.write_bytes(f" pass phrase {end}".encode())
    path.chmod(0o600)
    for environ in ({"X": f" pass phrase {end}"}, {"X_FILE": str(path)}):
        assert find_given("X", environ, SYSTEM) == Secret(" pass phrase ")


def test_both_forms_at_once_are_refused(tmp_path: Path) -> None:
    """Which of the two counts is not for us to guess."""
    environ = {"X": "a", "X_FILE": str(tmp_path / "f")}
    with pytest.raises(UsageError, match="both X and X_FILE"):
        find_given("X", environ, SYSTEM)


def test_a_file_that_others_write_is_refused(tmp_path: Path) -> None:
    """So are folders, missing files, what is too large and what is no text."""
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o666)
    environ = {"X_FILE": str(path)}
    with pytest.raises(StoreError, match="written to by others"):
        find_given("X", environ, SYSTEM)
    path.chmod(0o600)
    path.write_bytes(b"\xff")
    with pytest.raises(StoreError, match="not text"):
        find_given("X", environ, SYSTEM)
    path.write_bytes(bytes(5000))
    with pytest.raises(StoreError, match="larger"):
        find_given("X", environ, SYSTEM)
    for other in (tmp_path, tmp_path / "none"):
        with pytest.raises(StoreError, match=str(other)):
            find_given("X", {"X_FILE": str(other)}, SYSTEM)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_reads_nothing(home: Folder) -> None:
    """As another uid neither the ring, nor the key, nor even their names can be read."""
    create_ring(home, {"BROKERCTL_KEEPER": "file"})
    setpriv = require_tool("setpriv")
    for parent in (home.path, os.path.dirname(home.path)):
        for name in ("keys", "keys/ring", "keys/keeper.json", ""):
            words = ["ls", f"{parent}/{name}"] if parent == home.path else ["ls", home.path]
            done = subprocess.run(
                [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", *words],
                capture_output=True,
                check=False,
            )
            assert done.returncode != 0
            assert done.stdout == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_files_of_another_user_are_refused(home: Folder) -> None:
    """A ring or key that somebody else owns, or that has a second name, is not used."""
    create_ring(home, {"BROKERCTL_KEEPER": "file"})
    ring = f"{home.path}/keys/ring"
    os.chown(ring, 65534, 65534)
    with pytest.raises(StoreError, match="belongs to another user"):
        keys.open_ring(home, {})
    os.chown(ring, 0, 0)
    os.link(ring, f"{home.path}/keys/second")
    with pytest.raises(StoreError, match="hard link"):
        keys.open_ring(home, {})
    os.unlink(f"{home.path}/keys/second")
    os.rename(ring, f"{ring}-moved")
    os.symlink(f"{ring}-moved", ring)
    with pytest.raises(StoreError, match="symbolic link"):
        keys.open_ring(home, {})


@pytest.mark.parametrize("keeper", ["file", "env", "passphrase"])
def test_opening_is_light(home: Folder, keeper: str) -> None:
    """Opening by file, variable or kernel loads these modules and no others (design, 9)."""
    environ = {
        "BROKERCTL_KEEPER": keeper,
        "BROKERCTL_KEY": new_key_text(),
        "BROKERCTL_PASSPHRASE": "correct horse",
    }
    create_ring(home, environ, unlock_for=lambda: 60)
    code = (
        f"import sys; sys.path.insert(0, {SOURCES!r}); before = set(sys.modules)\n"
        "import os\n"
        "from brokerctl.platform.private_files import open_folder; from brokerctl import keys\n"
        "assert keys.open_ring(open_folder(sys.argv[1]), os.environ) is not None\n"
        "keys.harden()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, home.path],
        env=environ,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = done.stdout.split()
    foreign = {name for name in loaded if name.partition(".")[0] not in LIGHT}
    own = {name for name in loaded if name.startswith("brokerctl.keys.")}
    light = {f"brokerctl.keys.{name}" for name in ("pin", "ring")}
    kept = {
        "file": {"brokerctl.keys.file"},
        "env": {"brokerctl.keys.env"},
        "passphrase": {"brokerctl.keys.kernel"},
    }[keeper]
    if "brokerctl.keys.passphrase" in own:
        pytest.skip("this kernel, or what surrounds it, keeps no keys")
    assert own == light | kept
    assert foreign == set()
