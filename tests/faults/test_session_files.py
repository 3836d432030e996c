"""Private files of a session when the disk does not do its part."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from brokerctl.errors import StoreError
from brokerctl.model import Requester
from brokerctl.platform.system import System
from brokerctl.secret import Secret
from brokerctl.session import Tools
from brokerctl.session.cleanup import SessionEnd
from brokerctl.session.token_files import remove_files, write_files
from tests.session_room import NoLock

CALLS = ("open", "write", "fsync", "rename", "fchmod", "mkdir", "unlink", "rmdir", "listdir")


class Faulty(System):
    """The system, in which one call fails with a full disk from its nth time on, for a while."""

    def __init__(self, name: str, nth: int) -> None:
        self.left = nth
        real = getattr(System, name)

        def call(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - as the call it stands for
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **more)

        setattr(self, name, call)


class NoStore:
    """A store that only remembers which entries there are."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.data = b""

    def find_sealed(self, _kind: int, name: str) -> bytes | None:
        """Return what was remembered last."""
        return self.data if name in self.names else None

    def lock_entry(self, _name: str) -> NoLock:
        """Return a lock that nobody else wants."""
        return NoLock()

    def put_sealed(self, _kind: int, name: str, data: bytes) -> None:
        """Remember."""
        self.data = data
        self.names.add(name)

    def drop_sealed(self, _kind: int, name: str) -> None:
        """Forget."""
        self.names.discard(name)

    def entries(self, _kind: int) -> Any:  # noqa: ANN401 - never called here
        """List nothing."""
        return iter(())


@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("name", CALLS)
def test_failing_call_leaves_no_file(tmp_path: object, name: str, nth: int) -> None:
    """Whichever call fails, no token file is left, or the session's entry and a line say so."""
    said: list[str] = []
    store = NoStore()
    tools = Tools(
        profiles={},
        environ={"XDG_RUNTIME_DIR": str(tmp_path)},
        default_profile=None,
        requester=lambda session: Requester(uid=0, pid=1, session=session),
        get=lambda _request: pytest.fail("no token is asked for here"),
        revoke_own=lambda _session, _profiles: [],
        record=lambda _event, _fields: None,
        store=store,
        name_of=lambda session_id: session_id,
        say=said.append,
        warn=said.append,
        system=Faulty(name, nth),
    )
    os.chmod(str(tmp_path), 0o700)
    ends = SessionEnd("ab" * 16, (), tools, has_files=True)
    ends.begin()
    try:
        paths = ends.fill({"A": Secret("token-a"), "B": Secret("token-b")}, 5.0)
        assert sorted(map(os.path.basename, paths.values())) == ["A", "B"]
    except StoreError as error:
        said_of_it = str(error)
    else:
        said_of_it = ""
    assert "token-" not in said_of_it
    ends.end()
    left = os.listdir(str(tmp_path))
    assert bool(left) <= bool(store.names)
    assert bool(store.names) == bool(said)
    ends.end()
    assert (os.listdir(str(tmp_path)), store.names) == ([], set())


@pytest.mark.parametrize("spoil", ["folder", "mode", "unreadable"])
def test_a_spoilt_folder_keeps_no_token(tmp_path: object, spoil: str) -> None:
    """Whatever the child makes of its folder, the token files in it go."""
    os.chmod(str(tmp_path), 0o700)
    path = os.path.join(str(tmp_path), "brokerctl-" + "cd" * 16)
    write_files(path, {"TOKEN": Secret("token-a"), "ZERO": Secret("token-z")}, System())
    if spoil == "folder":
        os.mkdir(os.path.join(path, "AAA"))
        os.mkdir(os.path.join(path, "UUU"))
        with pytest.raises(StoreError, match="can't remove"):
            remove_files(path, System())
        assert sorted(os.listdir(path)) == ["AAA", "UUU"]
    else:
        os.chmod(path, 0o777 if spoil == "mode" else 0o500)
        remove_files(path, System())
        assert not os.path.exists(path)


def test_only_a_folder_is_emptied(tmp_path: object) -> None:
    """A link that the child put in its folder's place is not followed."""
    other = os.path.join(str(tmp_path), "other")
    os.mkdir(other)
    with open(os.path.join(other, "kept"), "w", encoding="utf-8"):
        pass
    path = os.path.join(str(tmp_path), "brokerctl-" + "ef" * 16)
    os.symlink(other, path)
    with pytest.raises(StoreError):
        remove_files(path, System())
    assert os.listdir(other) == ["kept"]
