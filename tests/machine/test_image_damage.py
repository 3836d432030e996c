"""A start-up image that is damaged, comes and goes: the right token, each time, and no word."""

from __future__ import annotations

import _imp
import fcntl
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.machine.installation import BUILT, GET, is_image, opened_by_get
from tests.machine.room import WITHOUT_RIGHTS, answers, require_root
from tests.program import require_tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.installation import Installation
    from tests.machine.room import Machine

NOBODY = 65534
TRAILER = 24  # the lengths of what is read and of what is checked at once, and the hash of that


def lengths(data: bytes) -> tuple[int, int]:
    """Return how much of an image is read at once, and how much of that is checked then."""
    return int.from_bytes(data[-TRAILER:-16]), int.from_bytes(data[-16:-8])


def fifo(installation: Installation) -> None:
    """Put something there that never answers."""
    installation.remove()
    os.mkfifo(installation.image, 0o644)


def folder(installation: Installation) -> None:
    """Put a folder there."""
    installation.remove()
    os.mkdir(installation.image)


def link(installation: Installation) -> None:
    """Put a link to a good one there: a link's target may be anybody's."""
    there = f"{installation.prefix}/elsewhere"
    os.rename(installation.image, there)
    os.symlink(there, installation.image)


def endless(installation: Installation) -> None:
    """Put eight gigabytes of nothing there."""
    installation.write(b"")
    os.truncate(installation.image, 1 << 33)


def other_python(installation: Installation) -> None:
    """Put one there that is whole, and another interpreter's."""
    data = installation.read()
    checked = data[: lengths(data)[1]]
    installation.write(data[:-8] + _imp.source_hash(sys.hexversion + 1, checked))


def longer(installation: Installation) -> None:
    """Put more behind it."""
    installation.write(installation.read() + b"\0" * 100)


def foreign(installation: Installation) -> None:
    """Have it belong to somebody else."""
    require_root()
    os.chown(installation.image, NOBODY, NOBODY)


DAMAGE: dict[str, Callable[[Installation], None]] = {
    "missing": lambda one: one.remove(),
    "empty": lambda one: one.write(b""),
    "zeros": lambda one: one.write(bytes(300_000)),
    "a fifo": fifo,
    "a folder": folder,
    "a link": link,
    "endless": endless,
    "another Python's": other_python,
    "longer": longer,
    "somebody else's": foreign,
    "may be written by others": lambda one: os.chmod(one.image, 0o666),  # noqa: S103 - to be passed over
    "may be read by its owner alone": lambda one: os.chmod(one.image, 0o600),
}


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("way_in", ["script", "launcher"], indirect=True)
@pytest.mark.parametrize("name", DAMAGE)
def test_damage(machine: Machine, image: Installation, name: str) -> None:
    """It is passed over, without a word; a later command makes it anew where it can."""
    token = answers(machine(*GET))
    DAMAGE[name](image)
    assert answers(machine(*GET, timeout_s=30)) == token
    assert len(opened_by_get(machine, image)) > 20  # one by one
    status = machine("status")
    assert (status.returncode, status.stderr) == (0, "")
    if name != "a folder":
        assert opened_by_get(machine, image) == [image.bootstrap, image.image]
    assert answers(machine(*GET)) == token


