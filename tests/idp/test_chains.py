"""Chains of exchanges: an ID token, or a job's identity, for another issuer's access token."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.idp.main_job import scripted_browser
from tests.idp.test_job_exchange import OPAQUE, SHOW, deploy, enter, records

if TYPE_CHECKING:
    from tests.emulations.platforms import Platforms
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

TYPE = "urn:ietf:params:oauth:token-type:"
Issuers = tuple["OidcProvider", "OidcProvider"]


def secret_of(program: Program, issuer: OidcProvider) -> str:
    """Write the secret of the client `post` into a private file; return the reference."""
    path = f"{program.home}/{issuer.url.rpartition(':')[2]}.secret"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(issuer.secrets["post"] or "")
    return f'{{ file = "{path}" }}'


def client(program: Program, issuer: OidcProvider) -> dict[str, str]:
    """Return the keys of a client with a secret."""
    return {
        "client_id": '"post"',
        "client_auth": '"client_secret_post"',
        "client_secret": secret_of(program, issuer),
    }


def chain(
    program: Program,
    issuers: Issuers,
    subject: str,
    requested: str,
    *first: str,
    is_public: bool = False,
) -> None:
    """Write two profiles: `grant`, which gets a grant for the second issuer, and `deploy`."""
    one, two = issuers
    target = deploy(
        two,
        flow="jwt_bearer",
        exchange='{ subject = { profile = "grant" } }',
        **client(program, two),
    )
    source = deploy(
        one,
        name="grant",
        exchange=f'{{ subject = {subject}, requested_type = "{requested}" }}',
        **({} if is_public else client(program, one)),
    )
    # A source that is no job's names no identity.
    lines = [line for line in f"{source}\n{target}".splitlines() if "identity =" not in line]
    program.config("\n".join([*first, *lines]) + "\n")


def test_a_login_s_id_token_goes_to_another_issuer(
    brokerctl: Program, two_issuers: Issuers
) -> None:
    """The identity assertion grant: logged in at one, a token of the other, each recorded."""
    one, two = two_issuers
    two.trust(one)
    login = "\n".join(
        [
            "[profile.login]",
            f'issuer = "{one.url}"',
            'flow = "code"',
            'client_id = "cli"',
            'scopes = ["openid", "offline_access", "read"]',
            f'resource = ["{OPAQUE}"]',
            *([f'ca_file = "{one.ca_file}"'] if one.ca_file else []),
        ]
    )
    one.habits(clients={two.url: "post"})  # an ID token is for the client that logged in
    subject = '{ profile = "login", token = "id_token" }'
    chain(brokerctl, two_issuers, subject, "id-jag", login, is_public=True)
    missing = brokerctl("get", "deploy")
    assert missing.returncode == 3, missing.stderr
    done = brokerctl("login", "login", env=scripted_browser(one))
    assert done.returncode == 0, done.stderr
    done = brokerctl("exec", "-p", "deploy", *SHOW)
    assert done.returncode == 7, done.stderr
    assert not two.is_active(done.stdout.strip())
    assert brokerctl("exec", "-p", "deploy", *SHOW).returncode == 7  # each grant is good for one
    seen = two.exchanges()
    assert [one["is_given"] for one in seen] == [True, True]
    handed = [
        (one["profile"], one["outcome"]) for one in records(brokerctl, {}, "token.handed_out")
    ]
    assert handed[:3] == [("login", "id_token"), ("grant", "issue"), ("deploy", "issue")]
    given = next(
        one for one in records(brokerctl, {}, "token.handed_out") if one["profile"] == "grant"
    )
    assert given["exchange"]["issued_type"] == f"{TYPE}id-jag"
    assert given["audience"] == [two.url]
    assert given["resource"] == [OPAQUE]


def test_the_grant_is_shown_to_no_tool(brokerctl: Program, two_issuers: Issuers) -> None:
    """Exit 4 for `get` and `exec` of the profile itself, and no request to its issuer."""
    chain(brokerctl, two_issuers, '"identity"', "id-jag")
    for words in (("get", "grant"), ("exec", "-p", "grant", "--", "true")):
        done = brokerctl(*words, env={"GITHUB_ACTIONS": "true"})
        assert done.returncode == 4, done.stderr
        assert "for other issuers alone" in done.stderr
    assert two_issuers[0].exchanges() == []


def test_a_job_s_identity_over_two_issuers(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """Identity chaining: a JWT of the first for the second; the tokens at its end are the job's."""
    one, two = two_issuers
    two.trust(one)
    job = enter(brokerctl, platforms, one, "github")
    chain(brokerctl, two_issuers, '"identity"', "jwt")
    first, second = (brokerctl("exec", "-p", "deploy", *SHOW, env=job) for _ in range(2))
    assert (first.returncode, second.returncode) == (7, 7), first.stderr
    assert not any(two.is_active(done.stdout.strip()) for done in (first, second))
    shared = brokerctl("get", "deploy", env=job).stdout
    assert brokerctl("get", "deploy", env=job).stdout == shared
    other = job | {"GITHUB_RUN_ID": "2"}
    assert brokerctl("get", "deploy", env=other).stdout != shared


def test_a_grant_of_type_jwt_is_masked(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """It is no bearer token, and no cloud's credentials either."""
    one, two = two_issuers
    job = enter(brokerctl, platforms, one, "github")
    exchange = '{ subject = "identity", requested_type = "jwt" }'
    brokerctl.config(
        deploy(one, exchange=exchange, audience=f'["{two.url}"]', **client(brokerctl, one))
    )
    done = brokerctl("exec", "-p", "deploy", "--mask", *SHOW, env=job)
    assert (done.returncode, done.stdout.strip()) == (7, "****"), done.stderr
    done = brokerctl("get", "deploy", "--format", "header", env=job)
    assert (done.returncode, done.stdout) == (2, "")


def test_the_second_issuer_refuses(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """Exit 5; the assertion was sent once, and nothing else is tried."""
    one, two = two_issuers
    job = enter(brokerctl, platforms, one, "github")
    chain(brokerctl, two_issuers, '"identity"', "jwt")
    done = brokerctl("exec", "-p", "deploy", *SHOW, env=job)
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert len(two.exchanges()) == 1
    two.mode(token="503")
    assert brokerctl("get", "deploy", "--fresh", env=job).returncode == 5
    assert sum(two.counts()["grants"].values()) == 2  # no second try with the same assertion


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ('{ profile = "deploy" }', "goes in a circle"),
        ('{ profile = "nobody" }', "no profile 'nobody'"),
    ],
)
def test_a_chain_that_can_not_be(
    brokerctl: Program, two_issuers: Issuers, subject: str, said: str
) -> None:
    """Exit 2, before anybody is asked."""
    chain(brokerctl, two_issuers, subject, "jwt")
    done = brokerctl("get", "deploy", "--json")
    assert done.returncode == 2
    assert said in json.loads(done.stderr)["error"]["message"]
