"""The emulated platforms do what the real ones are documented to do, and fail as they are told."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.emulations.authority import FORGERIES, unverified_claims
from tests.emulations.client import Answer, ask
from tests.emulations.jobs import CLAIMS, ORGANISATION, Job, claims_of
from tests.emulations.platforms import (
    AZURE_AUDIENCE,
    CONNECTION,
    ELSEWHERE,
    FAULTS,
    Platforms,
    metadata_url,
)
from tests.emulations.verify import NotBelieved, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AUDIENCE = "https://issuer.example"
FLAVOR = {"Metadata-Flavor": "Google"}
JOB = Job()


def ask_github(environ: dict[str, str], audience: str = AUDIENCE, token: str = "") -> Answer:
    """Ask as the platform's toolkit does."""
    url = f"{environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={audience}"
    return ask(url, token=token or environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])


def ask_azure(environ: dict[str, str], connection: str = CONNECTION, token: str = "") -> Answer:
    """Ask as azure-identity does."""
    query = f"api-version=7.1&serviceConnectionId={connection}"
    shown = token or environ["SYSTEM_ACCESSTOKEN"]
    return ask(f"{environ['SYSTEM_OIDCREQUESTURI']}?{query}", "POST", body={}, token=shown)


def access(environ: dict[str, str]) -> str:
    """Return the token that Azure Pipelines gives a step."""
    return environ["SYSTEM_ACCESSTOKEN"]


def run(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run one of the platforms' commands."""
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False)


def get_token(platforms: Platforms, platform: str, folder: str, fault: str = "") -> str:
    """Return a job's token by the way of its platform."""
    environ = platforms.environ(platform, JOB, folder, audience=AUDIENCE, fault=fault)
    return WAYS[platform](environ, platforms, folder)


def read_file(folder: str) -> str:
    """Return what stands in a projected token's file."""
    with open(os.path.join(folder, "token"), encoding="utf-8") as file:
        return file.read()


BUILDKITE = ("buildkite-agent", "oidc", "request-token")
CIRCLECI = ("circleci", "run", "oidc", "get", "--claims")
WANTED = ("--audience", AUDIENCE)
CLAIM = json.dumps({"aud": AUDIENCE})
WAYS: dict[str, Callable[[dict[str, str], Platforms, str], str]] = {
    "github": lambda environ, _, __: str(ask_github(environ).json["value"]),
    "azure": lambda environ, _, __: str(ask_azure(environ).json["oidcToken"]),
    "google": lambda _, them, __: ask(metadata_url(them, AUDIENCE), headers=FLAVOR).text,
    "buildkite": lambda environ, _, __: run(environ, *BUILDKITE, "--audience", AUDIENCE).stdout[
        :-1
    ],
    "circleci": lambda environ, _, __: run(environ, *CIRCLECI, CLAIM).stdout[:-1],
    "gitlab": lambda environ, _, __: environ["ID_TOKEN"],
    "bitbucket": lambda environ, _, __: environ["BITBUCKET_STEP_OIDC_TOKEN"],
    "kubernetes": lambda _, __, folder: read_file(folder),
    "spiffe": lambda _, __, folder: read_file(folder),
}


@pytest.mark.parametrize("platform", CLAIMS)
def test_a_job_has_an_identity(platforms: Platforms, tmp_path: Path, platform: str) -> None:
    """The token is the platform's own, for the audience asked for, with the documented claims."""
    token = get_token(platforms, platform, os.fspath(tmp_path))
    audience = AZURE_AUDIENCE if platform == "azure" else AUDIENCE
    verifier = Verifier([platforms.authority[platform]])
    claims = verifier.verify(token, [audience])
    expected = claims_of(platform, JOB, audience)
    assert {name: claims.get(name) for name in expected} == expected
    with pytest.raises(NotBelieved, match="audience"):
        verifier.verify(token, [ELSEWHERE])
    with pytest.raises(NotBelieved, match="issuer"):
        Verifier([]).verify(token, [audience])


