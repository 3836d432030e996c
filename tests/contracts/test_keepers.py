"""What every keeper of the wrapping key promises, held against each of them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from brokerctl import keys
from brokerctl.errors import KeyLockedError, StoreError, UsageError
from brokerctl.keys import Means
from brokerctl.keys.create import create_ring, new_wrap
from brokerctl.keys.keyring import KeyringKeeper
from brokerctl.keys.making import new_key_text
from brokerctl.keys.rekey import rekey
from brokerctl.keys.unlock import find_key_state, lock, unlock
from brokerctl.model import KEEPERS
from brokerctl.platform.private_files import Folder, open_folder
from tests.contracts.secret_service import SecretService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brokerctl.keys.pin import Pin


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Folder]:
    """Return an empty v1 folder; its key does not stay behind in the kernel."""
    folder = _home(str(tmp_path / "v1"))
    yield folder
    lock(folder, {})


@pytest.fixture(scope="module")
def desktop() -> Iterator[SecretService]:
    """One desktop session for the module."""
    with SecretService() as running:
        yield running


def _home(path: str) -> Folder:
    folder = open_folder(path)
    assert folder is not None
    return folder


class NoCache:
    """A kernel that keeps nothing."""

    def find(self, wrap_id: str) -> bytes | None:
        """Find nothing."""
        del wrap_id
        return None

    def put(self, wrap_id: str, key: bytes, timeout_s: int) -> bool:
        """Keep nothing."""
        del wrap_id, key, timeout_s
        return False

    def drop(self, wrap_id: str) -> bool:
        """Have nothing to drop."""
        del wrap_id
        return False


class KeeperContract:
    """The promises; a subclass names the keeper and gives its environment."""

    name = ""

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        """Return the environment in which this keeper works."""
        raise NotImplementedError

    @pytest.fixture
    def means(self, home: Folder, environ: dict[str, str]) -> Means:
        """Return what the keeper gets."""
        folder = home.child("keys")
        assert folder is not None
        return Means(folder, environ, cache=NoCache())

    def test_fetches_what_it_made(self, means: Means) -> None:
        """A key that was made is had again by a new instance, from its pin alone."""
        pin, key = new_wrap(self.name, means)
        assert len(key) == 32
        assert self._fetch(pin, means) == key

    def test_keeps_two_at_once(self, means: Means) -> None:
        """Both keys of a rekey can be had while it is under way, and one can be dropped."""
        old, old_key = new_wrap(self.name, means)
        new, new_key = new_wrap(self.name, means)
        assert old.wrap_id != new.wrap_id
        assert self._fetch(old, means) == old_key
        keys.keeper(self.name, means).drop(old)
        keys.keeper(self.name, means).drop(old)
        assert self._fetch(new, means) == new_key

    def test_first_use_pins_it(self, home: Folder, environ: dict[str, str]) -> None:
        """The first use makes a ring with this keeper; later uses open the same one."""
        ring, _ = create_ring(home, {**environ, "BROKERCTL_KEEPER": self.name})
        assert keys.open_ring(home, environ) == ring
        lock(home, environ)
        assert keys.open_ring(home, environ) == ring
        state = find_key_state(home, environ)
        assert state is not None
        assert state.keeper == self.name

    def test_rekey_moves_the_same_ring(self, home: Folder, environ: dict[str, str]) -> None:
        """The ring is the same before, at and after a rekey to this keeper and away again."""
        ring, _ = create_ring(home, {"BROKERCTL_KEEPER": "file"})
        for keeper in (self.name, self.name, "file"):
            rekey(home, environ, keeper)
            assert keys.open_ring(home, environ) == ring
        folder = home.child("keys")
        assert folder is not None
        assert len([name for name in folder.names() if name.startswith("key-")]) == 1

    def test_keeps_no_key_in_the_pin(self, home: Folder, environ: dict[str, str]) -> None:
        """Nothing of the wrapping key is in keeper.json."""
        folder = home.child("keys")
        assert folder is not None
        pin, key = new_wrap(self.name, Means(folder, environ, cache=NoCache()))
        assert key.hex() not in repr(pin)
        assert keys.pins.parse_pin(keys.pins.render_pin(pin)) == pin

    def _fetch(self, pin: Pin, means: Means) -> bytes:
        return keys.keeper(self.name, means).fetch(pin)


class TestFile(KeeperContract):
    """The 0600 file."""

    name = "file"

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        """Return nothing: a file needs nothing."""
        return {}

    def test_is_private(self, means: Means) -> None:
        """The file is readable by its owner alone, whatever the umask; open to others: refused."""
        old = os.umask(0)
        try:
            pin, _ = new_wrap("file", means)
        finally:
            os.umask(old)
        path = f"{means.folder.path}/key-{pin.wrap_id}"
        assert os.stat(path).st_mode & 0o777 == 0o600
        os.chmod(path, 0o640)
        with pytest.raises(StoreError, match="open to others"):
            self._fetch(pin, means)

    @pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 43, b"=" * 44, b"A" * 60])
    def test_refuses_what_is_no_key(self, means: Means, content: bytes) -> None:
        """A cut or foreign file is an error that names it, not a key."""
        pin, _ = new_wrap("file", means)
        means.folder.write(f"key-{pin.wrap_id}", content)
        with pytest.raises(StoreError, match="not a key"):
            self._fetch(pin, means)

    def test_a_missing_file_says_so(self, means: Means) -> None:
        """The message names the file that must come back."""
        pin, _ = new_wrap("file", means)
        means.folder.unlink(f"key-{pin.wrap_id}")
        with pytest.raises(KeyLockedError, match=f"key-{pin.wrap_id} is missing"):
            self._fetch(pin, means)


class TestEnv(KeeperContract):
    """BROKERCTL_KEY."""

    name = "env"

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        """Return a new key."""
        return {"BROKERCTL_KEY": new_key_text()}

    def test_is_chosen_when_it_is_set(self, home: Folder, environ: dict[str, str]) -> None:
        """BROKERCTL_KEY alone makes it the keeper; without it the store is locked."""
        _, notice = create_ring(home, environ)
        assert notice is None
        with pytest.raises(KeyLockedError, match="BROKERCTL_KEY, which is not set"):
            keys.open_ring(home, {})

    def test_another_key_is_refused(self, home: Folder, environ: dict[str, str]) -> None:
        """A wrong key opens nothing and the message says whose fault it is."""
        create_ring(home, environ)
        with pytest.raises(StoreError, match="BROKERCTL_KEY is not the key of"):
            keys.open_ring(home, {"BROKERCTL_KEY": new_key_text()})


class TestPassphrase(KeeperContract):
    """Argon2id of a passphrase."""

    name = "passphrase"

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        """Return a passphrase."""
        return {"BROKERCTL_PASSPHRASE": "correct horse"}

    def test_locks_and_unlocks(self, home: Folder, environ: dict[str, str]) -> None:
        """Without the passphrase, or with another, it is locked; the hint says what to run."""
        create_ring(home, {**environ, "BROKERCTL_KEEPER": "passphrase"})
        lock(home, {})
        another = "BROKERCTL_PASSPHRASE has another one"  # `unlock` would take that one too
        for wrong, hint in (("", "run 'brokerctl unlock'"), ("wrong", another)):
            with pytest.raises(KeyLockedError) as caught:
                keys.open_ring(home, {"BROKERCTL_PASSPHRASE": wrong} if wrong else {})
            assert caught.value.hint == hint
            assert caught.value.exit_code == 6
        state = find_key_state(home, {})
        assert state is not None
        assert state.is_locked

    def test_is_typed_twice_at_first(self, home: Folder) -> None:
        """A new passphrase that differs from its repetition makes nothing; nobody asks `get`."""
        typed = iter(["one", "two", "same", "same"])
        environ = {"BROKERCTL_KEEPER": "passphrase"}
        with pytest.raises(KeyLockedError, match="nobody can be asked"):
            create_ring(home, environ)
        with pytest.raises(UsageError, match="differ"):
            unlock(home, environ, ask=lambda _: next(typed))
        assert keys.open_ring(home, environ) is None
        done = unlock(home, environ, lambda: 60, ask=lambda _: next(typed))
        assert (done.keeper, done.for_s) == ("passphrase", 60)
        lock(home, environ)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"ops":3', '"ops":1'),
            ('"ops":3', '"ops":4294967295'),
            ('"memory":134217728', '"memory":8192'),
            ('"memory":134217728', '"memory":1099511627776'),
            ('"kdf":"argon2id"', '"kdf":"md5"'),
            ('"salt":"', '"salt":"00'),
        ],
    )
    def test_edited_parameters_are_refused_unused(
        self, home: Folder, environ: dict[str, str], old: str, new: str
    ) -> None:
        """Cheap, dear or foreign parameters end at once, before any memory is taken."""
        create_ring(home, {**environ, "BROKERCTL_KEEPER": "passphrase"})
        lock(home, environ)
        folder = home.child("keys")
        assert folder is not None
        text = (folder.read("keeper.json") or b"").decode()
        assert old in text
        folder.write("keeper.json", text.replace(old, new).encode())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        with pytest.raises(StoreError, match="passphrase's"):
            keys.open_ring(home, environ)
        assert time.monotonic() - began < 1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


class TestKeyring(KeeperContract):
    """The Secret Service of a real gnome-keyring over a real bus."""

    name = "keyring"

    @pytest.fixture
    def environ(self, desktop: SecretService) -> dict[str, str]:
        """Return the desktop session's environment."""
        return desktop.environ

    def test_is_the_first_choice(self, home: Folder, environ: dict[str, str]) -> None:
        """A keyring that answers is chosen without being asked for, and nothing needs saying."""
        _, notice = create_ring(home, environ)
        assert notice is None
        state = find_key_state(home, environ)
        assert state is not None
        assert state.keeper == "keyring"
        lock(home, environ)

    def test_ignores_what_the_environment_wants(
        self, home: Folder, environ: dict[str, str], tmp_path: Path
    ) -> None:
        """Neither PYTHON_KEYRING_BACKEND, nor keyringrc, nor a property picks the back end."""
        config = tmp_path / "config" / "python_keyring"
        config.mkdir(parents=True)
        (config / "keyringrc.cfg").write_text(
            "[backend]\ndefault-keyring=keyring.backends.null.Keyring\n"
        )
        hostile = {
            **environ,
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "KEYRING_PROPERTY_PREFERRED_COLLECTION": "/org/freedesktop/secrets/collection/session",
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "BROKERCTL_KEEPER": "keyring",
        }
        ring, _ = create_ring(home, hostile)
        lock(home, environ)
        assert keys.open_ring(home, environ) == ring
        lock(home, environ)


