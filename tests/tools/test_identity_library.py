"""The library with which twine and others find a job's identity takes the emulated platforms' own.

So an emulation that is wrong where both we and it look is found: `id` was written against the real
platforms. brokerctl has no part in it.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.emulations.authority import unverified_claims
from tests.emulations.jobs import Job
from tests.emulations.platforms import ROOT_ISSUER, Platforms
from tests.tools.clients import require_client

if TYPE_CHECKING:
    from pathlib import Path

AUDIENCE = "https://index.example"
VARIABLE = re.sub(r"[^A-Z0-9]", "_", AUDIENCE.upper()) + "_ID_TOKEN"  # as `id` names GitLab's


def find_identity(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the library as a program."""
    words = [require_client("python"), "-m", "id", AUDIENCE]
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("platform", ["github", "gitlab", "buildkite", "circleci"])
def test_it_finds_the_identity(platforms: Platforms, tmp_path: Path, platform: str) -> None:
    """By request, by variable and by both commands; without the permission it finds none."""
    for fault in ("", "permission"):
        environ = platforms.environ(
            platform, Job(), os.fspath(tmp_path), audience=AUDIENCE, fault=fault, variable=VARIABLE
        )
        done = find_identity({"PATH": os.defpath, **environ})
        assert (done.returncode == 0) == (not fault), done.stderr
        if not fault:
            claims = unverified_claims(done.stdout.strip())
            expected = platforms.authority[platform].issuer
            assert claims["aud"] == AUDIENCE
            assert claims["iss"] == (ROOT_ISSUER if platform == "circleci" else expected)
