"""Ten thousand subjects cost what ten cost: counted in instructions, system calls and memory.

Nothing here is timed: a machine under load changes nothing of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests import subjects
from tests.machine.test_warm_cost import count_instructions
from tests.program import Program, require_tool
from tests.subjects import tenants

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW, SOME, MANY = 10, 100, 10_000
FILLED = "ten thousand subjects are logged in, once for this file"
WARM, REVOKE = 1.1, 1.2
GET = ("get", "work", "--subject")
MIB = 1024
# The interpreter's own memory differs by this much from run to run.
NOISE_KIB = 1 * MIB


@pytest.fixture(scope="module")
def homes(trace_dir: str) -> Iterator[dict[int, Program]]:
    """Return a program with as many subjects as the key says, each of its own home."""
    found = {}
    for count in (FEW, SOME, MANY):
        program = Program(tempfile.mkdtemp(prefix="many-", dir=trace_dir))
        subjects.begin(program)
        subjects.fill(program.home, tenants(count))
        found[count] = program
        assert program(*GET, "tenant-1").stdout == subjects.value_of("tenant-1") + "\n"
    yield found
    for program in found.values():
        shutil.rmtree(program.home)  # nothing is to search thirty thousand files


def count_calls(program: Program, *words: str) -> int:
    """Return how many system calls a command makes, from its first line on."""
    summary = [require_tool("strace"), "-f", "-qq", "-c", "-U", "calls,name", program.path, *words]
    done = subprocess.run(
        summary, env=program.environment(), capture_output=True, text=True, check=False
    )
    return int(re.findall(r"(\d+) total", done.stderr)[0])


class Refresher(BaseHTTPRequestHandler):
    """A token endpoint that gives a new pair for every refresh token."""

    count = 0

    def do_POST(self) -> None:
        """Answer a refresh."""
        self.rfile.read(int(self.headers["content-length"]))
        Refresher.count += 1
        body = {
            "access_token": f"access-{self.count}",
            "refresh_token": f"refresh-{self.count}",
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def with_issuer(port: int) -> str:
    """Return the profile with all endpoints that its flow has, so that nothing is discovered."""
    text = subjects.CONFIG.replace("127.0.0.1:9/token", f"127.0.0.1:{port}/token")
    return f'{text}device_authorization_endpoint = "http://127.0.0.1:{port}/device"\n'


@pytest.fixture
def refreshing(homes: dict[int, Program]) -> Iterator[dict[int, Program]]:
    """Return the homes of few and of many, whose issuer answers."""
    found = {count: homes[count] for count in (FEW, MANY)}
    with ThreadingHTTPServer(("127.0.0.1", 0), Refresher) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        for program in found.values():
            program.config(with_issuer(server.server_port))
            assert program(*GET, "tenant-1").returncode == 0  # compiles it
        yield found
        server.shutdown()
        thread.join()
    for program in found.values():
        program.config(subjects.CONFIG)
        assert program(*GET, "tenant-1").returncode == 0


def ratio(few: int, many: int) -> float:
    """Return by how much the many cost more."""
    return many / few


@pytest.mark.slow(reason=FILLED)
def test_a_warm_hand_out_of_one_subject(homes: dict[int, Program]) -> None:
    """It reads one file, and what lies beside it is nothing to it."""
    calls = [count_calls(homes[count], *GET, "tenant-2") for count in (FEW, MANY)]
    assert ratio(*calls) <= WARM, calls
    instructions = [
        count_instructions([homes[count].path, *GET, "tenant-2"], homes[count].environment())
        for count in (FEW, MANY)
    ]
    assert ratio(*instructions) <= WARM, instructions


@pytest.mark.slow(reason=FILLED)
def test_a_refresh_of_one_subject(refreshing: dict[int, Program]) -> None:
    """The lock, the intent, the grant and the slot of one: no folder is listed."""
    before = Refresher.count
    # The fewest of three: a wait for an answer is one call more or less.
    calls = [
        min(count_calls(program, *GET, "tenant-5", "--fresh") for _ in range(3))
        for program in refreshing.values()
    ]
    assert Refresher.count - before == 6
    assert ratio(*calls) <= WARM, calls


@pytest.mark.long
def test_a_refresh_of_one_subject_in_instructions(refreshing: dict[int, Program]) -> None:
    """The same, counted by another measure."""
    before = Refresher.count
    found = [
        count_instructions([one.path, *GET, "tenant-6", "--fresh"], one.environment())
        for one in refreshing.values()
    ]
    assert Refresher.count > before
    assert ratio(*found) <= WARM, found


@pytest.mark.slow(reason=FILLED)
def test_a_revoke_of_one_subject(homes: dict[int, Program]) -> None:
    """Nothing of another subject is opened, and the queue of the one before is tried again."""
    calls = [
        count_calls(homes[count], "revoke", "work", "--subject", "tenant-3")
        for count in (FEW, MANY)
    ]
    assert ratio(*calls) <= REVOKE, calls


@pytest.mark.long
def test_a_revoke_of_one_subject_in_instructions(homes: dict[int, Program]) -> None:
    """The same, where the folders' names count that are listed."""
    found = []
    for count in (FEW, MANY):
        program = homes[count]
        words = [program.path, "revoke", "work", "--subject", "tenant-4", "--json"]
        traced = [require_tool("valgrind"), "--tool=callgrind", "--trace-children=yes"]
        run = [*traced, "--callgrind-out-file=/dev/null", *words]
        done = subprocess.run(
            run, env=program.environment(), capture_output=True, text=True, check=False
        )
        assert '"subject":"tenant-4"' in done.stdout, done.stderr
        found.append(int(re.findall(r"Collected : (\d+)", done.stderr)[-1]))
    assert ratio(*found) <= REVOKE, found


def peak_kib(program: Program, *words: str) -> int:
    """Return the most memory that a command had, in KiB, its output being thrown away."""
    with open(os.devnull, "w") as nothing:
        process = subprocess.Popen(
            [program.path, *words], env=program.environment(), stdout=nothing, stderr=nothing
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.slow(reason=FILLED)
@pytest.mark.parametrize(
    "words",
    [
        "status --json",
        *(pytest.param(words, marks=pytest.mark.long) for words in ("status", "doctor --offline")),
    ],
)
def test_memory_is_flat(homes: dict[int, Program], words: str) -> None:
    """A hundred times the subjects, and the rows of none are kept."""
    found = [peak_kib(homes[count], *words.split()) for count in (SOME, MANY)]
    assert found[1] - found[0] <= NOISE_KIB, found