@pytest.mark.slow(reason="eighty starts")
def test_bytes_that_have_changed(machine: Machine, image: Installation) -> None:
    """No bit and no length makes another answer, wherever in the file it is."""
    token, good = answers(machine(*GET)), image.read()
    size = len(good)
    _, checked = lengths(good)
    cuts = (1, 15, 16, 17, 100, 4096, checked // 2, checked - 1, checked, size - 9, size - 1)
    for length in cuts:
        image.write(good[:length])
        assert answers(machine(*GET)) == token, length
    places = {0, 4, 8, 12, 16, 17, 20, checked - 1, checked, *range(size - TRAILER, size, 3)}
    for place in sorted(places | {number * size // 60 for number in range(60)}):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        image.write(bytes(changed))
        assert answers(machine(*GET)) == token, place


@pytest.mark.slow(reason=BUILT)
def test_bytes_that_a_hand_out_does_not_read(machine: Machine, image: Installation) -> None:
    """A tool's code that has changed makes the image a bad one too, and is written anew."""
    good = image.read()
    changed = bytearray(good)
    changed[-TRAILER - 1] ^= 1
    image.write(bytes(changed))
    answers(machine(*GET))
    assert image.read() == changed
    assert "missing or out of date" in machine("doctor", "--offline").stdout
    assert machine("status").returncode == 0
    if sys.version_info < (
        3,
        13,
    ):  # from then on which objects it shares depends on the process
        assert image.read() == good
    assert is_image(image.read())
    assert image.read() != changed
    assert "the start-up image is current" in machine("doctor", "--offline").stdout


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("kept", [0, 8, 16, 40, 1000, None])
def test_what_reads_it_is_damaged(machine: Machine, image: Installation, kept: int | None) -> None:
    """Its byte code is cut off or gone with its source: modules are loaded one by one."""
    token = answers(machine(*GET))
    if kept is None:
        os.unlink(image.bootstrap)
        os.unlink(f"{image.package}/platform/bootstrap.py")
    else:
        os.truncate(image.bootstrap, kept)
    assert answers(machine(*GET)) == token
    is_anew = kept in {0, 8}  # Python finds no head of byte code, and compiles the source again
    assert (image.image in opened_by_get(machine, image)) == is_anew


@pytest.mark.slow(reason=BUILT)
def test_what_is_made_late_is_damaged(machine: Machine, image: Installation) -> None:
    """What no hand-out needs, each piece being made of its source again where it is asked for."""
    ways = (("get", "nobody"), (*GET, "--json"), (*GET, "--scope", "admin"), ("get", "--min-ttl"))
    good = image.read()
    before = [machine(*way) for way in ways]
    wanted = [(done.returncode, done.stderr) for done in before]
    assert {code for code, _ in wanted} == {0, 2, 4}
    read, checked = lengths(good)
    assert read - checked > 50_000
    image.write(good[:checked] + bytes(read - checked) + good[read:])
    for way, outcome in zip(ways, wanted, strict=True):
        done = machine(*way)
        assert (done.returncode, done.stderr) == outcome
    assert "missing or out of date" in machine("doctor", "--offline").stdout
    assert machine("status").returncode == 0
    assert "the start-up image is current" in machine("doctor", "--offline").stdout


@pytest.mark.slow(reason=BUILT)
def test_one_that_may_not_be_read(machine: Machine, image: Installation) -> None:
    """To a process without root's rights, a mode without any is as good as nothing."""
    token = answers(machine(*GET))
    os.chmod(image.image, 0)
    assert answers(machine.under(WITHOUT_RIGHTS, *GET)) == token


@pytest.mark.slow(reason="sixty starts")
def test_removed_and_written_in_mid_run(machine: Machine, image: Installation) -> None:
    """It comes and goes, in part too, while hand-outs run: none of them is told from another."""
    token, good = answers(machine(*GET)), image.read()
    stop = threading.Event()

    def disturb() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            image.write(good[: number * 7919 % len(good)])
            os.unlink(image.image)
            image.write(good)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for _ in range(60):
            assert answers(machine(*GET)) == token
    finally:
        stop.set()
        disturber.join()


@pytest.mark.slow(reason="64 starts of the full program")
def test_written_by_many_at_once(machine: Machine, installation: Installation) -> None:
    """One of them writes it, whole, and none of them fails or leaves anything else."""
    for many in (64, 8):  # without one, and with one that is out of date
        os.utime(installation.source)
        running = [machine.program.start("status") for _ in range(many)]
        for process in running:
            _, stderr = process.communicate(timeout=240)
            assert (process.returncode, stderr) == (0, "")
        assert opened_by_get(machine, installation) == [installation.bootstrap, installation.image]
        names = os.listdir(os.path.dirname(installation.image))
        assert [name for name in names if not name.endswith(".pyc")] == []


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("age_s", [0, 3600, -3600])
def test_a_writer_that_died(machine: Machine, installation: Installation, age_s: float) -> None:
    """What it left stops no later one, whatever the clock said then, and is gone after that."""
    left = f"{installation.image}.new"
    with open(left, "wb"):
        pass
    os.utime(left, (0, time.time() - age_s))
    assert machine("status").returncode == 0
    assert is_image(installation.read())
    assert not os.path.exists(left)


@pytest.mark.slow(reason=BUILT)
def test_a_writer_that_is_at_it(machine: Machine, installation: Installation) -> None:
    """Nobody waits for it, does its work again or takes its file away."""
    left = f"{installation.image}.new"
    with open(installation.source, "rb") as source, open(left, "wb"):
        fcntl.flock(source, fcntl.LOCK_EX)
        assert machine("status").returncode == 0
        assert not is_image(installation.read())
        assert os.path.exists(left)
    assert machine("status").returncode == 0
    assert is_image(installation.read())


WRITES = re.compile(r'open(?:at)?\([^"]*"[^"]*start_image[^"]*", O_WRONLY|rename(?:at2?)?\(')


@pytest.mark.slow(reason=BUILT)
def test_a_writer_s_file_is_short_lived(machine: Machine, installation: Installation) -> None:
    """The work comes first: what kills a process leaves nothing to whoever uninstalls."""
    traced = [require_tool("strace"), "-qq", "-e", "trace=open,openat,rename,renameat,renameat2"]
    done = machine.under(traced, "status")
    calls = [line for line in done.stderr.splitlines() if installation.package in line]
    begin, end = (at for at, line in enumerate(calls) if WRITES.search(line))
    assert end == begin + 1
