"""A CI job's identity for a role's credentials: moto's STS, and the role's own trust policy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.emulations.aws import WebIdentities
from tests.emulations.jobs import Job
from tests.tools.sts_server import Moto, Sts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulations.platforms import Platforms
    from tests.program import Program

ROLE = "arn:aws:iam::123456789012:role/deploy"
SUBJECTS = ["repo:octo-org@123456/octo-repo@456789:*"]
SHOW = "import os; print(os.environ['AWS_ACCESS_KEY_ID'], len(os.environ['AWS_SESSION_TOKEN']) > 9)"


@pytest.fixture
def sts(moto_process: Moto, platforms: Platforms) -> Iterator[Sts]:
    """Return an STS with a role for one repository's jobs on the emulated GitHub."""
    moto_process.reset()
    with Sts(WebIdentities([platforms.authority["github"]], SUBJECTS), moto_process) as running:
        yield running


@pytest.mark.parametrize(("repo_id", "code"), [("456789", 0), ("7", 5)])
def test_a_job_has_a_role_s_credentials(
    brokerctl: Program, platforms: Platforms, sts: Sts, repo_id: str, code: int
) -> None:
    """Each session asks for an identity of its own; another repository's job is refused."""
    brokerctl.config(
        f"[profile.deploy]\nflow = 'aws_web_identity'\nidentity = 'auto'\n"
        f"aws = {{ role = '{ROLE}', endpoint = '{sts.url}' }}\n"
    )
    job = platforms.environ("github", Job(repo_id=repo_id), brokerctl.home)
    words = ("exec", "--no-mask", "-p", "deploy", "--", sys.executable, "-c", SHOW)
    first, second = brokerctl(*words, env=job), brokerctl(*words, env=job)
    assert (first.returncode, second.returncode) == (code, code), first.stderr
    assert [one.is_given for one in sts.assumed] == [code == 0] * (2 if code == 0 else 1)
    if code == 0:
        assert first.stdout.endswith(" True\n")
        assert first.stdout != second.stdout
        assert platforms.count() == 2
    else:
        assert "AccessDenied" in first.stderr
