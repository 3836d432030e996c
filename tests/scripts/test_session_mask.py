"""`exec --mask` as a process: pipes, order, binary, daemons, a terminal, what CI sets."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.session_room import Room

if TYPE_CHECKING:
    from pathlib import Path

SHOW = "import os,sys; t=os.environ['PERSON_TOKEN']; "


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Return a room of this test's own."""
    return Room(str(tmp_path))


def python(code: str) -> list[str]:
    """Return a child that runs this."""
    return ["--", sys.executable, "-c", SHOW + code]


def test_the_token_is_starred_out_of_both_streams(room: Room) -> None:
    """As it is and in base64, on stdout and on stderr, also where a write ends in its middle."""
    code = (
        "import base64,time; n=len(t)//2; sys.stdout.write('a'+t[:n]); sys.stdout.flush();"
        "time.sleep(0.2); print(t[n:]+'b'); print(base64.b64encode(t.encode()).decode());"
        "print('e'+t, file=sys.stderr); sys.exit(7)"
    )
    done = room.run("--mask", "-p", "person", *python(code))
    assert done.returncode == 7
    token = room.token("person")
    out = done.stdout.decode()
    assert out.startswith("a")
    assert out.splitlines()[0].endswith("****b")
    assert token[4:] not in out + done.stderr.decode()
    assert base64.b64encode(token.encode()).decode()[:16] not in out
    assert done.stderr == b"e****\n"


def test_a_job_in_ci_is_masked_unless_told_otherwise(room: Room) -> None:
    """CI set and no terminal: masked; --no-mask, or no CI: not a byte is changed."""
    code = "print(t)"
    env = {"CI": "true"}
    token = room.token("person").encode() + b"\n"
    assert room.run("-p", "person", *python(code), env=env).stdout == b"****\n"
    assert room.run("--no-mask", "-p", "person", *python(code), env=env).stdout == token
    assert room.run("-p", "person", *python(code)).stdout == token


def test_one_file_for_both_streams_keeps_their_order(room: Room) -> None:
    """`2>&1` is one stream: a hundred lines by turns arrive by turns."""
    code = "[os.write(1 + n % 2, b'%d\\n' % n) for n in range(100)]"
    done = room.run(
        "--mask", "-p", "person", *python(code), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        capture_output=False,
    )  # fmt: skip
    assert done.stdout.split() == [b"%d" % n for n in range(100)]


def test_binary_comes_through_whole(room: Room) -> None:
    """Ten megabytes without the token are the same bytes."""
    code = "import random; d=random.Random(1).randbytes(10**7); sys.stdout.buffer.write(d)"
    done = room.run("--mask", "-p", "person", *python(code))
    plain = room.plain(sys.executable, "-c", code.replace("import", "import sys,", 1), env={})
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(plain.stdout).digest()


def test_a_daemon_keeps_nobody_waiting(room: Room) -> None:
    """What a daemon holds open is not waited for, and what was written before is there."""
    script = "echo before; sleep 30 & echo $!; exit 4"
    begun = time.monotonic()
    done = room.run("--mask", "-p", "person", "--", "sh", "-c", script)
    took = time.monotonic() - begun
    words = done.stdout.split()
    os.kill(int(words[1]), signal.SIGKILL)
    assert done.returncode == 4
    assert words[0] == b"before"
    assert took < 10


def test_a_reader_that_goes_away_ends_the_child(room: Room) -> None:
    """`exec … | head -1`: the child gets SIGPIPE, as without us."""
    process = room.start("--mask", "-p", "person", "--", "yes", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(20) == 128 + signal.SIGPIPE


def test_a_killed_child_and_a_missing_command(room: Room) -> None:
    """Exit codes are what they are without masking."""
    assert room.run("--mask", "-p", "person", "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert room.run("--mask", "-p", "person", "--", "no-such-command").returncode == 127


def test_a_terminal_is_one_for_the_child_too(room: Room) -> None:
    """The child sees a terminal of our size, and what it prints and echoes is masked."""
    code = (
        "print(sys.stdin.isatty(), sys.stdout.isatty(), os.get_terminal_size().columns,"
        " t, t.encode().hex()); print(input('? '))"
    )
    words = room.words("--mask", "-p", "person", *python(code))
    child: pexpect.spawn[bytes] = pexpect.spawn(
        words[0], words[1:], env=room.environ(TERM="xterm"), dimensions=(30, 91), timeout=20
    )
    child.expect_exact(b"True True 91 **** ****")
    child.expect_exact(b"? ")
    child.sendline(room.token("person"))
    rest = bytes(child.read())
    child.close()
    assert room.token("person").encode()[4:] not in rest
    assert b"****" in rest
    assert child.exitstatus == 0


def test_a_closed_stdout_stays_closed(room: Room) -> None:
    """A stream that we were started without is none for the child."""
    words = room.words("--mask", "-p", "person", *python("os.fstat(2); os.fstat(1)"))
    script = 'exec "$@" >&-'
    done = room.plain("sh", "-c", script, "sh", *words, env=room.environ())
    assert b"Bad file descriptor" in done.stderr
