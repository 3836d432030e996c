"""Google's metadata server at its own address, the only one beyond loopback for plain http."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.emulations.jobs import Job
from tests.program import ROOT, require_tool

if TYPE_CHECKING:
    from tests.emulations.platforms import Platforms
    from tests.program import Program

AUDIENCE = "https://issuer.example"
PROFILE = (
    f'[profile.deploy]\nissuer = "{AUDIENCE}"\nflow = "token_exchange"\nclient_id = "ci"\n'
    "identity = { google_metadata = true }\n"
)


def test_it_is_asked_at_its_address(brokerctl: Program, platforms: Platforms) -> None:
    """Without a resolver, and by no proxy, which would see the answer; nothing else is sent."""
    brokerctl.config(PROFILE)
    token = platforms.token("google", Job(), AUDIENCE)
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    env = brokerctl.environment(dict.fromkeys(proxies, "http://127.0.0.1:9"))
    server = os.path.join(ROOT, "tests", "machine", "metadata_server.py")
    words = [require_tool("unshare"), "-n", sys.executable, server, token]
    done = subprocess.run(
        [*words, brokerctl.path, "doctor", "--ci", "--json"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    brokerctl.keep(("doctor",), found["stdout"], found["stderr"])
    assert found["code"] == 0, found
    (identity,) = json.loads(found["stdout"])["identities"]
    assert identity["platform"] == "google_metadata"
    (asked,) = found["seen"]
    path = "/computeMetadata/v1/instance/service-accounts/default/identity"
    assert asked["path"] == f"{path}?audience=https%3A%2F%2Fissuer.example&format=full"
    known = {"path", "host", "user-agent", "accept", "accept-encoding", "connection"}
    assert asked.keys() == known | {"metadata-flavor"}
    assert (asked["host"], asked["metadata-flavor"]) == ("169.254.169.254", "Google")
