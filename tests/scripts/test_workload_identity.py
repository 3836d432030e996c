"""A job's identity for a cloud's token, by the real program, against strict emulations."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.emulations.azure import CLIENT, TENANT, Azure
from tests.emulations.client import ask
from tests.emulations.google import ACCOUNT, PROVIDER, Google
from tests.emulations.jobs import Job, claims_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.emulations.platforms import Platforms
    from tests.emulations.service import Service
    from tests.program import Program, Result

SHOW = "import os; print(os.environ['CLOUD_TOKEN'])"
SUBJECT = claims_of("github", Job(), "")["sub"]


class Cloud(NamedTuple):
    """One cloud: its service, the lines of its profile, its endpoints, and its own no."""

    service: Service
    lines: str
    paths: list[str]
    is_alive: Callable[[str], bool]
    refused: str


def google_of(platforms: Platforms) -> Cloud:
    """Return Google with a pool that believes GitHub, for one job and one account."""
    google = Google([platforms.authority["github"]], {SUBJECT: [ACCOUNT]})
    iam = f"/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
    lines = (
        f"flow = 'google_workload'\ngoogle = {{ pool = '{PROVIDER}', "
        f"service_account = '{ACCOUNT}' }}\nmax_ttl = '10m'\n"
        f"token_endpoint = '{google.url}/v1/token'\nimpersonation_endpoint = '{google.url}{iam}'\n"
    )
    return Cloud(google, lines, ["/v1/token", iam], google.access.__contains__, "PERMISSION_DENIED")


def azure_of(platforms: Platforms) -> Cloud:
    """Return Entra with an application that has a federated credential for one job."""
    azure = Azure([platforms.authority["github"]], [SUBJECT])
    lines = (
        f"flow = 'azure_workload'\nazure = {{ tenant = '{TENANT}' }}\nclient_id = '{CLIENT}'\n"
        f"issuer = '{azure.url}'\nscopes = ['https://vault.azure.net/.default']\n"
    )
    paths = [f"/{TENANT}/oauth2/v2.0/token"]
    return Cloud(azure, lines, paths, azure.given.__contains__, "AADSTS700213")


@pytest.fixture(params=[google_of, azure_of])
def cloud(request: pytest.FixtureRequest, platforms: Platforms) -> Iterator[Cloud]:
    """Run the test once for each cloud."""
    made: Cloud = request.param(platforms)
    with made.service:
        yield made


def run(
    program: Program, platforms: Platforms, cloud: Cloud, *words: str, job: Job | None = None
) -> Result:
    """Run a command in a job of GitHub's."""
    program.config(f"[profile.cloud]\n{cloud.lines}")
    return program(*words, env=platforms.environ("github", job or Job(), program.home))


def show(program: Program, platforms: Platforms, cloud: Cloud, job: Job | None = None) -> Result:
    """Run a child in a job that prints its token."""
    words = ("exec", "--no-mask", "-p", "cloud", "--", sys.executable, "-c", SHOW)
    return run(program, platforms, cloud, *words, job=job)


def records(program: Program, event: str) -> list[dict[str, Any]]:
    """Return the records of one event."""
    lines = program("audit", "log", "--json").stdout.splitlines()
    return [one for one in map(json.loads, lines) if one.get("event") == event]


def test_a_job_has_its_token(brokerctl: Program, platforms: Platforms, cloud: Cloud) -> None:
    """Each session proves itself anew, and the record says that nobody could end its token."""
    first, second = (show(brokerctl, platforms, cloud) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout != second.stdout
    assert cloud.is_alive(first.stdout.strip())
    assert ask(f"{cloud.service.url}/whoami", token=first.stdout.strip()).status == 200
    assert [one.path for one in cloud.service.seen][:-1] == cloud.paths * 2
    assert platforms.count() == 2
    ended = [one["outcome"] for one in records(brokerctl, "token.revoked")]
    assert ended == ["local_only"] * 2


def test_another_job_gets_nothing(brokerctl: Program, platforms: Platforms, cloud: Cloud) -> None:
    """The cloud's own words, with a hint, and no token anywhere."""
    done = show(brokerctl, platforms, cloud, Job(repo_id="7"))
    assert (done.returncode, done.stdout) == (5, "")
    assert cloud.refused in done.stderr
    assert "brokerctl: hint: " in done.stderr


def test_a_fork_is_refused_first(brokerctl: Program, platforms: Platforms, cloud: Cloud) -> None:
    """Neither the platform nor the cloud is asked."""
    done = show(brokerctl, platforms, cloud, Job(fork="pull_request_target"))
    assert (done.returncode, platforms.seen, cloud.service.seen) == (4, [], [])


@pytest.mark.parametrize("fault", ["html", "huge", "not json", "list", "redirect", "reset"])
def test_what_is_no_answer_gives_no_token(
    brokerctl: Program, platforms: Platforms, cloud: Cloud, fault: str
) -> None:
    """From each of the cloud's endpoints: exit code 5, and no identity goes astray."""
    for path in cloud.paths:
        cloud.service.fault(fault, path=path)
        done = run(brokerctl, platforms, cloud, "get", "cloud")
        assert (done.returncode, done.stdout) == (5, "")
    assert cloud.service.trapped == []


def test_what_google_is_asked_for(brokerctl: Program, platforms: Platforms) -> None:
    """The account's token lives no longer than `max_ttl`, by Google's own clock."""
    cloud = google_of(platforms)
    with cloud.service:
        done = run(brokerctl, platforms, cloud, "get", "cloud", "--json")
        found = json.loads(done.stdout)
    assert 0 < found["expires_in"] <= 600
    assert cloud.service.seen[1].json["lifetime"] == "600s"


def test_an_endpoint_that_moves_is_sent_nothing(brokerctl: Program, platforms: Platforms) -> None:
    """Security: whoever can edit a profile must not have the token in between sent elsewhere."""
    cloud = google_of(platforms)
    with cloud.service:
        assert run(brokerctl, platforms, cloud, "get", "cloud").returncode == 0
        asked = len(cloud.service.seen)
        iam = f"impersonation_endpoint = '{cloud.service.url}"
        moved = cloud._replace(
            lines=cloud.lines.replace(iam, f"impersonation_endpoint = '{cloud.service.trap_url}")
        )
        done = run(brokerctl, platforms, moved, "get", "cloud", "--fresh")
    assert (done.returncode, done.stdout) == (5, "")
    assert "impersonation_endpoint" in done.stderr
    assert (len(cloud.service.seen), cloud.service.trapped) == (asked, [])