def test_github_s_subject_has_ids_or_names(platforms: Platforms, tmp_path: Path) -> None:
    """Repositories from before 2026-07-15 have names in `sub`, later ones ids beside them."""
    subjects = {
        Job(): "repo:octo-org@123456/octo-repo@456789:ref:refs/heads/main",
        Job(is_immutable=False): "repo:octo-org/octo-repo:ref:refs/heads/main",
        Job(environment="Production:V1", is_immutable=False): (
            "repo:octo-org/octo-repo:environment:Production%3AV1"
        ),
        Job(event="pull_request"): "repo:octo-org@123456/octo-repo@456789:pull_request",
    }
    for job, expected in subjects.items():
        environ = platforms.environ("github", job, os.fspath(tmp_path))
        claims = unverified_claims(ask_github(environ).json["value"])
        assert claims["sub"] == expected


def test_two_jobs_and_two_legs_differ(platforms: Platforms, tmp_path: Path) -> None:
    """Legs of one matrix share GITHUB_JOB and run; the request and the check run are their own."""
    folder = os.fspath(tmp_path)
    jobs = [Job(leg="3.11"), Job(leg="3.12"), Job(number=2), Job(attempt=2)]
    environs = [platforms.environ("github", job, folder) for job in jobs]
    assert {environ["GITHUB_JOB"] for environ in environs} == {"deploy"}
    for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        assert len({environ[name] for environ in environs}) == 4
    answers = [ask_github(environ) for environ in environs]
    assert len({unverified_claims(one.json["value"])["check_run_id"] for one in answers}) == 4
    crossed = environs[0] | {
        "ACTIONS_ID_TOKEN_REQUEST_URL": environs[1]["ACTIONS_ID_TOKEN_REQUEST_URL"]
    }
    assert ask_github(crossed).status == 401
    ids = {"gitlab": "CI_JOB_ID", "buildkite": "BUILDKITE_JOB_ID"}
    ids |= {"circleci": "CIRCLE_WORKFLOW_JOB_ID", "bitbucket": "BITBUCKET_STEP_UUID"}
    for platform, name in ids.items():
        assert len({platforms.environ(platform, job, folder)[name] for job in jobs}) == 4


def test_a_wrong_bearer_gets_nothing(platforms: Platforms, tmp_path: Path) -> None:
    """GitHub and Azure Pipelines refuse one; the latter sends it to a page for people."""
    folder = os.fspath(tmp_path)
    environ = platforms.environ("github", JOB, folder)
    assert ask_github(environ, token="wrong").status == 401
    environ = platforms.environ("azure", JOB, folder)
    assert ask_azure(environ, connection="another").status == 404
    alone = ask(
        f"{environ['SYSTEM_OIDCREQUESTURI']}?api-version=7.1", "POST", token=access(environ)
    )
    assert unverified_claims(alone.json["oidcToken"])["sub"].startswith("p://octo-org/octo-repo/")
    redirect = ask_azure(environ, token="wrong")
    assert redirect.status == 302
    assert redirect.headers["location"].startswith(platforms.trap_url)
    suppressed = {"Authorization": "Bearer wrong", "X-TFS-FedAuthRedirect": "Suppress"}
    assert ask(environ["SYSTEM_OIDCREQUESTURI"], "POST", headers=suppressed).status == 401


def test_google_s_metadata_wants_its_header(platforms: Platforms, tmp_path: Path) -> None:
    """Without it, and through a proxy, nothing; it comes back with the token."""
    platforms.environ("google", JOB, os.fspath(tmp_path))
    url = metadata_url(platforms, AUDIENCE)
    assert ask(url).status == 403
    assert ask(url, headers=FLAVOR | {"X-Forwarded-For": "10.0.0.1"}).status == 403
    assert ask(url.partition("?")[0], headers=FLAVOR).status == 400
    assert ask(url, headers=FLAVOR).headers["metadata-flavor"] == "Google"


