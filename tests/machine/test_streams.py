"""Streams that are closed, full, slow or gone: the token arrives whole or is recorded as lost."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.machine.room import answers, behaves, refused
from tests.program import PROGRAM, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.machine.room import Machine

GONE = 128 + 13  # of what streams: the same as if SIGPIPE had ended it
SHOW_OPEN = """
import os
is_open = [fd for fd in range(3) if os.path.islink(f"/proc/self/fd/{fd}")]
os.write(2, str(is_open).encode())
"""
LOST = "brokerctl: error: the token could not be written to stdout: "
FULL = (("status",), ("--help",))  # the whole program, with its own printing


def redirected(machine: Machine, redirect: str, *words: str) -> Result:
    """Run it with a shell's redirections."""
    return machine.under(["sh", "-c", f'exec "$@" {redirect}', "sh"], *words)


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full", "1</dev/null"])
def test_stdout_takes_nothing(machine: Machine, redirect: str) -> None:
    """It is an error and no bug, the record says that the token was not delivered."""
    done = redirected(machine, redirect, "get", "person")
    refused(done, 1)
    assert done.stderr.startswith(LOST)
    assert machine.records()[-1]["event"] == "token.not_delivered"
    for words in FULL:
        done = redirected(machine, redirect, *words)
        refused(done, 1)
        assert "could not be written to stdout" in done.stderr
    machine.works()
    machine.log_is_whole()


@pytest.mark.parametrize("redirect", ["<&-", "<&- 2>&-", "2>/dev/full"])
def test_the_other_streams_are_not_needed(machine: Machine, redirect: str) -> None:
    """A token and an answer arrive without stdin and stderr; a refusal keeps its code."""
    answers(redirected(machine, redirect, "get", "person"))
    for words in FULL:
        done = redirected(machine, redirect, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
    unknown = redirected(machine, redirect, "get", "nobody")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    behaves(unknown)
    child = redirected(machine, redirect, "exec", "-p", "person", "--", "echo", "hello")
    assert (child.returncode, child.stdout) == (0, "hello\n")
    machine.log_is_whole()


@pytest.mark.parametrize("redirect", ["<&- >&- 2>&-"])
def test_no_stream_is_left(machine: Machine, redirect: str) -> None:
    """Security: nothing that is printed gets into a file of ours that took a stream's number."""
    token = answers(machine("get", "person"))
    for words in (("get", "person"), ("get", "person", "--fresh"), ("status",), ("get", "nobody")):
        done = redirected(machine, redirect, *words)
        assert done.returncode == (2 if "nobody" in words else 1)
    printed = ["-e", token, "-e", "brokerctl: "]
    for texts in (printed, ["--exclude=log", "-e", "nobody'"]):  # the log says what was refused
        grep = ["grep", "-rlF", *texts, machine.path()]
        found = subprocess.run(grep, capture_output=True, text=True, check=False)
        assert found.stdout == ""
    machine.works()
    machine.log_is_whole()


def test_a_child_has_no_streams_of_ours(machine: Machine) -> None:
    """What was closed for us is closed for the child of `exec`."""
    words = ("exec", "-p", "person", "--", sys.executable, "-I", "-c", SHOW_OPEN)
    done = redirected(machine, "<&- >&-", *words)
    assert (done.returncode, done.stderr) == (0, "[2]")


# Pipes.


def through_a_pipe(machine: Machine, words: Sequence[str], writer: int) -> subprocess.Popen[str]:
    """Start it with the end of a pipe as stdout, and close that end here."""
    try:
        return subprocess.Popen(
            [PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            env=machine.program.environment(),
            cwd=machine.home,
            text=True,
            start_new_session=True,
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("words", [("get", "person"), ("audit", "log"), ("--help",)])
def test_a_pipe_closed_early(machine: Machine, words: tuple[str, ...]) -> None:
    """Whoever read is gone: no traceback, and a lost token is recorded."""
    reader, writer = os.pipe()
    os.close(reader)
    process = through_a_pipe(machine, words, writer)
    _, stderr = process.communicate(timeout=30)
    behaves(Result(process.returncode, "", stderr))
    assert process.returncode == (GONE if words[0] == "audit" else 1)
    if words[0] == "get":
        assert stderr.startswith(LOST)
        assert machine.records()[-1]["event"] == "token.not_delivered"


def _read_late(reader: int, found: list[bytes]) -> None:
    time.sleep(1)
    while data := os.read(reader, 4096):
        found.append(data)


@pytest.mark.parametrize("words", [("get", "person"), ("status",), ("--help",)])
def test_a_full_pipe_that_does_not_block(machine: Machine, words: tuple[str, ...]) -> None:
    """It is waited for, and what arrives is whole."""
    expected = machine(*words).stdout
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    filled = os.write(writer, bytes(4096))
    found: list[bytes] = []
    thread = threading.Thread(target=_read_late, args=(reader, found))
    process = through_a_pipe(machine, words, writer)
    thread.start()
    _, stderr = process.communicate(timeout=30)
    thread.join(30)
    os.close(reader)
    assert (process.returncode, stderr) == (0, "")
    assert b"".join(found)[filled:].decode() == expected


def test_a_signal_for_a_broken_pipe_is_the_callers_business(machine: Machine) -> None:
    """Whether SIGPIPE and SIGCHLD are ignored or not, nothing else happens."""
    for trap in ("PIPE", "CHLD", "PIPE CHLD"):
        script = f'trap "" {trap}; exec "$@"'
        token = answers(machine.under(["sh", "-c", script, "sh"], "get", "person", "--fresh"))
        words: Any = ("exec", "-p", "person", "--", "sh", "-c", "echo $PERSON_TOKEN; exit 3")
        done = machine.under(["sh", "-c", script, "sh"], *words)
        assert (done.returncode, done.stdout.strip()) == (3, token), done.stderr


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_no_file_takes_a_stream_s_number(closed: list[int]) -> None:
    """Security: what is opened next has another number; a stream that is there stays."""
    close = "".join(f"os.close({fd}); " for fd in closed)
    code = f"""
import os
from brokerctl.platform.system import hold_streams
kept = os.dup(2)
{close}
hold_streams()
found = [fd for fd in range(3) if os.readlink(f"/proc/self/fd/{{fd}}") == "/"]
os.write(kept, repr((found, os.open("/dev/null", os.O_RDWR) > 2)).encode())
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == repr((closed, True))