def test_a_herd_asks_a_slow_keeper_once(tmp_path: Path) -> None:
    """Many that find the cache empty at once derive one key between them, not one each."""

    class Remembering(NoCache):
        def __init__(self) -> None:
            self.kept: dict[str, bytes] = {}
            self.puts = 0

        def find(self, wrap_id: str) -> bytes | None:
            return self.kept.get(wrap_id)

        def put(self, wrap_id: str, key: bytes, timeout_s: int) -> bool:
            self.puts += 1
            self.kept[wrap_id] = key
            return timeout_s > 0

    environ = {"BROKERCTL_KEEPER": "passphrase", "BROKERCTL_PASSPHRASE": "correct horse"}
    home, cache = _home(str(tmp_path / "v1")), Remembering()
    ring, _ = create_ring(home, environ, unlock_for=lambda: 0)

    def open_one() -> bool:
        folder = _home(f"{home.path}/keys")
        return keys.open_state(Means(folder, environ, cache=cache)) == ring

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: open_one(), range(8)))
    assert cache.puts == 1


def test_every_keeper_has_its_contract() -> None:
    """A keeper in the table without a subclass here is not finished."""
    assert {cls.name for cls in KeeperContract.__subclasses__()} == set(KEEPERS)


def test_a_locked_keyring_is_not_waited_for(tmp_path: Path) -> None:
    """Locked: `get` ends at once with exit 6; first use takes the file and says so."""
    with SecretService() as desktop:
        home = _home(str(tmp_path / "v1"))
        ring, _ = create_ring(home, desktop.environ)
        desktop.call("lock")
        state = find_key_state(home, desktop.environ)
        assert state is not None
        if state.is_cached:
            assert keys.open_ring(home, desktop.environ) == ring, "the kernel's copy serves"
        lock(home, desktop.environ)
        with pytest.raises(KeyLockedError, match="the OS keyring is locked"):
            keys.open_ring(home, desktop.environ)
        _, notice = create_ring(_home(str(tmp_path / "other")), desktop.environ)
        assert notice is not None
        assert notice.startswith("the OS keyring is locked, so the key is kept in the file /")


