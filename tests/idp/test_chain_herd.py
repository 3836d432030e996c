"""Many processes of one job at the end of a chain of two real issuers: one request to each."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.idp.test_chains import chain
from tests.idp.test_job_exchange import enter

if TYPE_CHECKING:
    from tests.emulations.platforms import Platforms
    from tests.idp.test_chains import Issuers
    from tests.program import Program

PROCESSES = 64
FEW = 12


def start(program: Program, issuers: Issuers, platforms: Platforms) -> dict[str, str]:
    """Write the two profiles; return the variables of a job that the first issuer trusts."""
    one, two = issuers
    two.trust(one)
    job = enter(program, platforms, one, "github")
    chain(program, issuers, '"identity"', "jwt")
    program("status", env=job)  # key and configuration are made once
    return job


@pytest.mark.slow("64 processes on two cores")
def test_one_request_to_each(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """One identity, one exchange, one grant for the second issuer, one token for all."""
    one, two = two_issuers
    job = start(brokerctl, two_issuers, platforms)
    before = len(platforms.seen)
    running = [brokerctl.start("get", "deploy", env=job) for _ in range(PROCESSES)]
    answers = {process.communicate(timeout=110) for process in running}
    assert {process.returncode for process in running} == {0}, answers
    assert len({stdout for stdout, _ in answers}) == 1
    assert [len(issuer.exchanges()) for issuer in (one, two)] == [1, 1]
    assert len(platforms.seen) - before == 1
    assert brokerctl("audit", "verify").returncode == 0


@pytest.mark.slow("an issuer that is silent for seconds")
@pytest.mark.parametrize("fault", ["hang", "503"])
def test_the_second_issuer_is_down(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms, fault: str
) -> None:
    """Each ends with exit 5; the issuers are asked twice at most, whoever waits."""
    one, two = two_issuers
    job = start(brokerctl, two_issuers, platforms)
    path = Path(brokerctl.home, "config.toml")
    text = path.read_text()
    brokerctl.config(text.replace("[profile.deploy]", '[profile.deploy]\ntimeout = "4s"'))
    two.mode(token=fault)
    running = [brokerctl.start("get", "deploy", env=job) for _ in range(FEW)]
    for process in running:
        process.communicate(timeout=60)
    assert {process.returncode for process in running} == {5}
    assert sum(two.counts()["grants"].values()) <= 2
    assert len(one.exchanges()) <= 2


@pytest.mark.slow("rounds of killed processes")
def test_killed_at_random(brokerctl: Program, two_issuers: Issuers, platforms: Platforms) -> None:
    """The others and the next have a token, and one `revoke` ends all that the store knows."""
    one, two = two_issuers
    job = start(brokerctl, two_issuers, platforms)
    two.mode(token="slow:150")
    one.mode(token="slow:150")
    for pause_s in (0.3, 0.5, 0.8):
        running = [brokerctl.start("get", "deploy", "--fresh", env=job) for _ in range(FEW)]
        time.sleep(pause_s)
        for process in running[::2]:
            process.send_signal(signal.SIGKILL)
        ended = [process.communicate(timeout=60) for process in running]
        assert {process.returncode for process in running[1::2]} == {0}, ended
    last = brokerctl("get", "deploy", env=job)
    assert last.returncode == 0, last.stderr
    assert two.is_active(last.stdout.strip())
    brokerctl("revoke", "deploy", env=job)
    assert not two.is_active(last.stdout.strip())
    assert brokerctl("audit", "verify").returncode == 0
