"""A disk that is full, has a limit, or can't be written to: no token without its record."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.machine.room import WITHOUT_RIGHTS, answers, behaves, refused, require_mounts
from tests.program import Result, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.machine.room import Machine

ROUNDS = 12  # hand-outs until the log's last page is full
FRESH = ("get", "person", "--fresh")


@pytest.fixture
def small(machine: Machine) -> Iterator[Machine]:
    """Mount a disk of one megabyte where the state lies."""
    state, copy = os.path.join(machine.home, "state"), os.path.join(machine.home, "copy")
    os.rename(state, copy)
    os.mkdir(state, 0o700)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", state],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        shutil.copytree(copy, state, dirs_exist_ok=True)
        yield machine
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def fill(machine: Machine) -> str:
    """Write until the disk is full, and return the file that can be removed again."""
    path = os.path.join(machine.home, "state", "filler")
    with open(path, "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return path


def test_a_full_disk(small: Machine) -> None:
    """The record that does not fit costs its token; no refresh is tried; nothing is lost."""
    answers(small("get", "person"))
    filler = fill(small)
    before = small.issuer.counts()["grants"]
    refused(small(*FRESH), 6, 7)
    done = small("get", "person")
    for _ in range(ROUNDS):
        if done.returncode:
            break
        answers(done)
        done = small("get", "person")
    refused(done, 7)
    refused(small(*FRESH), 6, 7)
    assert small.issuer.counts()["grants"] == before
    os.unlink(filler)
    small.works()
    small.log_is_whole()


def _during_a_request(machine: Machine, *words: str, is_greedy: bool) -> Result:
    """Fill the disk while the issuer keeps a request waiting; a greedy filler never stops."""
    machine.issuer.reset()
    machine.issuer.mode(token="held")
    process = machine.program.start(*words)
    if words[0] == "login":
        assert process.stderr
        seen = [process.stderr.readline(), process.stderr.readline()]
        code = seen[1].split(" code ")[1].split(" ")[0]
        machine.issuer.approve_device(code, seen[0].strip().rpartition(" ")[2])
    while not machine.issuer.counts()["grants"]:
        assert process.poll() is None, process.communicate()
    filler, is_over = fill(machine), threading.Event()

    def go_on() -> None:
        while not is_over.is_set():
            fill(machine)

    other = threading.Thread(target=go_on)
    if is_greedy:
        other.start()
    machine.issuer.mode(token="ok")
    stdout, stderr = process.communicate(timeout=60)
    is_over.set()
    if is_greedy:
        other.join()
    os.unlink(filler)
    return Result(process.returncode, stdout, stderr)


@pytest.mark.parametrize("is_greedy", [False, True])
def test_a_disk_that_fills_between_sending_and_storing(small: Machine, *, is_greedy: bool) -> None:
    """The issuer has rotated: its answer goes into room that nobody else could take.

    Where even the record's room is taken, no token leaves, and the next request has it.
    """
    done = _during_a_request(small, *FRESH, is_greedy=is_greedy)
    if is_greedy and done.returncode:
        refused(done, 7)
        assert "make room on that disk" in done.stderr
    else:
        answers(done)
    token = answers(small("get", "person"))
    assert small.issuer.is_active(token)
    assert not done.stdout or done.stdout.strip() == token
    assert small.issuer.counts()["grants"] == {"refresh_token": 1}
    small.works()
    small.log_is_whole()


@pytest.mark.parametrize("is_greedy", [False, True])
def test_a_disk_that_fills_during_a_login(small: Machine, *, is_greedy: bool) -> None:
    """What a person has just agreed to is stored, with all that belongs to it."""
    before = answers(small("get", "person"))
    done = _during_a_request(small, "login", "person", is_greedy=is_greedy)
    behaves(done)
    assert done.returncode == 0 or is_greedy, done
    token = answers(small("get", "person"))
    assert token != before
    assert small.issuer.is_active(token)
    small.works()
    small.log_is_whole()


@pytest.mark.parametrize(("words", "code"), [(("get", "person"), 7), (FRESH, 6)])
@pytest.mark.parametrize("limit", [0, 100])
def test_a_limit_on_files(machine: Machine, words: tuple[str, ...], code: int, limit: int) -> None:
    """RLIMIT_FSIZE: its signal is no end, and what could not be stored was not asked for."""
    answers(machine("get", "person"))
    before = machine.issuer.counts()["grants"]
    done = machine.under([require_tool("prlimit"), f"--fsize={limit}"], *words)
    refused(done, code, 7)
    assert machine.issuer.counts()["grants"] == before
    machine.works()
    machine.log_is_whole()


# What can't be written to, and what comes of a `get` that wants a refresh; a warm one is fine.
READ_ONLY = {
    ".": 0,  # all that is needed is there
    "grants": 6,
    "tokens": 0,
    "tokens/*": 6,  # where the slot lies
    "intents": 6,
    "locks": 0,
    "audit": 0,
    "plans": 0,
    "keys": 0,
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_a_read_only_folder(machine: Machine, name: str) -> None:
    """By its mode, for whoever is not allowed to ignore it: served, or refused before it costs."""
    answers(machine("get", "person"))
    (folder,) = glob.glob(os.path.normpath(machine.path(name)))
    os.chmod(folder, 0o500)
    answers(machine.under(WITHOUT_RIGHTS, "get", "person"))
    fresh = machine.under(WITHOUT_RIGHTS, *FRESH)
    if READ_ONLY[name]:
        refused(fresh, READ_ONLY[name])
    else:
        answers(fresh)
    os.chmod(folder, 0o700)
    machine.works()
    machine.log_is_whole()


def test_a_read_only_disk(machine: Machine) -> None:
    """Mounted so: there is no record, so there is no token."""
    answers(machine("get", "person"))
    state = os.path.join(machine.home, "state")
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    wrapper = ["unshare", "--mount", "sh", "-c", script, state]
    require_mounts(machine, [*wrapper, "true"])
    refused(machine.under(wrapper, "get", "person"), 7)
    refused(machine.under(wrapper, *FRESH), 6, 7)
    machine.works()