def test_a_hung_keyring_is_given_up(tmp_path: Path) -> None:
    """A daemon that never answers costs the time limit and no more, and its child is gone."""
    with SecretService() as desktop:
        folder = _home(str(tmp_path / "keys"))
        desktop.stop(signal=signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(KeyLockedError, match=r"no answer within 0\.3 s"):
            KeyringKeeper(Means(folder, desktop.environ), answer_s=0.3).make("ab" * 16)
        assert time.monotonic() - began < 20
        desktop.stop(signal=signal.SIGCONT)


@pytest.mark.parametrize("printed", ["", "ready", "ready\\nnonsense", "ready\\n[1]", "no"])
def test_a_keyring_process_that_fails_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    """Whatever Python or the libraries print or break, the error is ours."""
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\nprintf '{printed}\\n'\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    means = Means(_home(str(tmp_path / "keys")), {})
    with pytest.raises(KeyLockedError, match="the OS keyring"):
        KeyringKeeper(means, answer_s=0.5).make("ab" * 16)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(KeyLockedError, match="does not start"):
        KeyringKeeper(means).make("ab" * 16)


def test_no_keyring_means_the_file_said_once(tmp_path: Path) -> None:
    """Without a bus the file is the keeper; the notice names it, once."""
    home = _home(str(tmp_path / "v1"))
    _, notice = create_ring(home, {})
    assert notice is not None
    assert f"so the key is kept in the file {home.path}/keys/key-" in notice
    assert create_ring(home, {})[1] is None


def test_asking_for_the_keyring_by_name_never_falls_back(tmp_path: Path) -> None:
    """BROKERCTL_KEEPER=keyring without a keyring is an error and makes nothing."""
    home = _home(str(tmp_path / "v1"))
    with pytest.raises(KeyLockedError, match="not here"):
        create_ring(home, {"BROKERCTL_KEEPER": "keyring"})
    assert keys.open_ring(home, {}) is None


def test_the_child_loads_no_plug_ins(tmp_path: Path) -> None:
    """Keyring's entry points are not even looked at, so an installed back end has no way in."""
    source = os.path.join(os.path.dirname(keys.__file__), "keyring_child.py")
    code = (
        "import sys, runpy, importlib.metadata as m\n"
        "m.entry_points = lambda **_: sys.exit('entry points were read')\n"
        "sys.argv = ['x']\n"
        f"runpy.run_path({source!r}, run_name='__main__')\n"
    )
    request = b'{"do":"fetch","service":"s","user":"u","secret":null,"may_prompt":false}\n'
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        input=request,
        capture_output=True,
        check=True,
        env={"HOME": str(tmp_path)},
        timeout=60,
    )
    assert b"not here" in done.stdout
