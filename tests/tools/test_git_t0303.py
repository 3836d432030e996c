"""git's own test of credential helpers, unchanged, with brokerctl as the helper."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import ROOT
from tests.tools.clients import require_newer_git

if TYPE_CHECKING:
    from tests.program import Program

TESTS = os.path.join(ROOT, "build", "git-newer", "t")
SCRIPT = "t0303-credential-external.sh"


def run(program: Program) -> subprocess.CompletedProcess[str]:
    """Run git's script in a home that is the program's, and its own for git."""
    require_newer_git()
    helper = os.path.join(os.path.dirname(program.path), "git-credential-brokerctl")
    variables = {
        "GIT_TEST_CREDENTIAL_HELPER": helper,
        "GIT_TEST_CREDENTIAL_HELPER_TIMEOUT": f"{helper} --timeout=1",
        "BROKERCTL_KEEPER": "file",
    }
    done = subprocess.run(
        ["/bin/sh", f"./{SCRIPT}", f"--root={program.home}", "--verbose"],
        cwd=TESTS,
        env={**program.environment(), **variables},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    program.keep((SCRIPT,), done.stdout, done.stderr)
    return done


@pytest.mark.slow("some fifty calls of git, and the wait for a timeout")
def test_all_of_it_passes(brokerctl: Program) -> None:
    """With `keep`: users, paths, erasing, ends, refresh tokens, timeouts."""
    brokerctl.config('[helpers]\nkeep = ["git"]\n')
    done = run(brokerctl)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    results = re.findall(r"^(ok|not ok) \d+ - (.+)$", done.stdout, re.MULTILINE)
    assert {said for said, _ in results} == {"ok"}
    titles = " ".join(title for _, title in results)
    assert len(results) == int(re.findall(r"^1\.\.(\d+)$", done.stdout, re.MULTILINE)[0]) >= 20
    for word in ("times out", "password_expiry_utc", "oauth_refresh_token", "erases all"):
        assert word in titles
    assert "skip" not in done.stdout
    status = brokerctl("status").stdout
    assert "kept for other tools" not in status or "kept for other tools: 1 " in status
    assert brokerctl("store", "check").returncode == 0
    assert brokerctl("audit", "verify").returncode == 0
