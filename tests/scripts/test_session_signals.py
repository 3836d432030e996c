"""Signals to a session without a terminal, and what is found after a supervisor was killed."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.session_room import Room

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = """
n=0; trap 'n=$((n+1))' {name}
echo up
for turn in {{1..400}}; do [ $n = 0 ] || break; sleep 0.05; done
sleep 0.3; echo got $n; exit 21
"""


@pytest.fixture
def room(tmp_path: object) -> Room:
    """Return a room of this test's own."""
    return Room(str(tmp_path))


def wait_until(check: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "WINCH"])
def test_signal_to_the_supervisor_is_passed_on_once(room: Room, name: str) -> None:
    """What is sent to us alone reaches the child, once, and the session ends with the child."""
    words = ("-p", "service", "--", "bash", "-c", COUNTS.format(name=name))
    with room.start(*words, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout.read() == b"got 1\n"
    assert process.returncode == 21
    assert len(room.notes("revoke")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_child_that_dies_of_a_signal(room: Room, number: signal.Signals) -> None:
    """A signal to us, or SIGKILL to the child, ends as 128 + n, with the token revoked."""
    words = ("-p", "service", "--", "sh", "-c", "echo up; exec sleep 60")
    with room.start(*words, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        if number == signal.SIGKILL:
            os.kill(child_of(process.pid), number)
        else:
            process.send_signal(number)
    assert process.returncode == 128 + number
    assert len(room.notes("revoke")) == 1
    assert room.entries() == []


def test_child_that_signals_its_whole_group(room: Room) -> None:
    """`kill 0` in the child neither kills us nor comes back to it; the token is revoked."""
    words = ("-p", "service", "--", "sh", "-c", "kill 0; sleep 60")
    done = room.run(*words, start_new_session=True)
    assert done.returncode == 143
    assert len(room.notes("revoke")) == 1


def test_signal_while_tokens_are_obtained(room: Room) -> None:
    """A session stopped before its child starts ends with 128 + n and leaves no token."""
    with room.start("-p", "service", "-p", "slow", "--", "true") as process:
        wait_until(lambda: len(room.notes("get")) == 2)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert room.notes("revoke")[0]["profiles"] == ["service", "slow"]
    assert room.entries() == []


def test_ignored_hangup_stays_ignored(room: Room) -> None:
    """Under `nohup` neither we nor the child end of SIGHUP."""
    words = [
        "nohup",
        *room.words("-p", "person", "--", "sh", "-c", "echo up; sleep 0.5; echo done"),
    ]
    with subprocess.Popen(words, env=room.environ(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.kill(child_of(process.pid), signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.read() == b"done\n"
    assert process.returncode == 0


def test_caller_that_ignores_its_children(room: Room) -> None:
    """A caller that ignores SIGCHLD does not cost us the exit code."""
    words = ("-p", "person", "--", "sh", "-c", "exit 8")
    done = room.run(*words, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert done.returncode == 8


def test_stop_and_continue_without_a_shell(room: Room) -> None:
    """A child stopped and continued by others never leaves us stopped where nobody continues us."""
    words = ("-p", "person", "--", "sh", "-c", "echo up; sleep 0.5; exit 5")
    with room.start(*words, stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        child = child_of(process.pid)
        for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGTSTP, signal.SIGCONT):
            os.kill(child, number)
            time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
    assert process.returncode == 5


def test_child_that_ends_as_it_is_continued(room: Room) -> None:
    """A child that ends at once when both are continued costs no exit code, however they race."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); os._exit(5)"
    words = ("-p", "person", "--", sys.executable, "-S", "-c", code)
    for turn in range(12):
        with room.start(*words) as process:
            child = child_of(process.pid)
            wait_until(functools.partial(is_stopped, child))
            for pid in (child, process.pid) if turn % 2 else (process.pid, child):
                with contextlib.suppress(ProcessLookupError):  # we continued it, and it has ended
                    os.kill(pid, signal.SIGCONT)
        assert process.returncode == 5


def test_continuing_the_supervisor_continues_the_child(room: Room) -> None:
    """SIGCONT to us alone reaches a stopped child."""
    words = ("-p", "person", "--", "sh", "-c", "echo up; read line; exit 5")
    with room.start(*words, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        process.stdout.readline()
        os.kill(child_of(process.pid), signal.SIGSTOP)
        time.sleep(0.2)
        process.send_signal(signal.SIGCONT)
        process.stdin.write(b"go on\n")
        process.stdin.flush()
    assert process.returncode == 5


def test_killed_supervisor_leaves_its_session_to_be_ended(room: Room) -> None:
    """After SIGKILL a later command finds the session, revokes its tokens and removes its files."""
    words = ("-p", "service", "--file", "F=person", "--", "sh", "-c", "echo up; exec sleep 60")
    with room.start(*words, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        child = child_of(process.pid)
        room.run("settle")
        assert room.notes("settled")[-1]["ended"] == []  # it lives
        process.kill()
        process.wait()
        os.kill(child, signal.SIGKILL)
    assert len(os.listdir(room.runtime)) == len(room.entries()) == 1
    room.run("settle", env={"SESSION_TEST_REVOKE": "raise"})
    assert (room.notes("settled")[-1]["failed"], len(room.entries())) == (1, 1)
    room.run("settle")
    assert room.notes("settled")[-1]["ended"] == ["service"]
    asked = room.notes("get")[0]["requester"]["session"]
    assert room.notes("revoke")[-1]["session"] == asked
    assert os.listdir(room.runtime) == room.entries() == []


def test_killed_while_tokens_are_obtained(room: Room) -> None:
    """The session is known before its first token is, so that a kill in between is found too."""
    with room.start("-p", "slow", "--", "true") as process:
        wait_until(lambda: room.notes("get"))
        process.kill()
    room.run("settle")
    assert room.notes("settled")[-1]["ended"] == ["slow"]


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


def child_of(pid: int) -> int:
    """Return the child's process id once it is there."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            found = file.read().split()
        if found:
            return int(found[0])
        time.sleep(0.02)
    raise AssertionError("no child")
