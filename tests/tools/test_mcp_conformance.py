"""The conformance suite of MCP (Model Context Protocol) judges a client with brokerctl's tokens.

The suite is issuer, MCP server and judge; the client is mcp_conformance/client.py. Every check of
its report must be SUCCESS: a WARNING, as for an assertion that is sent again, fails it too.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.idp.test_job_exchange import records
from tests.program import ROOT, TIMEOUT_S, require_tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.program import Program

pytestmark = pytest.mark.slow("each starts the suite, its client, and brokerctl up to five times")

FOLDER = os.path.join(ROOT, "tests", "tools", "mcp_conformance")
NODE = os.path.join(FOLDER, "node_modules", ".bin", "node")
SUITE = os.path.join(FOLDER, "node_modules", "@modelcontextprotocol", "conformance", "dist")
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
BASIC, KEY = "auth/client-credentials-basic", "auth/client-credentials-jwt"
WORKLOAD, ENTERPRISE = "auth/wif-jwt-bearer", "auth/enterprise-managed-authorization"
# Each scenario, the checks that are its own, and the grant that the server's issuer is asked by.
SCENARIOS = {
    BASIC: ({"client-credentials-basic-auth"}, "client_credentials"),
    KEY: ({"client-credentials-jwt-verified"}, "client_credentials"),
    WORKLOAD: ({"wif-assertion-verified"}, JWT_BEARER),
    ENTERPRISE: ({"complete-flow-token-exchange", "complete-flow-jwt-bearer"}, JWT_BEARER),
}
# Metadata of the server and of its issuer, the token request, and a good token in each call.
SHARED = {
    "prm-pathbased-requested",
    "authorization-server-metadata",
    "token-request",
    "valid-bearer-token",
}


class Report(NamedTuple):
    """What the suite says: its exit code, its words, and its checks without those that only log."""

    code: int
    said: str
    checks: list[dict[str, Any]]

    def ids(self, status: str) -> set[str]:
        """Return the names of the checks with that status."""
        return {one["id"] for one in self.checks if one["status"] == status}

    def grants(self) -> list[str]:
        """Return the grant of each request that came to the server's issuer."""
        asked = [one for one in self.checks if one["id"] == "token-request"]
        return [one["details"]["grantType"] for one in asked]


def judge(program: Program, folder: Path, scenario: str, **variables: str) -> Report:
    """Run a scenario; the client writes brokerctl's configuration into the program's home."""
    if not (os.path.exists(SUITE) and os.access(NODE, os.X_OK)):
        require_tool("mcp-conformance (npm)")
    # Named from its own folder, for the suite splits the command at spaces.
    words = ["client", "--command", "python client.py", "--scenario", scenario]
    done = subprocess.run(
        [NODE, os.path.join(SUITE, "index.js"), *words, "-o", folder, "--timeout", "120000"],
        env={**program.environment(), **variables},
        cwd=FOLDER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    said = done.stdout + done.stderr
    (path,) = glob.glob(f"{folder}/**/checks.json", recursive=True)
    with open(path, encoding="utf-8") as file:
        checks = [one for one in json.load(file) if one["status"] != "INFO"]
    return Report(done.returncode, said, checks)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario(brokerctl: Program, tmp_path: Path, scenario: str) -> None:
    """Passed, each check of it a success, by one request for a token."""
    own, grant = SCENARIOS[scenario]
    report = judge(brokerctl, tmp_path, scenario)
    assert (report.code, report.ids("SUCCESS")) == (0, SHARED | own), report.said
    assert {one["status"] for one in report.checks} == {"SUCCESS"}
    assert report.grants() == [grant]
    handed = records(brokerctl, {}, "token.handed_out")
    assert (handed[-1]["profile"], handed[-1]["outcome"]) == ("mcp", "issue")


@pytest.mark.parametrize("scope", ["wif.rejected", "wif.trigger-unauthorized"])
def test_a_workload_that_is_refused(brokerctl: Program, tmp_path: Path, scope: str) -> None:
    """No other try and no other grant; an identity for somebody else, or that is over, stays here.

    One request for each of the two good ones: the client has the exit codes of all.
    """
    report = judge(brokerctl, tmp_path, WORKLOAD, REFUSED_SCOPE=scope)
    assert (report.code, {one["status"] for one in report.checks}) == (0, {"SUCCESS"}), report.said
    assert report.grants() == [JWT_BEARER, JWT_BEARER]


@pytest.mark.parametrize(
    ("scenario", "mistake", "found"),
    [
        (BASIC, {"SECRET": "another"}, "client-credentials-basic-auth"),
        (WORKLOAD, {"SUBJECT": "expired_jwt"}, "wif-assertion-expired"),
        (WORKLOAD, {"SUBJECT": "wrong_audience_jwt"}, "wif-assertion-audience"),
    ],
)
def test_the_suite_finds_a_mistake(
    brokerctl: Program, tmp_path: Path, scenario: str, mistake: dict[str, str], found: str
) -> None:
    """So its praise says something; and what was refused is not sent again."""
    report = judge(brokerctl, tmp_path, scenario, **mistake)
    assert (report.code, report.ids("FAILURE")) == (1, {found}), report.said
    assert not report.ids("WARNING")
    assert len(report.grants()) == 1
