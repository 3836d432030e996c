"""Chains of exchanges: an ID token, or a job's identity, for another issuer's access token."""

from __future__ import annotations

import json
import os
import signal
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


def test_a_grant_is_used_again_where_its_issuer_takes_it(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """One grant for further exchanges while it lives, and none for another issuer's profile."""
    one, two = two_issuers
    two.trust(one, once=False)
    job = enter(brokerctl, platforms, one, "github")
    chain(brokerctl, two_issuers, '"identity"', "jwt")
    got = {
        brokerctl("get", "deploy", "--scope", word, env=job).stdout for word in ("read", "write")
    }
    assert len(got - {""}) == 2
    assert [seen["is_given"] for seen in two.exchanges()] == [True, True]
    assert len({seen["assertion"]["jti"] for seen in two.exchanges()}) == 1
    assert len(one.exchanges()) == 1
    one.habits(grant_ttl=25, answer={"expires_in": 3600})  # what it says itself counts
    brokerctl("revoke", "--all", env=job)
    for word in ("read", "write"):
        assert brokerctl("get", "deploy", "--scope", word, env=job).returncode == 0
    assert len({seen["assertion"]["jti"] for seen in two.exchanges()}) == 3


def test_an_issuer_that_takes_a_grant_once(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """A used one is refused once: then another is made for each, and no value is sent again."""
    one, two = two_issuers
    two.trust(one, once=True)
    job = enter(brokerctl, platforms, one, "github")
    chain(brokerctl, two_issuers, '"identity"', "jwt")
    words = (("--scope", "read"), ("--scope", "write"), ())
    done = [brokerctl("get", "deploy", *more, env=job) for more in words]
    assert [one.returncode for one in done] == [0, 0, 0], done
    seen = two.exchanges()
    assert [one["is_given"] for one in seen] == [True, False, True, True]
    sent = [one["assertion"]["jti"] for one in seen]
    assert sent[0] == sent[1], "it is not known before that this issuer notes them"
    assert len(set(sent)) == 3
    assert len(one.exchanges()) == 3
    brokerctl("revoke", "--all", env=job)
    brokerctl("get", "deploy", "--scope", "read", env=job)
    brokerctl("get", "deploy", "--scope", "write", env=job)
    assert [one["is_given"] for one in two.exchanges()[4:]] == [True, True], "it is remembered"


def three_links(program: Program, issuers: Issuers, platforms: Platforms) -> dict[str, str]:
    """Write a chain: identity, an access token of the first, its grant, the second's token."""
    one, two = issuers
    two.trust(one, once=False)
    job = enter(program, platforms, one, "github")
    middle = deploy(one, name="middle", **client(program, one))
    subject = '{ profile = "middle" }'
    chain(program, issuers, subject, "jwt")
    path = f"{program.home}/config.toml"
    with open(path, encoding="utf-8") as file:
        program.config(f"{file.read()}{middle}\n")
    return job


def tokens_of(issuers: Issuers) -> list[str]:
    """Return the access tokens that both have given, the first link's first."""
    first, last = (issuer.exchanges() for issuer in issuers)
    return [*(one["given"] for one in first if not one["audience"]), last[-1]["given"]]


def test_the_end_of_a_session_ends_every_link(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """What was made for it alone is revoked, the last link first; what all share is not."""
    one, two = two_issuers
    job = three_links(brokerctl, two_issuers, platforms)
    done = brokerctl("exec", "-p", "deploy", *SHOW, env=job)
    assert done.returncode == 7, done.stderr
    inner, outer = tokens_of(two_issuers)
    assert outer == done.stdout.strip()
    assert (one.is_active(inner), two.is_active(outer)) == (False, False)
    ended = [(one["profile"], one["outcome"]) for one in records(brokerctl, job, "token.revoked")]
    assert [name for name, _ in ended] == ["deploy", "grant", "middle"]
    assert {"deploy", "middle"} <= {name for name, outcome in ended if outcome == "revoked"}
    shared = brokerctl("get", "middle", env=job).stdout.strip()
    assert brokerctl("exec", "-p", "deploy", *SHOW, env=job).returncode == 7
    assert one.is_active(shared)
    assert len(tokens_of(two_issuers)) == 3, "it was exchanged, and no other made for the session"
    assert brokerctl("get", "middle", env=job).stdout.strip() == shared


def test_a_killed_session_s_links_end_with_the_next_command(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """SIGKILL leaves all three links to the next command of this home."""
    one, two = two_issuers
    job = three_links(brokerctl, two_issuers, platforms)
    words = ("sh", "-c", "echo $DEPLOY_TOKEN; exec sleep 60")
    with brokerctl.start("exec", "-p", "deploy", "--", *words, env=job) as process:
        assert process.stdout is not None
        process.stdout.readline()
        inner, outer = tokens_of(two_issuers)
        assert (one.is_active(inner), two.is_active(outer)) == (True, True)
        os.killpg(process.pid, signal.SIGKILL)
    brokerctl("status", env=job)
    assert (one.is_active(inner), two.is_active(outer)) == (False, False)


def test_one_session_exchanges_a_source_s_token_again(
    brokerctl: Program, two_issuers: Issuers, platforms: Platforms
) -> None:
    """Two profiles of one session: one identity, one grant, and both tokens dead at the end."""
    one, two = two_issuers
    job = three_links(brokerctl, two_issuers, platforms)
    path = f"{brokerctl.home}/config.toml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    last = text[text.index("[profile.deploy]") :].partition("[profile.middle]")[0]
    brokerctl.config(text + last.replace("deploy]", "other]").replace('"read", ', ""))
    words = ("sh", "-c", "echo $DEPLOY_TOKEN $OTHER_TOKEN")
    done = brokerctl("exec", "-p", "deploy", "-p", "other", "--", *words, env=job)
    tokens = done.stdout.split()
    assert (done.returncode, len(set(tokens))) == (0, 2), done.stderr
    assert not any(map(two.is_active, tokens))
    assert (len(one.exchanges()), len(platforms.seen)) == (2, 1)


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
