"""Every system call of first use, `rekey` and new keys fails, or is the last one that is made."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import keys
from brokerctl.errors import BrokerError
from brokerctl.keys.create import create_ring
from brokerctl.keys.making import new_keys
from brokerctl.keys.rekey import rekey, update_ring
from brokerctl.platform.private_files import Folder, open_folder
from brokerctl.platform.system import System

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.keys.ring import KeyRing

ENVIRON = {"BROKERCTL_KEEPER": "file"}
CALLS = ("open", "read", "write", "fsync", "fchmod", "rename", "unlink", "mkdir", "flock")
MODES = ("fails", "dies before", "dies after")


class Death(BaseException):
    """The process is gone: nothing catches this, and no call is made after it."""


class FaultySystem(System):
    """Makes the Nth call fail, or die before or after it; closing goes on as in a real death."""

    def __init__(self, fatal: int, mode: str) -> None:
        self.made = 0
        self.fatal = fatal
        self.mode = mode
        for name in CALLS:
            setattr(self, name, self._counted(getattr(System, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any, **named: Any) -> Any:  # noqa: ANN401 - stands for any system call
            self.made += 1
            if self.made > self.fatal and self.mode != "fails":
                raise Death
            if self.made == self.fatal and self.mode == "fails":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if self.made == self.fatal and self.mode == "dies before":
                raise Death
            answer = call(*words, **named)
            if self.made == self.fatal:
                raise Death
            return answer

        return counted


def _home(path: str, system: System | None = None) -> Folder:
    folder = open_folder(path, system or System())
    assert folder is not None
    return folder


def _each_fault(
    folder: Path, prepared: str | None, act: Callable[[Folder], object], mode: str
) -> list[str]:
    """Run `act` with each call at fault in turn, on a fresh copy each; return the copies."""
    left = []
    for fatal in range(1, 500):
        path = str(folder / f"{mode.replace(' ', '-')}-{fatal}")
        if prepared is None:
            os.mkdir(path, 0o700)
        else:
            shutil.copytree(prepared, path)
        system = FaultySystem(10**9, mode)
        home = _home(path, system)
        system.made, system.fatal = 0, fatal
        try:
            act(home)
        except (BrokerError, Death):
            pass
        left.append(path)
        if system.made < fatal:
            return left
    raise AssertionError("it never came to an end")


def _key_files(home: Folder) -> list[str]:
    folder = home.child("keys")
    assert folder is not None
    return [name for name in folder.names() if name.startswith("key-")]


@pytest.mark.parametrize("mode", MODES)
def test_first_use(tmp_path: Path, mode: str) -> None:
    """Afterwards there is a ring that opens, or none, and the next first use makes one."""
    made: list[KeyRing] = []

    def act(home: Folder) -> None:
        made.clear()
        made.append(create_ring(home, ENVIRON)[0])

    for path in _each_fault(tmp_path, None, act, mode):
        home = _home(path)
        ring = keys.open_ring(home, ENVIRON)
        after, _ = create_ring(home, ENVIRON)
        assert ring is None or ring == after
        assert keys.open_ring(home, ENVIRON) == after
        assert len(_key_files(home)) <= 2, "at most one orphan, which nothing was sealed by"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("keeper", ["file", "env"])
def test_rekey(tmp_path: Path, mode: str, keeper: str) -> None:
    """Afterwards the same ring opens, by the old key or the new, and a second `rekey` cleans up."""
    environ = {"BROKERCTL_KEY": "A" * 42 + "E"}
    prepared = str(tmp_path / "prepared")
    ring, _ = create_ring(_home(prepared), ENVIRON)
    for path in _each_fault(tmp_path, prepared, lambda home: rekey(home, environ, keeper), mode):
        home = _home(path)
        assert keys.open_ring(home, environ) == ring
        rekey(home, environ, "file")
        assert keys.open_ring(home, {}) == ring
        assert len(_key_files(home)) <= 2, "at most one orphan, which nothing is sealed by"
        folder = home.child("keys")
        assert folder is not None
        state = keys.read_state(folder)
        assert state is not None
        assert state[0].previous is None


@pytest.mark.parametrize("mode", MODES)
def test_new_keys(tmp_path: Path, mode: str) -> None:
    """Afterwards the old ring opens or the new one, whole."""
    prepared = str(tmp_path / "prepared")
    ring, _ = create_ring(_home(prepared), ENVIRON)
    for path in _each_fault(tmp_path, prepared, lambda home: update_ring(home, {}, new_keys), mode):
        found = keys.open_ring(_home(path), {})
        assert found is not None
        assert found == ring or found.seal_ids == (1, 2)
        assert found.seal_key(1) == ring.seal_key(1)
        assert found.name_key == ring.name_key


@pytest.mark.parametrize("mode", MODES)
def test_opening(tmp_path: Path, mode: str) -> None:
    """A failing read is an error of ours, and nothing on disk is changed by opening."""
    prepared = str(tmp_path / "prepared")
    ring, _ = create_ring(_home(prepared), ENVIRON)
    for path in _each_fault(tmp_path, prepared, lambda home: keys.open_ring(home, {}), mode):
        assert keys.open_ring(_home(path), {}) == ring


def test_a_full_disk_keeps_the_old_ring(tmp_path: Path) -> None:
    """Short writes and ENOSPC while re-keying: the old key goes on working."""

    class FullDisk(System):
        @staticmethod
        def write(fd: int, data: memoryview) -> int:  # type: ignore[override]  # what is called here
            del fd, data
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ring, _ = create_ring(_home(str(tmp_path / "v1")), ENVIRON)
    full = _home(str(tmp_path / "v1"), FullDisk())
    with pytest.raises(BrokerError, match="no space left"):
        rekey(full, {}, "file")
    with pytest.raises(BrokerError, match="no space left"):
        update_ring(full, {}, new_keys)
    home = _home(str(tmp_path / "v1"))
    assert keys.open_ring(home, {}) == ring
    assert len(_key_files(home)) == 1
