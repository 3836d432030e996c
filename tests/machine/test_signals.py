"""Every signal that can be held back comes between sending and storing: nothing is lost by it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.machine.room import Machine

OWN_FAULTS = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"}
NOBODYS = {"SIGKILL", "SIGSTOP"}
# SIGCONT takes a stop back that is pending, so it comes before those; the real-time ones that the
# C library leaves to programs are 34 up to 64.
HELD = sorted(
    (
        number
        for number in signal.valid_signals()
        if getattr(number, "name", "") not in OWN_FAULTS | NOBODYS
    ),
    key=lambda number: (number != signal.SIGCONT, number),
)
FIRST = min(HELD)  # of several that are pending, and what the kernel ends us with


def wait_until(check: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 40
    while not check():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def read_status(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return what the kernel says of a process."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return dict(line.rstrip().split(":", 1) for line in file)


def is_in(number: int, mask: str) -> bool:
    """Return whether a mask of /proc has a signal."""
    return bool(int(mask, 16) >> (number - 1) & 1)


def send_all(process: subprocess.Popen[str]) -> None:
    """Send every signal; the process neither ends nor stops, and each one waits."""
    for number in HELD:
        process.send_signal(number)
    status = read_status(process)
    assert status["State"].split()[0] in {"S", "R", "D"}
    ignored = {number for number in HELD if is_in(number, status["SigIgn"])}
    waiting = {number for number in HELD if is_in(number, status["ShdPnd"])}
    # An ignored signal that is not blocked does not wait; a stop and its end undo each other.
    assert waiting | ignored | {signal.SIGCONT} == set(HELD)


@pytest.fixture
def held(machine: Machine) -> Iterator[Machine]:
    """Return a machine whose issuer answers no token request and no revocation yet."""
    machine.issuer.reset()
    machine.issuer.mode(token="held", revocation="held")
    yield machine
    machine.issuer.mode(token="ok", revocation="ok")


@contextmanager
def start(
    machine: Machine, *words: str, wrapper: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Start it in a process group that can be stopped, as at a terminal; it ends with the test."""
    with subprocess.Popen(
        [*wrapper, machine.program.path, *words],
        env=machine.program.environment(),
        cwd=machine.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def is_asked(machine: Machine, path: str) -> Callable[[], object]:
    """Return what says that the issuer has got a request."""
    return lambda: machine.issuer.counts()["paths"].get(path)


def release(machine: Machine, process: subprocess.Popen[str]) -> int:
    """Let the issuer answer, and return how the process ended."""
    machine.issuer.mode(token="ok", revocation="ok")
    process.communicate(timeout=60)
    return process.returncode


def test_during_a_refresh(held: Machine) -> None:
    """What the issuer answered is stored, and then the first of the signals has its way."""
    before = held("get", "person").stdout
    with start(held, "get", "person", "--fresh") as process:
        wait_until(is_asked(held, "/token"))
        send_all(process)
        assert release(held, process) == -FIRST
    assert held.issuer.counts()["issued"] == {"refresh_token": 1}
    after = held("get", "person")
    assert (after.returncode, after.stderr) == (0, "")
    assert after.stdout != before
    held.works()


def test_during_a_login(held: Machine) -> None:
    """So it is while a device asks whether its person has agreed."""
    with start(held, "login", "person") as process:
        assert process.stderr is not None  # its two lines come before anything is held
        seen = [process.stderr.readline(), process.stderr.readline()]
        code = seen[1].split(" code ")[1].split(" ")[0]
        held.issuer.approve_device(code, seen[0].strip().rpartition(" ")[2])
        before = held.issuer.counts()["paths"].get("/token", 0)
        wait_until(lambda: held.issuer.counts()["paths"].get("/token", 0) > before)
        send_all(process)
        assert release(held, process) == -FIRST
    assert "grant.obtained" in [record["event"] for record in held.records()]
    held.works()


def test_during_a_revocation(held: Machine) -> None:
    """What the issuer ended is recorded as ended, and is not asked for again."""
    token = held("get", "person").stdout.strip()
    with start(held, "revoke", "person") as process:
        wait_until(is_asked(held, "/token/revocation"))
        send_all(process)
        assert release(held, process) == -FIRST
    assert not held.issuer.is_active(token)
    outcomes = {one.get("outcome") for one in held.records() if one["event"].endswith(".revoked")}
    assert outcomes == {"revoked"}


def test_an_alarm_of_the_callers(held: Machine) -> None:
    """`perl -e 'alarm N; exec @ARGV'`, as batch scripts do: it ends the command and no grant."""
    perl = (require_tool("perl"), "-e", "alarm shift; exec @ARGV", "3600")
    with start(held, "get", "person", "--fresh", wrapper=perl) as process:
        wait_until(is_asked(held, "/token"))
        process.send_signal(signal.SIGALRM)  # as if the time were over
        assert release(held, process) == -signal.SIGALRM
    assert held("get", "person").returncode == 0
    held.works()


def test_a_helper_has_no_handler_of_its_own_left(held: Machine) -> None:
    """The alarm that bounds the reading of a request ends there: a refresh meets no handler."""
    with open(held.config, encoding="utf-8") as file:
        text = file.read()
    hosts = 'hosts = ["https://forge.example"]'
    held.program.config(text.replace("[profile.person]", f"[profile.person]\n{hosts}"))
    held.issuer.mode(token="ok")
    held.log_in(issued_ago_s=7200)
    held.issuer.reset()
    held.issuer.mode(token="held")
    asked = os.path.join(held.home, "asked")
    with open(asked, "w", encoding="utf-8") as file:
        file.write("protocol=https\nhost=forge.example\n\n")
    reading = ("sh", "-c", 'exec "$@" < "$0"', asked)
    with start(held, "helper", "git", "get", wrapper=reading) as process:
        wait_until(is_asked(held, "/token"))
        assert not is_in(signal.SIGALRM, read_status(process)["SigCgt"])
        process.send_signal(signal.SIGALRM)
        assert release(held, process) == -signal.SIGALRM
    held.works()
