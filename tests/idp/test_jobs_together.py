"""Several APIs in one job, many processes of one, and many jobs on one home."""

from __future__ import annotations

import os
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.emulations.jobs import Job
from tests.idp.issuer import OidcProvider
from tests.idp.test_job_exchange import deploy, enter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulations.platforms import Platforms
    from tests.program import Program

PROCESSES = 64
JOBS = 500  # one after the other; the long form has 10,000
NAMES = ("one", "two", "three")
SHOW_ALL = "echo $ONE_TOKEN $TWO_TOKEN $THREE_TOKEN"


@pytest.fixture(scope="session")
def third_process(trace_dir: str) -> Iterator[OidcProvider]:
    """A third issuer with the two grants."""
    with OidcProvider(tempfile.mkdtemp(prefix="third-", dir=trace_dir), exchange=True) as running:
        yield running


@pytest.fixture
def three(
    http_exchange: OidcProvider, tls_exchange: OidcProvider, third_process: OidcProvider
) -> tuple[OidcProvider, ...]:
    """Return three issuers, one of them over TLS with a CA of its own."""
    third_process.reset()
    third_process.trust_nobody()
    return http_exchange, tls_exchange, third_process


def enter_all(
    program: Program, platforms: Platforms, issuers: tuple[OidcProvider, ...], **keys: str
) -> dict[str, str]:
    """Write a profile for each issuer; return the variables of a job that all of them trust."""
    profiles = [
        deploy(issuer, name=name, **keys) for name, issuer in zip(NAMES, issuers, strict=True)
    ]
    program.config("\n".join(profiles) + "\n")
    found: dict[str, str] = {}
    for issuer in issuers:
        found = enter(program, platforms, issuer, "github")
    return found


def exec_all(*command: str) -> tuple[str, ...]:
    """Return the words of an `exec` with all three profiles."""
    return ("exec", *(word for name in NAMES for word in ("-p", name)), "--", *command)


def test_three_apis_in_one_job(
    brokerctl: Program, three: tuple[OidcProvider, ...], platforms: Platforms
) -> None:
    """One identity for each audience, three tokens, all of them dead at the end."""
    job = enter_all(brokerctl, platforms, three)
    done = brokerctl(*exec_all("sh", "-c", SHOW_ALL), env=job)
    tokens = done.stdout.split()
    assert (done.returncode, len(set(tokens))) == (0, 3), done.stderr
    assert not any(map(OidcProvider.is_active, three, tokens))
    asked = [request.query["audience"] for request in platforms.seen]
    assert sorted(asked) == sorted(issuer.url for issuer in three)


def test_three_apis_and_a_kill(
    brokerctl: Program, three: tuple[OidcProvider, ...], platforms: Platforms
) -> None:
    """One later command of the same home ends all three."""
    job = enter_all(brokerctl, platforms, three)
    with brokerctl.start(*exec_all("sh", "-c", f"{SHOW_ALL}; exec sleep 60"), env=job) as process:
        assert process.stdout is not None
        tokens = process.stdout.readline().split()
        assert all(map(OidcProvider.is_active, three, tokens))
        os.killpg(process.pid, signal.SIGKILL)
    brokerctl("status", env=job)
    assert not any(map(OidcProvider.is_active, three, tokens))


def test_the_third_issuer_is_down(
    brokerctl: Program, three: tuple[OidcProvider, ...], platforms: Platforms
) -> None:
    """Exit 5, no child, and neither of the first two tokens survives."""
    job = enter_all(brokerctl, platforms, three, timeout='"3s"')
    brokerctl("status", env=job)  # the three are known: no metadata is asked for below
    three[2].mode(token="503")
    done = brokerctl(*exec_all("touch", f"{brokerctl.home}/ran"), env=job)
    assert done.returncode == 5
    assert not os.path.exists(f"{brokerctl.home}/ran")
    for issuer in three[:2]:
        issued = issuer.counts()["paths"]
        assert issued["/token/revocation"] == 1
        assert [one["is_given"] for one in issuer.exchanges()] == [True]


def test_many_processes_of_one_job(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """One exchange, and one token for all of them."""
    job = enter(brokerctl, platforms, http_exchange, "github")
    brokerctl.config(deploy(http_exchange))
    brokerctl("status", env=job)  # key and configuration are made once
    with ThreadPoolExecutor(PROCESSES) as pool:
        runs = list(pool.map(lambda _: brokerctl("get", "deploy", env=job), range(PROCESSES)))
    assert {run.returncode for run in runs} == {0}, next(one.stderr for one in runs if one.stderr)
    assert len({run.stdout for run in runs}) == 1
    assert len(http_exchange.exchanges()) == 1


def test_two_jobs_at_once(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """Two exchanges, and neither job sees the other's token."""
    jobs = [
        enter(brokerctl, platforms, http_exchange, "github", Job(number=number))
        for number in (1, 2)
    ] * 8
    brokerctl.config(deploy(http_exchange))
    brokerctl("status")
    with ThreadPoolExecutor(len(jobs)) as pool:
        tokens = list(pool.map(lambda job: brokerctl("get", "deploy", env=job).stdout, jobs))
    assert len(set(tokens[::2])) == len(set(tokens[1::2])) == 1
    assert tokens[0] != tokens[1]
    assert len(http_exchange.exchanges()) == 2
