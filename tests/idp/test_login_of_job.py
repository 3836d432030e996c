"""`login --ci` at a real issuer: one exchange, what it gave, and nothing of anybody's revoked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.idp.test_job_exchange import deploy, enter

if TYPE_CHECKING:
    from tests.emulations.platforms import Platforms
    from tests.idp.issuer import OidcProvider
    from tests.program import Program


def test_it_says_what_the_exchange_gave(
    brokerctl: Program, exchange_issuer: OidcProvider, platforms: Platforms
) -> None:
    """Platform, sub, audience, scopes, type and end, never the token; the job's `get` gets it."""
    issuer = exchange_issuer
    job = enter(brokerctl, platforms, issuer, "github")
    brokerctl.config(deploy(issuer))
    done = brokerctl("login", "deploy", "--ci", "--json", env=job)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["profile"], found["scopes"]) == ("deploy", ["read", "write"])
    assert found["ci"] | {"job": None} == {
        "platform": "github",
        "job": None,
        "sub": "repo:octo-org@123456/octo-repo@456789:ref:refs/heads/main",
        "audience": issuer.url,
        "issued_type": "urn:ietf:params:oauth:token-type:access_token",
        "kept": True,
        "endings": [],
    }
    token = brokerctl("get", "deploy", env=job).stdout.strip()
    assert issuer.is_active(token)
    assert token not in done.stdout + done.stderr
    text = brokerctl("login", "deploy", "--ci", env=job)
    assert "kept for this job, and for no other" in text.stdout
    assert len(issuer.exchanges()) == 2
    assert issuer.is_active(token)  # somebody of this job may use it


def test_what_is_kept_nowhere_is_ended(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """In a job without a store, and where nobody knows which job it is: revoked at once."""
    issuer = http_exchange
    job: dict[str, str | None] = dict(enter(brokerctl, platforms, issuer, "github"))
    brokerctl.config(deploy(issuer))
    bare = job | {"BROKERCTL_HOME": None, "CI": "true"}
    unknown = job | {"GITHUB_RUN_ID": None}
    for env in (bare, unknown):
        done = brokerctl("login", "deploy", "--ci", "--json", env=env)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["ci"]
        assert (found["kept"], found["endings"]) == (False, ["revoked"])
        told = brokerctl("login", "deploy", "--ci", env=env)
        assert "kept nowhere, and ended at once: revoked" in told.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["person", "--ci"],
        ["--ci"],
        ["https://issuer.example", "--ci"],
        ["deploy", "--ci", "--flow", "device"],
        ["deploy", "--ci", "--no-browser"],
        ["deploy", "--ci", "--force"],
    ],
)
def test_what_is_no_login_of_a_job(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms, words: list[str]
) -> None:
    """Without an identity, or with words of a person's login: exit 2, and nobody is asked."""
    job = enter(brokerctl, platforms, http_exchange, "github")
    text = deploy(http_exchange)
    text += (
        f'\n[profile.person]\nissuer = "{http_exchange.url}"\nflow = "device"\nclient_id = "x"\n'
    )
    brokerctl.config(text)
    done = brokerctl("login", *words, env=job)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert http_exchange.exchanges() == []


def test_no_job_and_a_refusal(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """Outside of a job: exit 2; an issuer that trusts somebody else: exit 5, with its word."""
    brokerctl.config(deploy(http_exchange))
    assert brokerctl("login", "deploy", "--ci").returncode == 2
    job = enter(brokerctl, platforms, http_exchange, "github")
    http_exchange.trust_nobody()
    done = brokerctl("login", "deploy", "--ci", env=job)
    assert (done.returncode, done.stdout) == (5, ""), done
