"""A session's files when the disk does not do its part, or the command changes what lies there."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.platform.system import System
from tests.renewal_room import SOON_S, Room, make_token, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from brokerctl.model import AccessToken, TokenRequest


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Return a room; its thread has ended afterwards."""
    made = Room(tmp_path)
    yield made
    assert not made.renewal.is_alive()


class Full(System):
    """The system, in which a call has no room for a while."""

    def __init__(self, name: str) -> None:
        self.left, real = 0, getattr(System, name)

        def call(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - as the call it stands for
            if self.left:
                self.left -= 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **more)

        setattr(self, name, call)


@pytest.mark.parametrize("name", ["open", "write", "fsync", "fchmod", "rename", "fstat", "stat"])
def test_a_full_disk_costs_no_second_token(tmp_path: Path, name: str) -> None:
    """What was obtained is put there as soon as there is room; nothing is left beside the file."""
    system = Full(name)
    room = Room(tmp_path, system)

    def get(_: TokenRequest) -> AccessToken:
        system.left = 9
        return make_token(2)

    room.get = get
    room.begin()
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    assert len(room.values("get")) == 1
    assert [fields["fingerprint"] for fields in room.values("token.not_delivered")] == [f"{2:032}"]
    assert len(room.values("warn")) == 1
    assert "no space left" in room.values("warn")[0]
    assert read(room.path) == room.held.token.value.reveal()
    assert os.listdir(os.path.dirname(room.path)) == ["F"]


def take_away(path: str) -> None:
    """Remove the file."""
    os.unlink(path)


def make_folder(path: str) -> None:
    """Put a folder in the file's place."""
    os.unlink(path)
    os.mkdir(path)


def make_link(path: str) -> None:
    """Put a link in the file's place."""
    os.rename(path, path + "2")
    os.symlink(path + "2", path)


def take_folder(path: str) -> None:
    """Move the folder away."""
    folder = os.path.dirname(path)
    os.rename(folder, folder + "2")


def link_folder(path: str) -> None:
    """Put a link to the very same folder in its place."""
    take_folder(path)
    os.symlink(os.path.dirname(path) + "2", os.path.dirname(path))


def other_folder(path: str) -> None:
    """Put another folder there, with a file of that name."""
    take_folder(path)
    os.mkdir(os.path.dirname(path), 0o700)
    with open(path, "w", encoding="utf-8") as file:
        file.write("token 1")


@pytest.mark.parametrize(
    "change", [take_away, make_folder, make_link, take_folder, link_folder, other_folder]
)
def test_what_the_command_took_away_stays_away(
    room: Room, tmp_path: Path, change: Callable[[str], None]
) -> None:
    """No token is asked for, none is written anywhere; that is said once, and the thread ends."""
    change(room.path)
    room.begin()
    room.wait_for(lambda: not room.renewal.is_alive())
    assert [name for name, _ in room.events] == ["warn"]
    assert "no token of 'p' is put there" in room.values("warn")[0]
    files = [os.path.join(at, name) for at, _, names in os.walk(tmp_path) for name in names]
    assert not [one for one in files if os.path.isfile(one) and "token 2" in read(one)]


def test_a_folder_that_others_can_read_gets_no_token(room: Room) -> None:
    """Until it is closed to them again."""
    folder = os.path.dirname(room.path)
    os.chmod(folder, 0o755)  # noqa: S103 - what is refused
    room.begin()
    until = time.monotonic() + SOON_S
    while not room.values("warn") and time.monotonic() < until:
        time.sleep(0.001)
    os.chmod(folder, 0o700)
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    assert len(room.values("warn")) == 1
    assert "is open to others" in room.values("warn")[0]
    assert stat.S_IMODE(os.stat(room.path).st_mode) == 0o600


def test_a_store_that_is_full_keeps_the_old_token(tmp_path: Path) -> None:
    """Whoever comes after a SIGKILL must know when the last token ends, before it can be read."""
    room = Room(tmp_path)
    room.refused = 3
    room.begin()
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    assert len(room.values("get")) == 1
