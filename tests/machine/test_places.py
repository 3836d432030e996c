"""Something else lies where a file of ours should be: a link, a FIFO, a device or a folder."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.machine.room import answers, behaves, refused, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.room import Machine
    from tests.program import Result


def _socket(path: str, _real: str) -> None:
    short = os.path.join(
        os.path.dirname(path.partition("/state/")[0]), "s"
    )  # an address has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(short)
    os.rename(short, path)


# Each gets the place and where the real file lies now, with the right bytes in it.
THINGS: dict[str, Callable[[str, str], None]] = {
    "link": lambda path, real: os.symlink(real, path),
    "hard link": lambda path, real: os.link(real, path),
    "fifo": lambda path, _: os.mkfifo(path, 0o600),
    "device": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "socket": _socket,
    "folder": lambda path, _: os.mkdir(path, 0o700),
}
FEW = ("link", "fifo", "folder")  # where each probe is a refresh, and all are treated alike


class Place(NamedTuple):
    """A file that lies at rest, the words that use it, and what must come of it."""

    find: Callable[[Machine], str]
    codes: tuple[int, ...]
    words: tuple[str, ...] = ("get", "person")
    things: tuple[str, ...] = tuple(THINGS)
    fine: tuple[str, ...] = ()  # things that are followed or replaced, and do no harm
    is_told: bool = False  # set aside, with a warning and a record


def _key_name(machine: Machine) -> str:
    return next(name for name in os.listdir(machine.path("keys")) if name.startswith("key-"))


def _beside(machine: Machine, kind: str, suffix: str) -> str:
    path = machine.path(kind, os.path.basename(machine.entry("grants")) + suffix)
    write_private(path, "")
    return path


def _metadata(machine: Machine) -> list[str]:
    """Return a grant's note of its profile's own endpoints, and what the issuer says, by size."""
    folder = machine.path("metadata")
    found = sorted((os.path.join(folder, name) for name in os.listdir(folder)), key=os.path.getsize)
    assert len(found) == 2
    return found


def _warm_plan(machine: Machine) -> str:
    shutil.rmtree(machine.path("plans"))
    answers(machine("get", "person"))
    return machine.entry("plans")


FRESH = ("get", "person", "--fresh")
PLACES = {
    "config": Place(lambda m: m.config, (2,), fine=("link", "hard link")),
    "secret": Place(lambda m: m.secret, (2, 6), ("get", "service", "--fresh"), FEW, fine=("link",)),
    "trust": Place(lambda m: m.path("trust"), (0,)),
    "keys/keeper.json": Place(lambda m: m.path("keys", "keeper.json"), (6,)),
    "keys/ring": Place(lambda m: m.path("keys", "ring"), (6,)),
    "keys/key": Place(lambda m: m.path("keys", _key_name(m)), (6,)),
    "grant": Place(lambda m: m.entry("grants"), (6,), FRESH),
    "token": Place(lambda m: m.entry("tokens"), (0,), things=FEW, is_told=True),
    "lock": Place(lambda m: m.entry("locks", ".lock"), (6,), FRESH),
    "log": Place(lambda m: m.path("audit", "log"), (7,)),
    "log.lock": Place(lambda m: m.path("audit", "log.lock"), (7,)),
    "intent": Place(lambda m: _beside(m, "intents", ""), (0,), FRESH, FEW, is_told=True),
    "outcome": Place(lambda m: _beside(m, "grants", ".outcome"), (0,), FRESH, FEW, is_told=True),
    "queue": Place(lambda m: _beside(m, "grants", ".queue"), (0,), ("status",), FEW),
    "plan": Place(_warm_plan, (0,)),
    "metadata": Place(lambda m: _metadata(m)[-1], (0,), FRESH, FEW),
    "endpoints": Place(lambda m: _metadata(m)[0], (0,), FRESH, FEW),
}


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _judge(place: Place, thing: str, done: Result) -> None:
    behaves(done)
    if thing in place.fine or place.codes == (0,):
        assert done.returncode == 0, (thing, done)
        assert ("set aside" in done.stderr) == place.is_told, (thing, done.stderr)
        return
    refused(done, *place.codes)


@pytest.mark.parametrize("name", PLACES)
def test_something_else_in_its_place(machine: Machine, name: str) -> None:
    """It is refused or set aside by the documented code, never followed; put back, all works."""
    place = PLACES[name]
    path = place.find(machine)
    real = f"{path}-real"
    if not os.path.exists(path):
        write_private(path, "{}")
    os.rename(path, real)
    for thing in place.things:
        if thing == "device" and os.geteuid() != 0:
            continue  # only root makes devices; root runs this in CI
        THINGS[thing](path, real)
        _judge(place, thing, machine(*place.words, timeout_s=30))
        _remove(path)
    os.rename(real, path)
    if place.is_told:
        assert [r["outcome"] for r in machine.records() if r["event"] == "store.damaged"]
    machine.works()
    machine.log_is_whole()