def test_the_commands_refuse_what_the_real_ones_refuse(
    platforms: Platforms, tmp_path: Path
) -> None:
    """Another spelling, a job without access and one that nobody knows: exit 1 or 2, no token."""
    environ = platforms.environ("buildkite", JOB, os.fspath(tmp_path))
    request = (*BUILDKITE, *WANTED)
    assert unverified_claims(run(environ, *request).stdout)["aud"] == AUDIENCE
    default = run(environ, *BUILDKITE).stdout
    assert unverified_claims(default)["aud"] == "https://buildkite.com/octo-org"
    for changed in ({"BUILDKITE_AGENT_ACCESS_TOKEN": "x"}, {"BUILDKITE_JOB_ID": "x"}):
        done = run(environ | changed, *request)
        assert (done.returncode, done.stdout) == (1, "")
    assert run(environ, *BUILDKITE, "--aud", "x").returncode == 2


def test_circleci_s_command_sets_the_audience_alone(platforms: Platforms, tmp_path: Path) -> None:
    """Only `aud` can be set; the token of the variable is for the organisation."""
    environ = platforms.environ("circleci", JOB, os.fspath(tmp_path))
    assert unverified_claims(environ["CIRCLE_OIDC_TOKEN_V2"])["aud"] == ORGANISATION
    assert run(environ, *CIRCLECI, '{"sub": "x"}').returncode == 1
    assert "jti" not in unverified_claims(run(environ, *CIRCLECI, "{}").stdout)


@pytest.mark.parametrize("forgery", sorted(FORGERIES.keys() - {"old"}))
@pytest.mark.parametrize("platform", ["github", "gitlab", "kubernetes"])
def test_a_forged_token_is_forged(
    platforms: Platforms, tmp_path: Path, platform: str, forgery: str
) -> None:
    """What a fault makes is refused by whoever checks, in variables, files and over HTTP."""
    platforms.fault(forgery)
    token = get_token(platforms, platform, os.fspath(tmp_path), forgery)
    with pytest.raises(NotBelieved):
        Verifier(platforms.authority.values()).verify(token, [AUDIENCE])


def test_an_old_token_is_alive(platforms: Platforms, tmp_path: Path) -> None:
    """Its signature, audience and end are right; its age is for the client to mind."""
    platforms.fault("old")
    token = get_token(platforms, "github", os.fspath(tmp_path))
    claims = Verifier(platforms.authority.values()).verify(token, [AUDIENCE])
    assert time.time() - claims["iat"] > 300


