"""Entries that were changed, swapped, cut or put back: told, set aside, and never believed."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.machine.room import answers, behaves, refused, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.room import Machine

FRESH = ("get", "person", "--fresh")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(data)


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a flipped bit": _flip,
    "a wrong start": lambda data: b"X" + data[1:],
    "half of it": lambda data: data[: len(data) // 2],
    "nothing": lambda _: b"",
    "zeros": lambda data: bytes(len(data)),
    "more": lambda data: data + b"x",
    "five megabytes": lambda data: data + bytes(5 << 20),
}
# Where, what is asked for, and the exit code; 0: it is got anew.
ENTRIES: dict[str, tuple[Callable[[Machine], str], tuple[str, ...], int]] = {
    "grant": (lambda m: m.entry("grants"), FRESH, 6),
    "token": (lambda m: m.entry("tokens"), ("get", "person"), 0),
    "plan": (lambda m: m.entry("plans"), ("get", "person"), 0),
    "ring": (lambda m: m.path("keys", "ring"), ("get", "person"), 6),
    "keeper": (lambda m: m.path("keys", "keeper.json"), ("get", "person"), 6),
    "lock": (lambda m: m.entry("locks", ".lock"), FRESH, 0),
    "log.lock": (lambda m: m.path("audit", "log.lock"), ("get", "person"), 0),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_damage(machine: Machine, name: str) -> None:
    """It is refused or got anew, and put back all works."""
    find, words, code = ENTRIES[name]
    shutil.rmtree(machine.path("plans"))
    answers(machine("get", "person"))
    path = find(machine)
    good = _read(path)
    for kind, damage in DAMAGE.items():
        if (name, kind) in {("keeper", "a flipped bit"), ("keeper", "more")}:
            continue  # blanks at the end of a JSON file
        _write(path, damage(good))
        done = machine(*words)
        behaves(done)
        assert done.returncode == code, (kind, done)
        if code:
            refused(done, code)
        path = path if os.path.exists(path) else find(machine)
        if code:
            _write(path, good)
    machine.works()
    machine.log_is_whole()


def test_a_damaged_log(machine: Machine) -> None:
    """A cut end is explained by the next writer; an edit is recorded, and `verify` tells of it."""
    answers(machine("get", "person"))
    path = machine.path("audit", "log")
    good = _read(path)
    _write(path, good[:-40])
    assert machine("audit", "verify").returncode == 7
    answers(machine("get", "person"))
    assert "log.repaired" in [record.get("event") for record in machine.records()]
    machine.log_is_whole()
    _write(path, _read(path).replace(b'"person"', b'"nobody"', 1))
    answers(machine("get", "person"))
    refused_by_verify = machine("audit", "verify")
    assert refused_by_verify.returncode == 7
    behaves(refused_by_verify)
    machine.works()


def test_swapped_entries(machine: Machine) -> None:
    """One grant's entry under another's name opens as neither, nor does a token as a grant."""
    answers(machine("get", "service"))
    grant, path = machine.entry("grants"), machine.path("tokens")
    slots = sorted(os.path.join(place, name) for place, _, names in os.walk(path) for name in names)
    assert len(slots) == 2
    first, second = map(_read, slots)
    _write(slots[0], second)
    _write(slots[1], first)
    for profile in ("person", "service"):
        done = machine("get", profile)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("brokerctl: warning: a token entry was damaged and set aside")
        assert done.stdout.strip() not in {first.decode("latin-1"), second.decode("latin-1")}
    good = _read(grant)
    _write(grant, first)
    refused(machine(*FRESH), 6)
    _write(grant, good)
    events = [r["event"] for r in machine.records()]
    assert events.count("store.damaged") == 2
    machine.works()
    machine.works("service")


def test_a_rolled_back_grant(machine: Machine) -> None:
    """An older copy is never redeemed: that would end the whole family at the issuer."""
    path = machine.entry("grants")
    old = _read(path)
    machine.works()
    newer = _read(path)
    _write(path, old)
    machine.issuer.reset()
    done = machine(*FRESH)
    refused(done, 6)
    assert "rolled back" in done.stderr
    assert machine.issuer.counts()["grants"] == {}
    check = machine("store", "check")
    assert check.returncode == 6, check
    _write(path, newer)
    machine.works()


def test_a_rolled_back_store(machine: Machine) -> None:
    """All of it put back: the issuer says that the token was used, and the end is explained."""
    state, copy = os.path.join(machine.home, "state"), os.path.join(machine.home, "copy")
    answers(machine("get", "person"))
    shutil.copytree(state, copy)
    machine.works()
    shutil.rmtree(state)
    os.rename(copy, state)
    answers(machine("get", "person"))
    done = machine(*FRESH)
    refused(done, 3)
    assert "brokerctl login person" in done.stderr
    machine.log_is_whole()


def test_keys_of_another_store(machine: Machine) -> None:
    """The ring of another home opens nothing here; put back, all works."""
    answers(machine("get", "person"))
    keys, kept = machine.path("keys"), os.path.join(machine.home, "kept")
    other = {"BROKERCTL_HOME": os.path.join(machine.home, "other")}
    answers(machine("get", "service", env=other))  # says nothing: the keeper was chosen
    os.rename(keys, kept)
    refused(machine("get", "person"), 6)  # no ring, and a grant that needs it
    shutil.rmtree(keys)
    shutil.copytree(os.path.join(machine.home, "other", "v1", "keys"), keys)
    done = machine(*FRESH)
    refused(done, 3, 6)
    shutil.rmtree(keys)
    os.rename(kept, keys)
    machine.works()


@pytest.mark.parametrize("folder", ["grants", "tokens", "locks", "plans", "metadata", "audit"])
def test_a_folder_that_is_gone(machine: Machine, folder: str) -> None:
    """It is made again; only a grant can't be."""
    shutil.rmtree(machine.path(folder))
    done = machine("get", "person")
    if folder == "grants":
        answers(done)
        refused(machine(*FRESH), 3)
        return
    assert done.returncode == 0, done.stderr
    machine.works()


def test_strangers_in_every_folder(machine: Machine) -> None:
    """Files that nobody knows are neither read nor removed nor in the way."""
    for place, _, _ in list(os.walk(machine.path())):
        for name in ("x", ".hidden", "A" * 64, "0" * 64, "0" * 200, "new\nline"):
            write_private(os.path.join(place, name), "x")
    machine.works()
    for words in (("status",), ("audit", "tokens"), ("audit", "log")):
        done = machine(*words)
        assert done.returncode == 0, done
        behaves(done)
    behaves(machine("store", "check"))
    behaves(machine("store", "gc"))
    machine.works()
