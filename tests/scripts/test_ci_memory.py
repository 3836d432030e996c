"""A CI job without a store: everything in memory but the record (contract, section 2)."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOW = ("--", "sh", "-c", "echo $SERVICE_TOKEN; exit 7")
NOTE = re.compile(
    r"brokerctl: note: no store here, so nothing is kept after this command;"
    r" its record is (/.+/brokerctl-log-[0-9a-f]{32})/log\n"
)


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def job(trace_dir: str, demo: DemoIssuer) -> Program:
    """Return the program in a job: CI is set, and nothing names a store."""
    program = Program(trace_dir, ci=True)
    demo.reset()
    main_job.service(program, demo)
    os.mkdir(user_home(program), 0o700)
    program.env = {"HOME": user_home(program), "BROKERCTL_HOME": None}
    return program


def user_home(program: Program) -> str:
    """Return the job's HOME, in which nothing may appear."""
    return os.path.join(program.home, "home")


def left(program: Program, *below: str) -> list[str]:
    """Return every file and folder under a path."""
    top = os.path.join(program.home, *below)
    return sorted(
        os.path.join(place, name)
        for place, folders, files in os.walk(top)
        for name in (*folders, *files)
    )


def find_log(said: str) -> str:
    """Return the folder that the only line on stderr names."""
    found = NOTE.fullmatch(said)
    assert found, said
    return found[1]


def read_log(folder: str) -> list[dict[str, object]]:
    """Return the records."""
    with open(os.path.join(folder, "log"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_get_leaves_its_record_and_nothing_else(job: Program, demo: DemoIssuer) -> None:
    """A live token on stdout, a readable record without it, and an empty home."""
    done = job("get", "service")
    token = done.stdout.strip()
    assert done.returncode == 0, done.stderr
    assert demo.is_active(token)
    folder = find_log(done.stderr)
    assert os.path.dirname(folder) == os.path.join(job.home, "tmp")
    assert [record["event"] for record in read_log(folder)] == ["token.issued", "token.handed_out"]
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            assert token not in file.read()
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (folder, f"{folder}/log")]
    assert modes == [0o700, 0o600]
    assert left(job, "home") == []
    assert not os.path.exists(os.path.join(job.home, "state"))
