"""A CI job without a secret: who it is, exchanged at a real issuer, and nothing left afterwards.

The platforms' endpoints are emulated (tests/emulations), the issuer is the certified oidc-provider.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulations.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.emulations.platforms import Platforms
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

OPAQUE = "https://api.example.com"
SHOW = ("--", "sh", "-c", "echo $DEPLOY_TOKEN; exit 7")
JOB = Job()
# Our names of the emulated platforms, each with what a profile says to have it.
NAMES = {
    "github": '"auto"',
    "gitlab": '{ gitlab = "ID_TOKEN" }',
    "buildkite": '"auto"',
    "circleci": "{ circleci = true }",
    "azure": '"auto"',
    "bitbucket": '"auto"',
    "kubernetes": '{ kubernetes = "~/token" }',
    "spiffe": '{ spiffe = "~/token" }',
    "google": "{ google_metadata = true }",
}
FIXED = {"azure": "api://AzureADTokenExchange"}  # the audience of a platform that has but one
ASKED = ("github", "azure", "google")  # over HTTP


def deploy(
    issuer: OidcProvider,
    identity: str = '"auto"',
    flow: str = "token_exchange",
    name: str = "deploy",
    **keys: str,
) -> str:
    """Return the lines of a profile that exchanges this job's identity."""
    given = {
        "flow": f'"{flow}"',
        "issuer": f'"{issuer.url}"',
        "client_id": '"cli"',
        "identity": identity,
        "scopes": '["read", "write"]',
        "resource": f'["{OPAQUE}"]',
        **({"ca_file": f'"{issuer.ca_file}"'} if issuer.ca_file else {}),
        **keys,
    }
    return "\n".join([f"[profile.{name}]", *(f"{key} = {value}" for key, value in given.items())])


def enter(
    program: Program,
    platforms: Platforms,
    issuer: OidcProvider,
    platform: str,
    job: Job = JOB,
    **options: Any,  # noqa: ANN401 - of the emulation
) -> dict[str, str]:
    """Have the issuer trust a platform; return the variables of a job there."""
    audience = FIXED.get(platform, issuer.url)
    authority = platforms.authority[platform]
    issuer.trust(authority.issuer, authority.jwks, audience=audience)
    found = platforms.environ(platform, job, program.home, audience=audience, **options)
    return {name: value for name, value in found.items() if name != "CI"}


def audience_key(platform: str) -> dict[str, str]:
    """Return the profile's key for a platform whose audience is fixed."""
    return {"identity_audience": f'"{FIXED[platform]}"'} if platform in FIXED else {}


def records(program: Program, env: Mapping[str, str | None], event: str) -> list[dict[str, Any]]:
    """Return the log's records of an event."""
    lines = program("audit", "log", "--json", env=env).stdout.splitlines()
    return [one for one in map(json.loads, lines) if one["event"] == event]


@pytest.mark.parametrize("platform", NAMES)
def test_each_platform(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms, platform: str
) -> None:
    """Identity, exchange, `exec`; another `exec` proves itself anew; both tokens are dead."""
    issuer = http_exchange
    job = enter(brokerctl, platforms, issuer, platform)
    keys = audience_key(platform)
    brokerctl.config(deploy(issuer, NAMES[platform], **keys))
    if platform in {"kubernetes", "spiffe"}:
        platforms.write_token(f"{brokerctl.home}/token", platform, JOB, issuer.url)
    runs = [brokerctl("exec", "-p", "deploy", *SHOW, env=job) for _ in range(2)]
    assert [run.returncode for run in runs] == [7, 7]
    assert runs[1].stderr == ""
    tokens = {run.stdout.strip() for run in runs}
    assert len(tokens) == 2
    assert not any(issuer.is_active(token) for token in tokens)
    seen = issuer.exchanges()
    assert [one["is_given"] for one in seen] == [True, True]
    record = records(brokerctl, job, "token.handed_out")[-1]
    assert record["job"]["platform"].startswith(platform)
    assert record["job"]["id"]
    assert record["exchange"]["subject"] == "identity"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("permission", 2),
        ("audience", 5),
        ("expired", 5),
        ("old", 5),
        ("alg none", 5),
        ("two", 5),
        ("not a jwt", 5),
        ("html", 5),
        ("redirect", 5),
        ("huge", 5),
        ("reset", 5),
        ("silence", 5),
    ],
)
@pytest.mark.parametrize("platform", ASKED)
def test_what_a_platform_can_answer(
    brokerctl: Program,
    http_exchange: OidcProvider,
    platforms: Platforms,
    platform: str,
    fault: str,
    code: int,
) -> None:
    """Its documented exit code, nothing exchanged, and no token in any output (the canary)."""
    issuer = http_exchange
    given = fault if fault == "permission" else ""
    job = enter(brokerctl, platforms, issuer, platform, fault=given)
    if not given:
        platforms.fault(fault, seconds=3)
    brokerctl.config(deploy(issuer, NAMES[platform], timeout='"2s"', **audience_key(platform)))
    done = brokerctl("exec", "-p", "deploy", *SHOW, env=job)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert issuer.exchanges() == []
    assert platforms.trapped == []
    if fault == "permission":
        assert "it needs" in done.stderr


