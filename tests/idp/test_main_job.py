"""The main job against the real oidc-provider, over http and over TLS with a private CA."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.idp.issuer import OidcProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program


@pytest.fixture(autouse=True)
def _file_keeper(brokerctl: Program) -> None:
    brokerctl.env["BROKERCTL_KEEPER"] = "file"


@pytest.mark.parametrize("auth", ["basic", "post", "secret-jwt"])
def test_get_by_client_credentials(brokerctl: Program, issuer: OidcProvider, auth: str) -> None:
    """A token is had with each client authentication, and the second get asks nobody."""
    name = main_job.service(brokerctl, issuer, auth)
    first = brokerctl("get", name)
    assert (first.returncode, first.stderr) == (0, "")
    assert issuer.is_active(first.stdout.strip())
    second = brokerctl("get", name, "--json")
    answer = json.loads(second.stdout)
    assert answer["access_token"] == first.stdout.strip()
    assert answer["scopes"] == ["read"]
    assert issuer.counts()["grants"] == {"client_credentials": 1}


def test_login_by_code_get_refresh_revoke(brokerctl: Program, issuer: OidcProvider) -> None:
    """The story of a person: login in a browser, get, a fresh one, revoke proven dead."""
    name = main_job.person(brokerctl, issuer)
    login = brokerctl("login", name, env=main_job.scripted_browser(issuer))
    assert login.returncode == 0, login.stderr
    first = brokerctl("get", name).stdout.strip()
    assert issuer.is_active(first)
    fresh = brokerctl("get", name, "--fresh").stdout.strip()
    assert fresh != first
    revoked = brokerctl("revoke", name, "--verify", "--json")
    report = json.loads(revoked.stdout)
    assert {ending["outcome"] for ending in report["endings"]} == {"revoked"}, report
    assert not issuer.is_active(fresh)
    assert not issuer.is_active(first)
    after = brokerctl("get", name)
    assert after.returncode == 3
    assert f"run 'brokerctl login {name}'" in after.stderr
    assert brokerctl("audit", "verify").returncode == 0


def test_no_login_yet(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Without a grant the exit code is 3 and the hint is the command to run."""
    name = main_job.person(brokerctl, http_issuer)
    result = brokerctl("get", name)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        "brokerctl: error: no grant for 'person'\nbrokerctl: hint: run 'brokerctl login person'\n"
    )


def test_wider_scope_is_denied_and_recorded(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """A scope outside the profile: exit 4, nothing sent, the refusal in the log."""
    name = main_job.service(brokerctl, http_issuer)
    result = brokerctl("get", name, "--scope", "admin", "--json")
    assert (result.returncode, result.stdout) == (4, "")
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["rule"]) == (4, "scopes of the profile")
    assert http_issuer.counts()["grants"] == {}
    assert "token.denied" in brokerctl("audit", "log", "--json").stdout


@pytest.fixture(scope="module")
def short(trace_dir: str) -> Iterator[OidcProvider]:
    """Return an issuer of tokens that live for two seconds."""
    folder = os.path.join(trace_dir, "short")
    os.makedirs(folder, exist_ok=True)
    with OidcProvider(folder, access_ttl=2) as running:
        yield running


def test_refresh_after_expiry(brokerctl: Program, short: OidcProvider) -> None:
    """An expired token is refreshed, once, and the rotated grant goes on."""
    name = main_job.person(brokerctl, short)
    login = brokerctl("login", name, env=main_job.scripted_browser(short))
    assert login.returncode == 0, login.stderr
    seen = {brokerctl("get", name).stdout}
    for _ in range(2):
        time.sleep(2.1)
        short.reset()
        result = brokerctl("get", name)
        assert result.returncode == 0, result.stderr
        assert short.counts()["grants"] == {"refresh_token": 1}
        seen.add(result.stdout)
    assert len(seen) == 3


def test_herd_on_an_expired_token(brokerctl: Program, short: OidcProvider) -> None:
    """Sixty-four processes at once: one refresh, one answer for all."""
    name = main_job.service(brokerctl, short)
    assert brokerctl("get", name).returncode == 0
    time.sleep(2.1)
    short.reset()
    running = [brokerctl.start("get", name, "--min-ttl", "1s") for _ in range(64)]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 64, answers[0]
    issued = short.counts()["grants"].get("client_credentials", 0)
    # Two-second tokens run out while 64 processes start on a slow machine: each answer is of
    # a request that was made when the one before had no second left.
    assert issued == len({out for out, _ in answers})


@pytest.mark.parametrize(("mode", "most"), [("503", 2), ("hang", 1)])
def test_issuer_down(brokerctl: Program, http_issuer: OidcProvider, mode: str, most: int) -> None:
    """Against an issuer that is down, a crowd sends at most two requests and all end with 5."""
    name = main_job.service(brokerctl, http_issuer, timeout='"2s"')
    http_issuer.mode(token=mode)
    begun = time.monotonic()
    running = [brokerctl.start("get", name) for _ in range(16)]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [5] * 16, errors
    assert time.monotonic() - begun < 20
    assert sum(http_issuer.counts()["grants"].values()) <= most
    late = brokerctl("get", name)
    assert late.returncode == 5
    assert sum(http_issuer.counts()["grants"].values()) <= most


def test_good_token_is_served_while_the_issuer_is_down(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """A token that still lives is served when the issuer can't be reached for a newer one."""
    name = main_job.service(brokerctl, http_issuer)
    first = brokerctl("get", name)
    http_issuer.mode(token="503")
    again = brokerctl("get", name, "--min-ttl", "9000s")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert brokerctl("get", name, "--fresh").returncode == 5
