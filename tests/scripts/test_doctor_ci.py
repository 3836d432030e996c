"""`doctor --ci` in jobs of each platform, whose documented endpoints are emulated."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.config.platforms import PLATFORMS
from tests.emulations.jobs import Job
from tests.emulations.package_index import PackageIndexes
from tests.emulations.platforms import CONNECTION

if TYPE_CHECKING:
    from tests.emulations.platforms import Platforms
    from tests.program import Program, Result

ISSUER = "https://issuer.example"
# The emulation's name of a platform, and of ours.
NAMES = {"azure_pipelines": "azure"}
BY_VARIABLE = sorted(name for name, traits in PLATFORMS.items() if traits.shown_by)
BY_FILE = ["kubernetes", "spiffe"]
PROFILE = """\
[profile.deploy]
issuer = "https://issuer.example"
flow = "token_exchange"
client_id = "ci"
identity = {identity}
"""


@pytest.fixture
def bare(brokerctl: Program) -> Program:
    """Return the program in a container in which nothing of brokerctl's is, not even a home."""
    gone = ("HOME", "BROKERCTL_HOME", "BROKERCTL_CONFIG")
    brokerctl.env = dict.fromkeys(gone) | {"CI": "true"}
    return brokerctl


def job_of(program: Program, platforms: Platforms, name: str, job: Job, **how: Any) -> None:  # noqa: ANN401 - the emulation's
    """Put the program into a job of a platform."""
    folder = os.path.join(program.home, "job")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = platforms.environ(
        NAMES.get(name, name), job, folder, **{"variable": "BROKERCTL_ID_TOKEN"} | how
    )
    if name == "azure_pipelines":
        found["AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"] = CONNECTION
    program.env |= found


def report_of(done: Result) -> dict[str, Any]:
    """Return what --json printed."""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def files_of(program: Program) -> set[str]:
    """Return every file of the home but those of the job and of the runs' own output."""
    found = {
        os.path.relpath(os.path.join(place, name), program.home)
        for place, _, names in os.walk(program.home)
        for name in names
    }
    return {name for name in found if not name.startswith(("run-", "job"))}


@pytest.mark.parametrize("name", BY_VARIABLE)
def test_a_job_without_anything_of_ours(bare: Program, platforms: Platforms, name: str) -> None:
    """Exit 0: the platform, the claims and a condition of each cloud; nothing is written."""
    job_of(bare, platforms, name, Job(), audience="https://any.example")
    done = bare("doctor", "--ci", "--json")
    assert done.returncode == 0, done
    report = report_of(done)
    assert report["platforms"] == [name]
    assert report["fork"] is None
    (identity,) = report["identities"]
    assert identity["claims"]["sub"] == identity["sub"]
    assert identity["job"]
    assert [one["cloud"] for one in identity["conditions"]] == ["aws", "google", "azure"]
    assert files_of(bare) == set()
    text = bare("doctor", "--ci")
    assert text.returncode == 0, text
    assert f"sub, letter by letter:\n{identity['sub']}\n" in text.stdout


@pytest.mark.parametrize("name", [*BY_VARIABLE, *BY_FILE])
def test_what_is_missing_is_named(brokerctl: Program, platforms: Platforms, name: str) -> None:
    """Exit 2, and the hint has the permission in the platform's own words."""
    path = os.path.join(brokerctl.home, "job", "token")
    brokerctl.config(
        PROFILE.format(identity=f'{{ {name} = "{path}" }}' if name in BY_FILE else '"auto"')
    )
    job_of(brokerctl, platforms, name, Job(), audience=ISSUER, fault="permission")
    done = brokerctl("doctor", "--ci", "--json")
    assert done.returncode == 2, done
    report = report_of(done)
    assert report["identities"] == []
    (problem,) = [one for one in report["findings"] if one["state"] == "problem"]
    words = {
        "github": "id-token: write",
        "gitlab": "id_tokens: { BROKERCTL_ID_TOKEN: { aud: AUDIENCE } }",
        "azure_pipelines": "SYSTEM_ACCESSTOKEN: $(System.AccessToken)",
        "bitbucket": "oidc: true",
        "buildkite": "buildkite-agent",
        "circleci": "circleci",
        **dict.fromkeys(BY_FILE, "token"),
    }
    assert words[name] in f"{problem['what']} {problem['hint']}"
    assert problem["what"].startswith("'deploy': ")


