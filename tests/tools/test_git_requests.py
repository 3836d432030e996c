"""Odd requests to the real script, beside a token that it could hand out: no hang, no token."""

from __future__ import annotations

import os
import pty
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.program import BIN, Program
from tests.unit.git_requests import HOSTS, MALFORMED, OURS, Case, all_cases

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = os.path.join(BIN, "git-credential-brokerctl")
DEADLINE_S = 15.0  # half of it on the slowest machine; the script itself gives up after 20
EVERY = 13
TOLD = b"brokerctl: note: not a request of git: "


class Said(NamedTuple):
    """What the script left."""

    code: int
    stdout: bytes
    stderr: bytes


@pytest.fixture(scope="module")
def warm(trace_dir: str) -> Iterator[tuple[Program, str]]:
    """Return a program with a token in its store, and the token."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as issuer:
        program = Program(trace_dir)
        program.env["BROKERCTL_KEEPER"] = "file"
        listed = ", ".join(f'"{host}"' for host in HOSTS)
        main_job.service(program, issuer, hosts=f"[{listed}]")
        yield program, program("get", "service").stdout.strip()


def ask(program: Program, stdin: bytes, operation: str = "get") -> Said:
    """Run the script with a deadline."""
    done = subprocess.run(
        [SCRIPT, operation],
        input=stdin,
        env=program.environment(),
        cwd=program.home,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
        start_new_session=True,
    )
    assert b"Traceback" not in done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


def test_what_is_ours_is_answered(warm: tuple[Program, str]) -> None:
    """The token is there to be handed out, so that silence below means something."""
    program, token = warm
    assert f"password={token}\n".encode() in ask(program, OURS + b"\n").stdout


def sample() -> list[Case]:
    """Return every so many cases, and all that are odd as a whole."""
    cases = all_cases()
    chosen = [case for at, case in enumerate(cases) if at % EVERY == 0]
    whole = [case for case in cases if len(case.data) > 100_000 or len(case.data) < 3]
    return [*chosen, *(case for case in whole if case not in chosen)]


def test_the_sample_is_large() -> None:
    """At least 30 of the corpus run as a process."""
    assert len(sample()) >= 30


@pytest.mark.parametrize("case", sample(), ids=lambda case: case.name)
def test_an_odd_request_gets_nothing(warm: tuple[Program, str], case: Case) -> None:
    """Exit code 0, no byte on stdout; stderr says at most that it was no request."""
    program, token = warm
    said = ask(program, case.data)
    assert said[:2] == (0, b"")
    assert said.stderr.startswith(TOLD) if case.outcome == MALFORMED else said.stderr == b""
    assert token.encode() not in said.stderr
    assert said.stderr.count(b"\n") <= 1


def test_endless_input(warm: tuple[Program, str]) -> None:
    """Bounded in size, however fast it comes; whoever writes it sees a closed pipe."""
    program, _ = warm
    flood = [SCRIPT, "get"]
    with (
        open("/dev/zero", "rb") as zeros,
        subprocess.Popen(
            flood,
            stdin=zeros,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=program.environment(),
        ) as running,
    ):
        stdout, stderr = running.communicate(timeout=DEADLINE_S)
    assert (running.returncode, stdout) == (0, b"")
    assert stderr == TOLD + b"it is too long\n"


def test_lines_without_end(warm: tuple[Program, str]) -> None:
    """A writer of right lines, for ever and without the empty one, is cut off as well."""
    program, token = warm
    with subprocess.Popen(
        [SCRIPT, "get"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.environment(),
    ) as running:
        assert running.stdin
        assert running.stdout
        writing = threading.Thread(target=_write, args=(running.stdin.fileno(),), daemon=True)
        writing.start()
        assert running.wait(DEADLINE_S) == 0
        assert token.encode() not in running.stdout.read()
        writing.join(DEADLINE_S)
        assert not writing.is_alive()


def _write(fd: int) -> None:
    try:
        os.write(fd, OURS)
        while True:
            os.write(fd, b"wwwauth[]=Basic\n")
    except OSError:
        return


@pytest.mark.parametrize("typed", [b"\x04", b"\n", OURS.replace(b"team", b"x") + b"\n", None])
def test_a_terminal(warm: tuple[Program, str], typed: bytes | None) -> None:
    """Somebody runs it by hand, and types its end, an empty line, a request, or hangs up."""
    program, _ = warm
    ours, theirs = pty.openpty()
    begun = time.monotonic()
    with subprocess.Popen(
        [SCRIPT, "get"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.environment(),
        start_new_session=True,
    ) as running:
        os.close(theirs)
        if typed is None:
            os.close(ours)
        else:
            os.write(ours, typed)
        stdout, stderr = running.communicate(timeout=DEADLINE_S)
    if typed is not None:
        os.close(ours)
    assert (running.returncode, stdout) == (0, b"")
    assert b"Traceback" not in stderr
    assert time.monotonic() - begun < DEADLINE_S


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(warm: tuple[Program, str], closed: str) -> None:
    """Security: what is opened next gets the number of a closed stream, and never the token."""
    program, token = warm
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" get {closed}', SCRIPT],
        input=OURS + b"\n",
        env=program.environment(),
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert (token.encode() in done.stdout) == (closed == "2>&-")
    assert token.encode() not in done.stderr
    for folder, _, names in os.walk(os.path.join(program.home, "state")):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert token.encode() not in file.read()
    assert program("audit", "verify").returncode == 0
    assert program("store", "check").returncode == 0


@pytest.mark.parametrize("operation", ["erase", "store", "capability", "", "get get", "-h", "--x"])
def test_other_operations_hand_out_nothing(warm: tuple[Program, str], operation: str) -> None:
    """Of a host of ours too."""
    program, token = warm
    said = ask(program, OURS + b"username=a\npassword=b\n\n", operation)
    assert token.encode() not in said.stdout + said.stderr
    assert said.code == 0
