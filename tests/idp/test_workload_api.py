"""A workload that a SPIFFE agent knows: its JWT-SVID, exchanged at a real issuer.

The agent is emulated over real gRPC (tests/emulations/spiffe_server.py), the issuer is the
certified oidc-provider.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.emulations.jobs import ISSUERS
from tests.emulations.spiffe_agent import ID, SpiffeAgent
from tests.idp.test_job_exchange import SHOW, deploy, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import OidcProvider
    from tests.program import Program

PROVEN = f'["spiffe","{ISSUERS["spiffe"]}","{ID}"]'


@pytest.fixture(scope="module")
def agent_process() -> Iterator[SpiffeAgent]:
    """One agent for all tests here."""
    with SpiffeAgent() as running:
        yield running


@pytest.fixture
def agent(agent_process: SpiffeAgent, http_exchange: OidcProvider) -> SpiffeAgent:
    """Return it as it was at the start; the issuer believes its SVIDs."""
    agent_process.set(fault="", ids=[ID], lifetime_s=300)
    http_exchange.trust(ISSUERS["spiffe"], agent_process.jwks, audience=http_exchange.url)
    return agent_process


@pytest.mark.parametrize("begin", ["unix://", ""], ids=["uri", "path"])
def test_an_agent_s_svid_is_exchanged(
    brokerctl: Program, http_exchange: OidcProvider, agent: SpiffeAgent, begin: str
) -> None:
    """Asked for anew by each `exec`; two tokens, dead at the end; the record has the SVID's id."""
    brokerctl.config(deploy(http_exchange, f'{{ spiffe = "{begin}{agent.socket}" }}'))
    before = len(agent.seen)
    runs = [brokerctl("exec", "-p", "deploy", *SHOW) for _ in range(2)]
    assert [run.returncode for run in runs] == [7, 7], runs
    assert runs[1].stderr == ""
    tokens = {run.stdout.strip() for run in runs}
    assert len(tokens) == 2
    assert not any(http_exchange.is_active(token) for token in tokens)
    assert [one["is_given"] for one in http_exchange.exchanges()] == [True, True]
    assert agent.seen[before:] == [[http_exchange.url]] * 2
    job = records(brokerctl, {}, "token.handed_out")[-1]["job"]
    assert (job["platform"], job["id"]) == ("spiffe", PROVEN)


def test_nobody_knows_the_workload_before_it_is_asked(
    brokerctl: Program, http_exchange: OidcProvider, agent: SpiffeAgent
) -> None:
    """So its tokens stay in memory: another workload on the same home is served none of them."""
    brokerctl.config(deploy(http_exchange, f'{{ spiffe = "{agent.socket}" }}'))
    tokens = []
    for name in (ID, ID, "spiffe://example.org/ci/other"):
        agent.set(ids=[name])
        tokens.append(brokerctl("get", "deploy").stdout.strip())
    assert len(set(tokens)) == 3
    state = f"{brokerctl.home}/state/v1"
    left = [os.listdir(f"{state}/{one}") for one in ("tokens", "jobs") if _is_folder(state, one)]
    assert not any(left)


def _is_folder(state: str, name: str) -> bool:
    return os.path.isdir(f"{state}/{name}")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("permission", 2),
        ("unavailable", 5),
        ("audience", 5),
        ("expired", 5),
        ("from tomorrow", 5),
        ("alg none", 5),
        ("two", 5),
        ("not a jwt", 5),
        ("other id", 5),
        ("empty", 5),
        ("garbage", 5),
        ("huge", 5),
        ("silence", 5),
    ],
)
def test_what_an_agent_can_answer(
    brokerctl: Program, http_exchange: OidcProvider, agent: SpiffeAgent, fault: str, code: int
) -> None:
    """Its documented exit code, nothing exchanged, and no token in any output (the canary)."""
    agent.fault(fault)
    identity = f'{{ spiffe = "unix://{agent.socket}" }}'
    brokerctl.config(deploy(http_exchange, identity, timeout='"2s"'))
    done = brokerctl("exec", "-p", "deploy", *SHOW)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert http_exchange.exchanges() == []


def test_the_issuer_looks_at_the_signature(
    brokerctl: Program, http_exchange: OidcProvider, agent: SpiffeAgent
) -> None:
    """A JWT-SVID by another key is exchanged by nobody: exit 5."""
    agent.fault("another key")
    brokerctl.config(deploy(http_exchange, f'{{ spiffe = "{agent.socket}" }}'))
    done = brokerctl("exec", "-p", "deploy", *SHOW)
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert [one["is_given"] for one in http_exchange.exchanges()] == [False]


def test_one_that_the_agent_has_kept(
    brokerctl: Program, http_exchange: OidcProvider, agent: SpiffeAgent
) -> None:
    """It is good until half of its life is over, as SPIRE's agent hands it out."""
    agent.set(lifetime_s=3600)
    brokerctl.config(deploy(http_exchange, f'{{ spiffe = "{agent.socket}" }}'))
    for age in (0, 1700):
        agent.set(age=age)
        assert brokerctl("exec", "-p", "deploy", *SHOW).returncode == 7


@pytest.mark.parametrize("kind", ["none", "file"])
def test_a_socket_that_is_none(brokerctl: Program, http_exchange: OidcProvider, kind: str) -> None:
    """Exit 2, by name; the variable of other clients of the Workload API counts for nothing."""
    path = f"{brokerctl.home}/{kind}"
    if kind == "file":
        with open(path, "w", encoding="utf-8") as file:
            file.write("")
    brokerctl.config(deploy(http_exchange, f'{{ spiffe = "unix://{path}" }}'))
    done = brokerctl("get", "deploy", env={"SPIFFE_ENDPOINT_SOCKET": "unix:///run/other"})
    assert done.returncode == 2
    assert path in done.stderr
    assert "mounted" in done.stderr
    brokerctl.config(deploy(http_exchange))
    done = brokerctl("get", "deploy", env={"SPIFFE_ENDPOINT_SOCKET": f"unix://{path}"})
    assert done.returncode == 2
    assert "no CI platform is to be seen" in done.stderr


def test_the_doctor_shows_it(
    brokerctl: Program, http_exchange: OidcProvider, agent: SpiffeAgent
) -> None:
    """`sub` as it is, no token, and a warning that nothing of it is kept; then what is missing."""
    brokerctl.config(deploy(http_exchange, f'{{ spiffe = "unix://{agent.socket}" }}'))
    done = brokerctl("doctor", "--ci", "--json")
    assert done.returncode == 0, done
    report = json.loads(done.stdout)
    (identity,) = report["identities"]
    assert (identity["platform"], identity["sub"], identity["job"]) == ("spiffe", ID, None)
    assert identity["audience"] == http_exchange.url
    assert "sts.amazonaws.com" in str(identity["conditions"])  # whom it would be asked for there
    assert "nothing tells this job from others" in str(report["findings"])
    agent.fault("permission")
    done = brokerctl("doctor", "--ci", "--json")
    assert done.returncode == 2, done
    assert "registration entry" in done.stdout


def test_login_once_and_nothing_stays(
    brokerctl: Program, http_exchange: OidcProvider, agent: SpiffeAgent
) -> None:
    """`login --ci` does the exchange, says what it gave, and revokes what nobody could find."""
    brokerctl.config(deploy(http_exchange, f'{{ spiffe = "{agent.socket}" }}'))
    done = brokerctl("login", "deploy", "--ci", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["ci"]
    assert (said["platform"], said["sub"], said["kept"]) == ("spiffe", ID, False)
    assert said["endings"] == ["revoked"]