def test_each_audience_is_asked_for_once(brokerctl: Program, platforms: Platforms) -> None:
    """Two profiles at one issuer share a look; a third has one of its own, and AWS its own rule."""
    text = PROFILE.format(identity='"auto"')
    text += text.replace("deploy", "test") + PROFILE.format(identity='"auto"').replace(
        "deploy", "other"
    ).replace("issuer.example", "other.example")
    brokerctl.config(text)
    job_of(brokerctl, platforms, "github", Job())
    platforms.forget()
    report = report_of(brokerctl("doctor", "--ci", "--json"))
    assert [one["profiles"] for one in report["identities"]] == [["deploy", "test"], ["other"]]
    assert [one["audience"] for one in report["identities"]] == [ISSUER, "https://other.example"]
    assert platforms.count("//idtoken/") == 2
    named = report_of(brokerctl("doctor", "--ci", "--audience", "https://look.example", "--json"))
    (one,) = named["identities"]
    assert one["audience"] == "https://look.example"
    policy = json.loads(one["conditions"][0]["text"])
    equal = policy["Statement"][0]["Condition"]["StringEquals"]
    assert equal["token.actions.githubusercontent.com:aud"] == "https://look.example"


def test_a_condition_is_printed_once(brokerctl: Program, platforms: Platforms) -> None:
    """Two identities that a cloud would trust by the same rule have it once on a terminal."""
    text = PROFILE.format(identity='"auto"')
    brokerctl.config(text + text.replace("deploy", "other").replace("issuer.ex", "other.ex"))
    job_of(brokerctl, platforms, "github", Job())
    said = brokerctl("doctor", "--ci").stdout
    assert said.count("sub, letter by letter") == 2
    assert said.count("AssumeRoleWithWebIdentity") == 1


@pytest.mark.parametrize("is_immutable", [True, False])
def test_both_forms_of_github_s_sub_are_warned_of(
    bare: Program, platforms: Platforms, *, is_immutable: bool
) -> None:
    """A rule for the one refuses the other in silence, so that either is told; exit 0."""
    job_of(bare, platforms, "github", Job(is_immutable=is_immutable))
    done = bare("doctor", "--ci", "--json")
    assert done.returncode == 0, done
    warnings = [one["what"] for one in report_of(done)["findings"] if one["state"] == "warning"]
    (told,) = [one for one in warnings if "its sub" in one]
    assert ("has ids" in told) is is_immutable
    assert ("repo:octo-org@123456/octo-repo@456789:" in told) is not is_immutable
    assert "2026-07-15" in told


@pytest.mark.parametrize(
    ("name", "fork"),
    [("github", "pull_request_target"), ("gitlab", "parent"), ("circleci", "pull_request")],
)
def test_a_fork_is_told_and_asks_nobody(
    bare: Program, platforms: Platforms, name: str, fork: str
) -> None:
    """Exit 2, as nothing would be exchanged."""
    job_of(bare, platforms, name, Job(fork=fork), audience=ISSUER)
    platforms.forget()
    done = bare("doctor", "--ci", "--json")
    assert done.returncode == 2, done
    report = report_of(done)
    assert report["fork"]
    assert report["identities"] == []
    assert platforms.count() == 0


def test_two_platforms_at_once(bare: Program, platforms: Platforms) -> None:
    """Both are named, and neither is asked."""
    job_of(bare, platforms, "github", Job())
    job_of(bare, platforms, "circleci", Job())
    platforms.forget()
    done = bare("doctor", "--ci", "--json")
    assert done.returncode == 2, done
    report = report_of(done)
    assert report["platforms"] == ["github", "circleci"]
    assert "GitHub Actions (github) and CircleCI (circleci)" in str(report["findings"])
    assert platforms.count() == 0


def test_no_platform_at_all(bare: Program) -> None:
    """Exit 2, with what to do; also without CI."""
    bare.env["CI"] = None
    done = bare("doctor", "--ci")
    assert done.returncode == 2
    assert "no CI platform is to be seen here" in done.stdout
    assert "name the source in 'identity' of the profile" in done.stdout


