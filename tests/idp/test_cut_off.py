"""A disk that fails in the middle of a refresh: no grant ends, and `revoke` reaches what lives."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.idp.issuer import OidcProvider
from tests.program import PROGRAM, Result, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

RENAME = "?rename,?renameat,?renameat2"


def injured(program: Program, name: str, calls: str, fault: str) -> Result:
    """Run `get --fresh` with a fault of the kernel in some system calls."""
    require_tool("strace")
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
    words += ["-e", f"inject={calls}:{fault}", PROGRAM, "get", name, "--fresh"]
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
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def non_rotating(issuer_folder: str) -> Iterator[OidcProvider]:
    """Start an issuer whose refresh tokens stay, and end with any access token of theirs."""
    with OidcProvider(issuer_folder, no_rotate=True) as running:
        yield running


# At `get --fresh` the fifth sync is the grant's own, in the room that was reserved for it.
@pytest.mark.parametrize(
    ("calls", "fault", "code"),
    [
        ("fsync", "error=EIO:when=5", 0),
        ("fsync", "error=EIO:when=5+", 6),
        ("fsync", "error=EIO:when=6+", 6),
        ("fsync", "error=EIO:when=7+", 6),
        (RENAME, "error=ENOSPC:when=2+", 6),
    ],
)
def test_a_disk_error_ends_no_grant_that_the_issuer_honours(
    brokerctl: Program, non_rotating: OidcProvider, calls: str, fault: str, code: int
) -> None:
    """The token that could not be stored is left alone: what is held works when the disk does."""
    name = main_job.person(brokerctl, non_rotating)
    browser = main_job.scripted_browser(non_rotating)
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    assert brokerctl("login", name, env=browser).returncode == 0
    assert injured(brokerctl, name, calls, fault).returncode == code
    for words in ((), ("--fresh",)):
        done = brokerctl("get", name, *words)
        assert done.returncode == 0, done.stderr
        assert non_rotating.is_active(done.stdout.strip())
    assert "/token/revocation" not in non_rotating.counts()["paths"], "nothing was revoked"


@pytest.mark.parametrize(
    ("fault", "code"), [("signal=KILL:when=3", -9), ("error=ENOSPC:when=3+", 6)]
)
def test_the_token_of_a_stopped_refresh_is_held(
    brokerctl: Program, http_issuer: OidcProvider, fault: str, code: int
) -> None:
    """It is listed at once, and after any command that tends served and revoked as any other."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    name = main_job.person(brokerctl, http_issuer)
    browser = main_job.scripted_browser(http_issuer)
    assert brokerctl("login", name, env=browser).returncode == 0
    first = brokerctl("get", name).stdout.strip()
    http_issuer.reset()
    done = injured(brokerctl, name, RENAME, fault)
    assert (done.returncode, done.stdout) == (code, "")
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
