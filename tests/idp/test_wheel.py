"""The main job by the wheel, as pip and as uv install it, against the real oidc-provider."""

from __future__ import annotations

import json
import os
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from tests import wheel
from tests.emulations.spiffe_agent import SpiffeAgent
from tests.idp import main_job
from tests.idp.issuer import OidcProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

ACCESS_TTL_S = 3


@pytest.fixture(params=["pip", "uv"])
def installed(request: pytest.FixtureRequest, brokerctl: Program) -> Program:
    """Return the program of a clean environment, with nothing of the repository in PATH."""
    made = wheel.install_by_pip() if request.param == "pip" else wheel.install_by_uv()
    brokerctl.path = made.program
    folder = os.path.dirname(made.program)
    brokerctl.env.update(PATH=f"{folder}:/usr/bin:/bin", BROKERCTL_KEEPER="file")
    return brokerctl


@pytest.fixture(scope="module")
def short_process(issuer_folder: str) -> Iterator[OidcProvider]:
    """One issuer of tokens that soon expire."""
    folder = tempfile.mkdtemp(dir=issuer_folder)
    with OidcProvider(folder, access_ttl=ACCESS_TTL_S) as running:
        yield running


@pytest.fixture
def short(short_process: OidcProvider) -> OidcProvider:
    """Return it with its counts at nought."""
    short_process.reset()
    return short_process


def assert_revoked(program: Program, name: str) -> None:
    """Revoke the profile's grant and tokens; the issuer agrees that they are dead."""
    revoked = program("revoke", name, "--verify", "--json")
    assert revoked.returncode == 0, revoked.stderr
    outcomes = {ending["outcome"] for ending in json.loads(revoked.stdout)["endings"]}
    assert outcomes <= {"revoked", "expired"}
    assert program("get", name).returncode == 3
    assert program("audit", "verify").returncode == 0


@pytest.mark.slow(reason="fills a new environment, where the sources have changed")
def test_login_by_code_get_exec_revoke(installed: Program, issuer: OidcProvider) -> None:
    """Login in a browser; the token is handed out and to a child; revoked, it is inactive."""
    name = main_job.person(installed, issuer)
    login = installed("login", name, env=main_job.scripted_browser(issuer))
    assert login.returncode == 0, login.stderr
    token = installed("get", name)
    assert (token.returncode, token.stderr) == (0, "")
    argv = ("sh", "-c", 'printf %s "$TOKEN"; brokerctl get person >child-output')
    child = installed("exec", "--keep", "--env", f"TOKEN={name}", "--", *argv)
    assert (child.returncode, child.stdout) == (0, token.stdout.strip()), child.stderr
    with open(os.path.join(installed.home, "child-output"), encoding="utf-8") as file:
        assert file.read() == token.stdout
    assert issuer.introspect(token.stdout.strip())["active"] is True
    assert_revoked(installed, name)
    assert issuer.introspect(token.stdout.strip())["active"] is False


@pytest.mark.slow(reason="oidc-provider lets a device poll every five seconds")
def test_login_by_device_refresh_revoke(installed: Program, short: OidcProvider) -> None:
    """Login with a code for another device; an expired token is refreshed once, then revoked."""
    name = main_job.person(installed, short, flow="device")
    with installed.start("login", name) as login:
        assert login.stderr
        seen = [login.stderr.readline(), login.stderr.readline()]
        uri = seen[0].strip().rpartition(" ")[2]
        short.approve_device(seen[1].split(" code ")[1].split(" ")[0], uri)
        _, stderr = login.communicate(timeout=60)
    assert (login.returncode, stderr) == (0, "")
    first = installed("get", name)
    assert first.returncode == 0, first.stderr
    time.sleep(ACCESS_TTL_S + 0.1)
    short.reset()
    second = installed("get", name)
    assert second.returncode == 0, second.stderr
    assert second.stdout != first.stdout
    assert short.counts()["grants"] == {"refresh_token": 1}
    assert_revoked(installed, name)
    assert short.introspect(second.stdout.strip())["active"] is False


@pytest.mark.slow(reason="fills a new environment, where the sources have changed")
def test_an_extra_that_is_not_installed_is_named(installed: Program) -> None:
    """A profile that names a SPIFFE agent's socket: exit 2, and the command that installs it."""
    with SpiffeAgent() as agent:
        installed.config(
            '[profile.deploy]\nissuer = "https://issuer.example"\nflow = "token_exchange"\n'
            f'client_id = "ci"\nidentity = {{ spiffe = "unix://{agent.socket}" }}\n'
        )
        done = installed("doctor", "--ci")
        assert done.returncode == 2, done
        assert "is not installed: grpc" in done.stdout
        assert r"run 'pip install brokerctl\[spiffe\]' where brokerctl is installed" in done.stdout
        assert agent.seen == []