@pytest.mark.parametrize("fault", ["expired", "old", "alg none", "audience", "two", "not a jwt"])
def test_a_token_that_would_not_be_exchanged(
    brokerctl: Program, platforms: Platforms, fault: str
) -> None:
    """It is looked at as the exchange does; no part of it is printed."""
    brokerctl.config(PROFILE.format(identity='"auto"'))
    job_of(brokerctl, platforms, "github", Job())
    platforms.fault(fault)
    done = brokerctl("doctor", "--ci", "--json")
    assert done.returncode == 2, done
    assert report_of(done)["identities"] == []


def test_a_configuration_that_is_wrong_is_told(brokerctl: Program, platforms: Platforms) -> None:
    """A problem, and the job is looked at all the same."""
    brokerctl.config(PROFILE.format(identity='"nobody"'))
    job_of(brokerctl, platforms, "github", Job())
    done = brokerctl("doctor", "--ci", "--json")
    assert done.returncode == 2, done
    report = report_of(done)
    assert "identity" in str(report["findings"])
    assert len(report["identities"]) == 1


def test_no_secret_is_printed(brokerctl: Program, platforms: Platforms) -> None:
    """Neither a token nor its signature, nor what the platform was asked with."""
    brokerctl.config(PROFILE.format(identity='"auto"'))
    job_of(brokerctl, platforms, "gitlab", Job(), audience=ISSUER)
    token = str(brokerctl.env["BROKERCTL_ID_TOKEN"])
    said = [brokerctl("doctor", "--ci"), brokerctl("doctor", "--ci", "--json")]
    text = "".join(one.stdout + one.stderr for one in said)
    assert not [part for part in token.split(".") if part in text]


@pytest.mark.parametrize(
    "words",
    [
        ["--offline", "--ci"],
        ["--timing", "--ci"],
        ["--audience", "x"],
        ["--ci", "--audience", "a b"],
    ],
)
def test_what_does_not_go_together(bare: Program, words: list[str]) -> None:
    """Exit 2, and nothing on stdout."""
    done = bare("doctor", *words)
    assert (done.returncode, done.stdout) == (2, ""), done


def test_an_index_says_whom_the_identity_is_for(brokerctl: Program, platforms: Platforms) -> None:
    """As the exchange asks it first; an index that can't be asked is a problem of its profile."""
    job_of(brokerctl, platforms, "github", Job())
    text = '[profile.release]\nflow = "publish"\npublish = {{ kind = "python", index = "{}" }}\n'
    with PackageIndexes([platforms.authority["github"]]) as index:
        brokerctl.config(text.format(index.url))
        done = brokerctl("doctor", "--ci", "--json")
        assert done.returncode == 0, done
        (identity,) = report_of(done)["identities"]
        assert (identity["profiles"], identity["audience"]) == (["release"], "pypi")
        index.is_enabled = False
        platforms.forget()
        done = brokerctl("doctor", "--ci", "--json")
    assert done.returncode == 2, done
    assert report_of(done)["identities"] == []
    assert "'release': " in str(report_of(done)["findings"])
    assert platforms.count() == 0


def test_each_cloud_s_profile_has_its_audience_in_its_condition(
    brokerctl: Program, platforms: Platforms
) -> None:
    """Google's is the provider's name; an audience that a profile names goes into its cloud's."""
    name = "projects/123456789012/locations/global/workloadIdentityPools/ci-jobs/providers/github"
    pool = f"//iam.googleapis.com/{name}"
    role = "arn:aws:iam::123456789012:role/r"
    brokerctl.config(
        f'[profile.gcp]\nflow = "google_workload"\ngoogle = {{ pool = "{pool}" }}\n'
        f'[profile.aws]\nflow = "aws_web_identity"\naws = {{ role = "{role}" }}\n'
        'identity = "auto"\nidentity_audience = "sts.example"\n'
    )
    job_of(brokerctl, platforms, "github", Job())
    found = report_of(brokerctl("doctor", "--ci", "--json"))["identities"]
    texts = {
        (one["profiles"][0], rule["cloud"]): rule["text"]
        for one in found
        for rule in one["conditions"]
    }
    assert f"--allowed-audiences=https:{pool}" in texts["gcp", "google"]
    assert '"api://AzureADTokenExchange"' in texts["gcp", "azure"]
    assert ':aud": "sts.amazonaws.com"' in texts["gcp", "aws"]
    assert ':aud": "sts.example"' in texts["aws", "aws"]
    assert "--allowed-audiences" not in texts["aws", "google"]
