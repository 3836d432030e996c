"""A herd of processes on one expired token: one refresh, and kills at random that lose nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from brokerctl.store.file.lock_holder import parse_holder
from tests.idp import main_job
from tests.idp.issuer import DemoIssuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

CROWD = 256
ROUNDS = 5
CPU = min(os.sched_getaffinity(0))
SPIN = [sys.executable, "-c", "while True: pass"]


@pytest.fixture
def rotating(trace_dir: str) -> Iterator[DemoIssuer]:
    """Return an issuer that rotates, detects reuse, and counts."""
    folder = tempfile.mkdtemp(prefix="herd-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def staying(trace_dir: str) -> Iterator[DemoIssuer]:
    """Return an issuer whose refresh tokens stay as they are."""
    folder = tempfile.mkdtemp(prefix="herd-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True, no_rotate=True) as running:
        yield running


def log_in(program: Program, issuer: DemoIssuer) -> str:
    """Log in as a person and return the profile's name."""
    program.env["BROKERCTL_KEEPER"] = "file"
    name = main_job.person(program, issuer)
    login = program("login", name, env=main_job.scripted_browser(issuer))
    assert login.returncode == 0, login.stderr
    return name


def let_expire(program: Program, issuer: DemoIssuer, name: str) -> None:
    """Leave an expired token in the store, and an issuer of long-lived ones."""
    issuer.change(access_ttl=1)
    assert program("get", name, "--fresh").returncode == 0
    issuer.change(access_ttl=3600)
    time.sleep(1.1)
    issuer.reset()


@pytest.mark.slow("256 processes on two cores")
def test_one_refresh_for_256(brokerctl: Program, rotating: DemoIssuer) -> None:
    """256 processes meet an expired token: the issuer counts one refresh, all print the same."""
    name = log_in(brokerctl, rotating)
    let_expire(brokerctl, rotating, name)
    rotating.mode(token="slow:300")
    running = [brokerctl.start("get", name) for _ in range(CROWD)]
    answers = {process.communicate(timeout=110)[0] for process in running}
    assert {process.returncode for process in running} == {0}
    assert len(answers) == 1
    assert rotating.counts()["grants"] == {"refresh_token": 1}
    assert brokerctl("audit", "verify").returncode == 0


def holds(program: Program, pid: int) -> bool:
    """Return whether a process is written down as the one that holds a grant's lock."""
    files = Path(program.home).rglob("locks/*.lock")
    return pid in {(parse_holder(one.read_bytes()) or {}).get("pid") for one in files}


@pytest.mark.long
@pytest.mark.slow("a process on a seventieth of a processor")
@pytest.mark.timeout(900)
def test_a_starved_holder(brokerctl: Program, rotating: DemoIssuer) -> None:
    """It gets one or two per cent of a processor, and the token; those who wait for it get it too.

    `make test-long T="-k starved"`: a minute or two each, and all else on the machine waits.
    """
    name = log_in(brokerctl, rotating)
    let_expire(brokerctl, rotating, name)
    env, pipe, there = brokerctl.environment(), subprocess.PIPE, ["taskset", "-c", str(CPU)]
    # All in our own session: between sessions, Linux shares processors whatever the niceness.
    busy = [subprocess.Popen([*there, *SPIN])]
    get = [brokerctl.path, "get", name]
    try:
        starved = [*there, "nice", "-n", "19", *get]
        holder = subprocess.Popen(starved, env=env, text=True, stdout=pipe, stderr=pipe)
        while not holds(brokerctl, holder.pid):
            assert holder.poll() is None
            time.sleep(0.1)
        running = [subprocess.Popen(get, env=env, text=True, stdout=pipe) for _ in range(8)]
        answers = {process.communicate(timeout=400)[0] for process in running}
        answers.add(holder.communicate(timeout=400)[0])
    finally:
        for spinning in busy:
            spinning.kill()
            spinning.wait()
    assert {process.returncode for process in (holder, *running)} == {0}
    assert len(answers) == 1
    assert rotating.counts()["grants"] == {"refresh_token": 1}


