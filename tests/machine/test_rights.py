"""Whose a file is, and who else may read or write it: refused where somebody else could have."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.machine.room import (
    SOMEBODY_ELSE,
    WITHOUT_RIGHTS,
    answers,
    refused,
    require_root,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.room import Machine

NOBODY = 65534
UNREADABLE, READ, WRITE = 0, 0o640, 0o602
FRESH = ("--fresh",)


class Kept(NamedTuple):
    """A file or folder, the exit code where others may use it, and what is asked for."""

    find: Callable[[Machine], str]
    code: int
    options: tuple[str, ...] = ()
    may_be_read: bool = False  # by others
    foreign: int | None = None  # the code where it is somebody else's; None: as `code`
    is_made_anew: bool = False  # it is of no worth, and no reason to stop


def key(machine: Machine) -> str:
    """Return the path of the file that the wrapping key lies in."""
    names = os.listdir(machine.path("keys"))
    return machine.path("keys", next(name for name in names if name.startswith("key-")))


KEPT = {
    "config": Kept(lambda m: m.config, 2, may_be_read=True),
    "keeper": Kept(lambda m: m.path("keys", "keeper.json"), 6),
    "ring": Kept(lambda m: m.path("keys", "ring"), 6),
    "key": Kept(key, 6),
    "grant": Kept(lambda m: m.entry("grants"), 6, FRESH),
    "token": Kept(lambda m: m.entry("tokens"), 6, foreign=0),
    "lock": Kept(lambda m: m.entry("locks", ".lock"), 6, FRESH),
    "log": Kept(lambda m: m.path("audit", "log"), 7),
    "log.lock": Kept(lambda m: m.path("audit", "log.lock"), 7),
    "plan": Kept(lambda m: m.entry("plans"), 0, foreign=0, is_made_anew=True),
    "home/": Kept(lambda m: m.home, 2, may_be_read=True),
    "state/": Kept(lambda m: os.path.dirname(m.path()), 6),
    "v1/": Kept(lambda m: m.path(), 6),
    "audit/": Kept(lambda m: m.path("audit"), 6),
    "keys/": Kept(lambda m: m.path("keys"), 6),
    "grants/": Kept(lambda m: m.path("grants"), 6, FRESH),
}


def unseal(machine: Machine, kept: Kept) -> str:
    """Return the path, with nothing in the way of a hand-out."""
    shutil.rmtree(machine.path("plans"))  # of another home
    answers(machine("get", "person"))
    return kept.find(machine)


@pytest.mark.parametrize("name", KEPT)
def test_a_mode(machine: Machine, name: str) -> None:
    """What others can use is refused with the command that mends it; mended, all works."""
    kept = KEPT[name]
    path = unseal(machine, kept)
    was = os.stat(path).st_mode
    for mode in (UNREADABLE, READ, WRITE):
        os.chmod(path, mode | (mode & 0o444) >> 2 if name.endswith("/") else mode)
        done = machine.under(WITHOUT_RIGHTS, "get", "person", *kept.options)
        if mode == READ and kept.may_be_read:
            answers(done)
        elif kept.is_made_anew:
            assert done.returncode == 0, done.stderr
            assert mode == UNREADABLE or "open to others: it was made anew" in done.stderr
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        else:
            refused(done, kept.code)
            assert mode == UNREADABLE or "brokerctl: hint: run 'chmod " in done.stderr
            assert mode == UNREADABLE or done.stderr.endswith(f" {path}'\n")
        os.chmod(path, was)
    machine.works()
    machine.log_is_whole()


@pytest.mark.parametrize("name", KEPT)
def test_another_owner(machine: Machine, name: str) -> None:
    """What somebody else made is refused, or set aside where it can be had anew; chown mends it."""
    require_root()
    kept = KEPT[name]
    path = unseal(machine, kept)
    os.chown(path, NOBODY, NOBODY)
    done = machine("get", "person", *kept.options)
    if kept.foreign == 0:
        assert done.returncode == 0, done.stderr
    else:
        refused(done, kept.code)
        assert "belong" in done.stderr
    if os.path.exists(path):
        os.chown(path, 0, 0)
    machine.works()
    machine.log_is_whole()


@pytest.mark.parametrize("command", [("get", "person"), ("status",), ("revoke", "--all")])
def test_somebody_else_s_state(machine: Machine, command: tuple[str, ...]) -> None:
    """Another user, even one who may read all of it, gets nothing and changes nothing."""
    require_root()
    done = machine.under(SOMEBODY_ELSE, *command)
    refused(done, 6)
    assert "belongs to another user" in done.stderr
    machine.works()


def test_a_hint_can_be_pasted(machine: Machine) -> None:
    """A path that a shell would take apart is quoted, and a long one is not cut."""
    folder = os.path.join(machine.home, 'a "b" $c', "d" * 200)
    os.makedirs(folder, mode=0o770)
    os.chmod(folder, 0o770)  # noqa: S103 - the mode to be refused
    where = {"BROKERCTL_CONFIG": os.path.join(folder, "config.toml")}
    shutil.copy(machine.config, folder)
    done = machine("get", "person", env=where)
    refused(done, 2)
    hint = done.stderr.splitlines()[1]
    command = hint.partition("run '")[2].removesuffix("'")
    subprocess.run(["sh", "-c", command], check=True)
    assert os.stat(folder).st_mode & 0o777 == 0o750