def test_two_platforms_at_once(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """Exit 2 naming both, before either is asked; a profile that names one is served."""
    issuer = http_exchange
    both = enter(brokerctl, platforms, issuer, "github") | {"GITLAB_CI": "true"}
    brokerctl.config(deploy(issuer))
    done = brokerctl("exec", "-p", "deploy", *SHOW, env=both)
    assert done.returncode == 2
    assert "GitHub Actions" in done.stderr
    assert "GitLab CI" in done.stderr
    assert platforms.seen == []
    brokerctl.config(deploy(issuer, "{ github = true }"))
    assert brokerctl("exec", "-p", "deploy", *SHOW, env=both).returncode == 7


@pytest.mark.parametrize(
    ("platform", "fork"),
    [
        ("github", "private"),
        ("github", "pull_request_target"),
        ("github", "deleted"),
        ("github", "workflow_run"),
        ("gitlab", "parent"),
        ("buildkite", "pull_request"),
        ("circleci", "pull_request"),
        ("azure", "pull_request"),
    ],
)
def test_a_fork_is_refused(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms, platform: str, fork: str
) -> None:
    """Exit 4 before the platform is asked, and the refusal is recorded."""
    issuer = http_exchange
    job = enter(brokerctl, platforms, issuer, platform, Job(fork=fork))
    brokerctl.config(deploy(issuer, NAMES[platform], **audience_key(platform)))
    done = brokerctl("exec", "-p", "deploy", *SHOW, env=job)
    assert done.returncode == 4, done.stderr
    assert "fork" in done.stderr
    assert platforms.seen == []
    assert issuer.exchanges() == []
    assert records(brokerctl, job, "token.denied")[-1]["decision"]["rule"] == "no forks"


@pytest.mark.parametrize("platform", ["github", "buildkite"])
def test_a_pull_request_of_the_repository_itself_is_none(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms, platform: str
) -> None:
    """Also where its platform writes the same repository in two ways."""
    issuer = http_exchange
    job = enter(brokerctl, platforms, issuer, platform, Job(fork="same"))
    brokerctl.config(deploy(issuer))
    assert brokerctl("exec", "-p", "deploy", *SHOW, env=job).returncode == 7


def test_another_job_and_another_leg_get_their_own(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """One token for each on the same home; the same job is served what it has."""
    issuer = http_exchange
    brokerctl.config(deploy(issuer))
    jobs = [
        enter(brokerctl, platforms, issuer, "github", job)
        for job in (JOB, Job(number=2), Job(leg="ubuntu"), Job(leg="windows"), Job(attempt=2))
    ]
    tokens = [brokerctl("get", "deploy", env=job).stdout for job in (*jobs, *jobs)]
    assert len(set(tokens)) == len(jobs)
    assert tokens[: len(jobs)] == tokens[len(jobs) :]
    assert len(issuer.exchanges()) == len(jobs)


def test_with_no_job_known_nothing_is_kept(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """It stays in memory: each `get` is another exchange, and `exec` still revokes its own."""
    issuer = http_exchange
    job = enter(brokerctl, platforms, issuer, "github")
    del job["GITHUB_RUN_ID"]
    brokerctl.config(deploy(issuer))
    first, second = (brokerctl("get", "deploy", env=job).stdout.strip() for _ in range(2))
    assert first != second
    done = brokerctl("exec", "-p", "deploy", *SHOW, env=job)
    assert (done.returncode, issuer.is_active(done.stdout.strip())) == (7, False)
    state = os.path.join(brokerctl.home, "state", "v1")
    left = [
        os.listdir(f"{state}/{name}")
        for name in ("tokens", "jobs")
        if os.path.isdir(f"{state}/{name}")
    ]
    assert not any(left)


def test_a_job_without_a_home(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """The whole of a CI job: nothing stored here or there, and dead at the end."""
    issuer = http_exchange
    job = enter(brokerctl, platforms, issuer, "github")
    brokerctl.config(deploy(issuer))
    env = {**job, "CI": "true", "BROKERCTL_HOME": None}
    done = brokerctl("exec", "--no-mask", "-p", "deploy", *SHOW, env=env)
    assert done.returncode == 7
    assert not issuer.is_active(done.stdout.strip())
    assert not os.path.exists(os.path.join(brokerctl.home, ".local"))


def test_killed_and_the_next_command_ends_it(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """SIGKILL to the supervisor leaves a token that the next command revokes."""
    issuer = http_exchange
    job = enter(brokerctl, platforms, issuer, "github")
    brokerctl.config(deploy(issuer))
    words = ("exec", "-p", "deploy", "--", "sh", "-c", "echo $DEPLOY_TOKEN; exec sleep 60")
    with brokerctl.start(*words, env=job) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        assert issuer.is_active(token)
        os.killpg(process.pid, signal.SIGKILL)
    brokerctl("status", env=enter(brokerctl, platforms, issuer, "github", Job(number=9)))
    assert not issuer.is_active(token)


def test_the_issuers_other_habits(
    brokerctl: Program, exchange_issuer: OidcProvider, platforms: Platforms
) -> None:
    """A refresh token that comes along is not kept; no type is taken for an access token's."""
    issuer = exchange_issuer
    job = enter(brokerctl, platforms, issuer, "github")
    brokerctl.config(deploy(issuer))
    issuer.habits(refresh_token=True, answer={"issued_token_type": None, "scope": None})
    assert brokerctl("exec", "-p", "deploy", *SHOW, env=job).returncode == 7
    for answer in (
        {"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"token_type": "N_A"},
        {"token_type": "N_A", "issued_token_type": None},
    ):
        issuer.habits(answer=answer)
        done = brokerctl("exec", "-p", "deploy", *SHOW, env=job)
        assert (done.returncode, done.stdout) == (5, ""), done.stderr
    issuer.habits()
    done = brokerctl("get", "deploy", "--fresh", "--scope", "read", "--json", env=job)
    assert json.loads(done.stdout)["scopes"] == ["read"]


def test_the_child_has_no_identity_that_lies_in_a_variable(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """As no other secret of a profile: whoever has it could exchange it for more."""
    issuer = http_exchange
    job = enter(brokerctl, platforms, issuer, "gitlab")
    brokerctl.config(deploy(issuer, NAMES["gitlab"]))
    done = brokerctl("exec", "-p", "deploy", "--", "sh", "-c", "echo ${ID_TOKEN-none}", env=job)
    assert (done.returncode, done.stdout) == (0, "none\n"), done.stderr


@pytest.mark.parametrize("is_known", [True, False], ids=["a known job", "an unknown one"])
def test_a_revocation_that_fails_is_told_as_it_is(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms, *, is_known: bool
) -> None:
    """Later commands try again for a job that they can tell from others, and for no other."""
    job: dict[str, str | None] = dict(enter(brokerctl, platforms, http_exchange, "github"))
    if not is_known:
        job["GITHUB_RUN_ID"] = None
    brokerctl.config(deploy(http_exchange))
    http_exchange.mode(revocation="503")
    done = brokerctl("exec", "-p", "deploy", *SHOW, env=job)
    assert done.returncode == 7, done.stderr
    assert ("later commands try again" in done.stderr) is is_known, done.stderr
    assert ("no later command knows it" in done.stderr) is not is_known


def test_a_command_that_gives_a_token_sees_no_other_secret(
    brokerctl: Program, http_exchange: OidcProvider
) -> None:
    """Security: the variables of all profiles' secrets are hidden from it, as from any command."""
    script, seen = (os.path.join(brokerctl.home, name) for name in ("subject", "seen"))
    with open(os.open(script, os.O_WRONLY | os.O_CREAT, 0o700), "w") as file:
        file.write(f"#!/bin/sh\necho ${{OTHER_SECRET-none}} >{seen}; echo a.token\n")
    other = deploy(http_exchange, name="other", flow="client_credentials")
    lines = [line for line in other.splitlines() if "identity =" not in line]
    exchange = f'{{ subject = {{ command = ["{script}"] }} }}'
    mine = deploy(http_exchange, exchange=exchange).replace('identity = "auto"\n', "")
    brokerctl.config("\n".join([*lines, 'client_secret = { env = "OTHER_SECRET" }', mine]))
    assert brokerctl("get", "deploy", env={"OTHER_SECRET": "s-of-other"}).returncode == 5
    with open(seen) as file:
        assert file.read() == "none\n"