def test_without_the_permission(platforms: Platforms, tmp_path: Path) -> None:
    """Each platform leaves out what a job without the permission does not have."""
    missing = {
        "github": {"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
        "gitlab": {"ID_TOKEN"},
        "circleci": {"CIRCLE_OIDC_TOKEN", "CIRCLE_OIDC_TOKEN_V2"},
        "azure": {"SYSTEM_ACCESSTOKEN"},
        "bitbucket": {"BITBUCKET_STEP_OIDC_TOKEN"},
    }
    folder = os.fspath(tmp_path)
    for platform, names in missing.items():
        whole = platforms.environ(platform, JOB, folder)
        less = platforms.environ(platform, JOB, folder, fault="permission")
        assert whole.keys() - less.keys() == names
    environ = platforms.environ("buildkite", JOB, folder, fault="permission")
    assert run(environ, *BUILDKITE).returncode == 1
    fork = platforms.environ("github", Job(fork="pull_request"), folder)
    assert not fork.keys() & missing["github"]
    private = platforms.environ("github", Job(fork="private"), folder)
    assert private.keys() > missing["github"]
    assert private["GITHUB_EVENT_NAME"] == "pull_request"
    claims = unverified_claims(ask_github(private).json["value"])
    assert (claims["event_name"], claims["sub"][-13:]) == ("pull_request", ":pull_request")


def test_forks_are_told_by_what_the_platform_writes(platforms: Platforms, tmp_path: Path) -> None:
    """The event file of GitHub, a project's or repository's name, a user's name, a flag."""

    def environ(platform: str, fork: str) -> dict[str, str]:
        return platforms.environ(platform, Job(fork=fork), os.fspath(tmp_path))

    heads = {}
    for kind in ("pull_request", "pull_request_target", "deleted", "same"):
        with open(environ("github", kind)["GITHUB_EVENT_PATH"], encoding="utf-8") as file:
            heads[kind] = json.load(file)["pull_request"]["head"]["repo"]
    assert heads["deleted"] is None
    assert heads["same"]["full_name"] == "octo-org/octo-repo"
    assert heads["pull_request"]["full_name"] == "stranger/octo-repo"
    assert environ("github", "deleted")["GITHUB_EVENT_NAME"] == "pull_request_target"
    parent, own = environ("gitlab", "parent"), environ("gitlab", "own")
    assert parent["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"] != parent["CI_PROJECT_ID"]
    assert own["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"] == own["CI_PROJECT_ID"] == "77"
    same = environ("buildkite", "same")
    assert same["BUILDKITE_PULL_REQUEST_REPO"] != same["BUILDKITE_REPO"]
    assert "CIRCLE_PR_USERNAME" in environ("circleci", "pull_request")
    assert "CIRCLE_PR_USERNAME" not in environ("circleci", "same")
    assert environ("azure", "pull_request")["SYSTEM_PULLREQUEST_ISFORK"] == "True"


def test_faults_on_the_way(platforms: Platforms, tmp_path: Path) -> None:
    """Web pages, redirects, silence, a MiB, two tokens, and an end after so many times."""
    environ = platforms.environ("github", JOB, os.fspath(tmp_path))

    def answered(fault: str, seconds: float = 0) -> Answer:
        platforms.fault(fault, times=1, seconds=seconds)
        return ask_github(environ)

    assert answered("html").headers["content-type"] == "text/html"
    assert answered("redirect").headers["location"].startswith(platforms.trap_url)
    assert len(answered("huge").body) > 1 << 20
    assert answered("two").body.count(b'"value":') == 2
    assert len(answered("two, list").json["value"]) == 2
    assert answered("not a jwt").json["value"] == "nonsense"
    assert (answered("503").status, answered("permission").status) == (503, 403)
    before = time.monotonic()
    assert answered("silence", seconds=0.2).status == 200
    assert time.monotonic() - before >= 0.2
    with pytest.raises((http.client.HTTPException, OSError)):
        answered("reset")
    assert ask_github(environ).status == 200
    assert platforms.count("idtoken") == 11
    assert not platforms.trapped


def test_silence_ends_with_the_client(platforms: Platforms, tmp_path: Path) -> None:
    """A client that hangs up leaves no thread behind that waits for it."""
    environ = platforms.environ("github", JOB, os.fspath(tmp_path))
    path = environ["ACTIONS_ID_TOKEN_REQUEST_URL"].removeprefix(platforms.url)
    address = urlsplit(platforms.url)
    before = threading.active_count()
    platforms.fault("silence")
    with socket.create_connection((address.hostname, address.port)) as link:
        link.settimeout(0.1)
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            link.recv(1)
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_over_tls(trace_dir: str, tmp_path: Path) -> None:
    """The same with a certificate of a private CA."""
    with Platforms(os.fspath(tmp_path)) as platforms:
        environ = platforms.environ("github", JOB, trace_dir)
        shown = environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
        url = f"{environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience=x"
        assert ask(url, ca_file=platforms.ca_file, token=shown).status == 200


def test_every_fault_has_a_name() -> None:
    """The list that other tests go through is whole."""
    assert set(FAULTS) > set(FORGERIES)
