"""What a newcomer meets in the first hour: each line leads on, and none leads astray."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program


@pytest.fixture(autouse=True)
def _file_keeper(brokerctl: Program) -> None:
    brokerctl.env["BROKERCTL_KEEPER"] = "file"


def test_revoke_tells_the_oldest_first(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Tokens end in the order of their birth, however their slots are named."""
    name = main_job.person(brokerctl, http_issuer, scopes='["offline_access", "read", "write"]')
    brokerctl("login", name, env=main_job.scripted_browser(http_issuer))
    for scopes in ("offline_access read write", "write", "read", "read write"):
        assert brokerctl("get", name, "--scope", scopes).returncode == 0
    issued = brokerctl("audit", "log", "--json").stdout.splitlines()
    records = [json.loads(line) for line in issued]
    born = [one["fingerprint"] for one in records if one["event"] == "token.handed_out"]
    ended = json.loads(brokerctl("revoke", name, "--json").stdout)
    found = [one["fingerprint"] for one in ended["endings"] if one["kind"] == "access_token"]
    assert found == born


def test_a_queued_revocation_advises_no_second_one(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """Where something is queued, `status` tries again by itself: nobody is told to revoke all."""
    name = main_job.service(brokerctl, http_issuer)
    assert brokerctl("get", name).returncode == 0
    http_issuer.mode(revocation="503")
    assert brokerctl("revoke", name).returncode == 9
    told = brokerctl("status").stdout
    assert "some revocations are queued: each 'brokerctl status' tries again" in told
    assert "--all" not in told
    http_issuer.mode(revocation="ok")
    assert "queued" not in brokerctl("status").stdout


def test_how_a_grant_ended_is_said_without_its_person(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """`ended: revoked here` is about the grant; who it was for belongs to one that is held."""
    name = main_job.person(brokerctl, http_issuer)
    brokerctl("login", name, env=main_job.scripted_browser(http_issuer))
    assert f"{name}: logged in as alice, " in brokerctl("status").stdout
    brokerctl("revoke", name)
    assert f"{name}: ended: revoked here (run 'brokerctl login {name}')" in (
        brokerctl("status").stdout
    )


def test_what_was_mended_is_tried_at_once(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """A wrong secret that was put right: the failure that is remembered says how to ask now."""
    name = main_job.service(brokerctl, http_issuer, client_secret='{ env = "MY_SECRET" }')
    brokerctl.env["MY_SECRET"] = "wrong"
    first = brokerctl("get", name).stderr
    assert "answered invalid_client" in first
    assert "asks now" not in first
    brokerctl.env["MY_SECRET"] = http_issuer.secrets["basic"]
    http_issuer.reset()
    again = brokerctl("get", name).stderr
    assert "answered invalid_client" in again
    assert "not asked again for " in again
    assert f" s: 'brokerctl get {name} --fresh' asks now" in again
    assert http_issuer.counts()["grants"] == {}
    assert brokerctl("get", name, "--fresh").returncode == 0
    assert brokerctl("get", name).returncode == 0


def test_the_first_login_of_all_says_what_it_takes(brokerctl: Program) -> None:
    """With no profile anywhere a list of them would be no help."""
    told = brokerctl("login").stderr
    assert "hint: run 'brokerctl login https://ISSUER --client-id ID'" in told


def test_a_login_that_will_not_last_says_why(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Without a refresh token the scope that asks for one is named, unless it was asked for."""
    name = main_job.person(brokerctl, http_issuer, scopes='["openid", "read"]')
    done = brokerctl("login", name, env=main_job.scripted_browser(http_issuer))
    assert "gave no refresh token" in done.stdout
    assert "scope offline_access, which was not asked for" in done.stdout
    name = main_job.person(brokerctl, http_issuer)
    done = brokerctl("login", name, env=main_job.scripted_browser(http_issuer))
    assert "logged in" in done.stdout
    assert "was not asked for" not in done.stdout