@pytest.mark.long
@pytest.mark.slow("256 processes on what four busy loops leave of two cores")
@pytest.mark.timeout(900)
def test_a_starved_herd(brokerctl: Program, rotating: DemoIssuer) -> None:
    """A machine that is short of processors makes a token late, and nobody goes without."""
    name = log_in(brokerctl, rotating)
    let_expire(brokerctl, rotating, name)
    busy = [subprocess.Popen(SPIN) for _ in range(4)]
    get = ["nice", "-n", "19", brokerctl.path, "get", name]
    env, pipe = brokerctl.environment(), subprocess.PIPE
    try:
        running = [
            subprocess.Popen(get, env=env, text=True, stdout=pipe, stderr=pipe)
            for _ in range(CROWD)
        ]
        ended = [(*process.communicate(timeout=600), process.returncode) for process in running]
    finally:
        for spinning in busy:
            spinning.kill()
            spinning.wait()
    assert {(stderr, code) for _, stderr, code in ended} == {("", 0)}
    assert len({stdout for stdout, _, _ in ended}) == 1
    assert rotating.counts()["grants"] == {"refresh_token": 1}


@pytest.mark.slow("rounds of killed crowds")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_random(brokerctl: Program, rotating: DemoIssuer, number: signal.Signals) -> None:
    """Whoever is killed, the grant lives on, or an intent explains which step was cut off.

    Signals other than SIGKILL wait for the step between sending and storing, so they lose nothing.
    """
    chance = random.Random(number)
    name = log_in(brokerctl, rotating)
    for _ in range(ROUNDS):
        let_expire(brokerctl, rotating, name)
        rotating.mode(token="slow:150")
        running = [brokerctl.start("get", name) for _ in range(12)]
        time.sleep(chance.uniform(0.05, 0.6))
        for process in chance.sample(running, 6):
            process.send_signal(number)
        for process in running:
            process.communicate(timeout=60)
        rotating.mode(token="ok")
        after = brokerctl("get", name)
        if after.returncode == 0:
            assert rotating.counts()["issued"].get("refresh_token", 0) >= 1
            continue
        assert number == signal.SIGKILL, after.stderr
        assert after.returncode == 3
        assert "a refresh was cut off at " in after.stderr
        log = [json.loads(line) for line in brokerctl("audit", "log", "--json").stdout.splitlines()]
        assert any("cut off" in record.get("reason", "") for record in log)
        assert brokerctl("login", name, env=main_job.scripted_browser(rotating)).returncode == 0
    assert brokerctl("audit", "verify").returncode == 0


@pytest.mark.slow("rounds of killed crowds")
def test_killed_at_random_where_nothing_rotates(brokerctl: Program, staying: DemoIssuer) -> None:
    """Whoever is killed, the grant is good: the next one has a living token, and a fresh one."""
    chance = random.Random(0)
    name = log_in(brokerctl, staying)
    for _ in range(2):
        let_expire(brokerctl, staying, name)
        staying.mode(token="slow:150")
        running = [brokerctl.start("get", name) for _ in range(8)]
        time.sleep(chance.uniform(0.05, 0.6))
        for process in running[::2]:
            process.kill()
        for process in running:
            process.communicate(timeout=60)
        staying.mode(token="ok")
        for words in ((), ("--fresh",)):
            after = brokerctl("get", name, *words)
            assert after.returncode == 0, after.stderr
            assert staying.is_active(after.stdout.strip())
    assert "/token/revocation" not in staying.counts()["paths"]
    assert brokerctl("audit", "verify").returncode == 0


def test_lost_answer(brokerctl: Program, rotating: DemoIssuer) -> None:
    """The issuer rotated and its answer never came: the grant's end names the step and the time."""
    name = log_in(brokerctl, rotating)
    let_expire(brokerctl, rotating, name)
    rotating.mode(token="lost")
    cut = brokerctl("get", name)
    assert cut.returncode == 5, "an outage is no end of a grant"
    rotating.mode(token="ok")
    after = brokerctl("get", name, "--fresh")
    assert after.returncode == 3
    assert "was lost on its way here or could not be used" in after.stderr
    assert "cut off" not in after.stderr, "nobody was killed"
    again = brokerctl("get", name)
    assert (again.returncode, again.stderr) == (3, after.stderr), "a dead grant is remembered"
