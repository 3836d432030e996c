"""A refresh that is stopped between grant and slot: nothing lives on that `revoke` can't reach."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import PROGRAM, require_tool

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

RENAME = "?rename,?renameat,?renameat2"


def stopped_refresh(program: Program, name: str, fault: str) -> int:
    """Run `get --fresh` with a fault of the kernel at the slot's rename; return its code."""
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={RENAME}"]
    words += ["-e", f"inject={RENAME}:{fault}:when=3", PROGRAM, "get", name, "--fresh"]
    done = subprocess.run(
        words,
        env=program.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ptrace" in done.stderr.lower():
        pytest.skip("ptrace is not allowed here")
    assert done.stdout == ""
    return done.returncode


@pytest.mark.parametrize(("fault", "code"), [("signal=KILL", -9), ("error=ENOSPC", 6)])
def test_the_token_of_a_stopped_refresh_is_held(
    brokerctl: Program, http_issuer: OidcProvider, fault: str, code: int
) -> None:
    """It is listed at once, and after any command that tends served and revoked as any other."""
    require_tool("strace")
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    name = main_job.person(brokerctl, http_issuer)
    browser = main_job.scripted_browser(http_issuer)
    assert brokerctl("login", name, env=browser).returncode == 0
    first = brokerctl("get", name).stdout.strip()
    http_issuer.reset()
    assert stopped_refresh(brokerctl, name, fault) == code
    listed = json.loads(brokerctl("audit", "tokens", "--json").stdout)["held"]
    assert [one["kind"] for one in listed] == ["grant", "token", "token"]
    told = "brokerctl: note: a refresh of 'person' was cut off: its token is listed now\n"
    assert told in brokerctl("status").stderr
    second = brokerctl("get", name)
    assert second.stdout.strip() not in {"", first}, second.stderr
    assert http_issuer.counts()["grants"] == {"refresh_token": 1}
    fingerprints = [one["fingerprint"] for one in listed]
    log = brokerctl("audit", "log", "--event", "grant.refreshed", "--json").stdout
    (record,) = [json.loads(line) for line in log.splitlines()]
    assert record["fingerprint"] in fingerprints
    assert record["reason"] == "finished after an interruption"
    assert brokerctl("revoke", name, "--verify").returncode == 0
    assert not http_issuer.is_active(second.stdout.strip())
    assert not http_issuer.is_active(first)
    assert brokerctl("audit", "verify").returncode == 0
