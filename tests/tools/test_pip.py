"""The real pip, old and new, and brokerctl as the `keyring` command that it runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.tools.clients import require_client
from tests.tools.index_server import Index
from tests.tools.python_tools import Desk
from tests.tools.room import long_but

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

CALL = ("-m", "pip", "install", "--no-cache-dir", "--no-deps", "--disable-pip-version-check")
PYTHONS = ("ours", "client")
both = pytest.mark.parametrize("python", PYTHONS)
# Where old and new do not differ, the new one stands for both; the old one is a long test.
newest = pytest.mark.parametrize("python", long_but(PYTHONS, "client"))
USERS = [(user, python) for user in ("oauth2", "__token__", "robot") for python in PYTHONS]


@pytest.fixture
def desk(brokerctl: Program) -> Desk:
    """Return a home where pip is set up."""
    return Desk(brokerctl, "pip")


def program_of(python: str) -> str:
    """Return the Python of the tests, or that of the clients."""
    return sys.executable if python == "ours" else require_client("python")


def install(desk: Desk, python: str, url: str, name: str = "one", *, code: int = 0) -> str:
    """Install the index's package, with the pip of this Python (23) or the newest (26)."""
    words = (*CALL, "--no-input", "--target", desk.target(name), "--index-url", url, "shop")
    said = desk.run(program_of(python), *words, code=code)
    assert os.path.exists(desk.target(f"{name}/shop.py")) == (code == 0)
    return said


@pytest.mark.parametrize(
    ("user", "python"), long_but(USERS, ("__token__", "ours"), ("robot", "client"))
)
def test_first_and_warm_use(
    desk: Desk, issuer: DemoIssuer, index: Index, user: str, python: str
) -> None:
    """One request to the issuer; the user of the URL is the one that the index sees."""
    desk.serve(issuer, index, username='"robot"')
    for name in ("one", "two"):
        install(desk, python, index.simple_of(user), name)
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert index.users() == {user}
    handed_out = desk.records("token.handed_out")
    assert len(handed_out) >= 2
    assert all('"tool":"keyring"' in line for line in handed_out)


def test_the_new_pip_needs_no_user(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """It asks for both, and the user is the profile's."""
    desk.serve(issuer, index, username='"robot"')
    install(desk, "client", index.simple)
    assert index.users() == {"robot"}


@newest
def test_an_expired_token_is_refreshed_once(
    desk: Desk, issuer: DemoIssuer, index: Index, python: str
) -> None:
    """However many of pip's calls meet it."""
    desk.log_in(issuer, index)
    desk.let_expire(issuer)
    for name in ("one", "two"):
        install(desk, python, index.simple_of("oauth2"), name)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


@newest
def test_a_refused_token_is_pip_s_own_failure(
    desk: Desk, issuer: DemoIssuer, index: Index, python: str
) -> None:
    """The protocol has no way back: pip says 401, and `get --fresh` is the way out."""
    desk.log_in(issuer, index)
    token = desk.program("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = install(desk, python, index.simple_of("oauth2"), code=1)
    assert "401 Error, Credentials not correct" in said
    assert token not in said
    assert desk.program("get", "person", "--fresh").returncode == 0
    install(desk, python, index.simple_of("oauth2"))


@both
def test_a_revoked_grant_is_pip_s_own_failure(
    desk: Desk, issuer: DemoIssuer, index: Index, python: str
) -> None:
    """Pip before 26.1 lets the hint through; since then it keeps what its command says."""
    desk.log_in(issuer, index)
    assert desk.program("revoke", "person").returncode == 0
    said = install(desk, python, index.simple_of("oauth2"), code=1)
    assert "No matching distribution found" in said
    assert "Traceback" not in said
    number = desk.run(program_of(python), "-m", "pip", "--version").split()[1].split(".")
    is_old = [int(part) for part in number[:2]] < [26, 1]
    assert ("hint: run 'brokerctl login person'" in said) == is_old


@newest
def test_another_index_or_user_gets_nothing(
    desk: Desk, issuer: DemoIssuer, index: Index, python: str
) -> None:
    """No hand-out, and pip goes on without; the profile may be for whoever the URL names."""
    desk.serve(issuer, index, username='"robot"')
    with Index(issuer) as other:
        said = install(desk, python, other.simple_of("robot"), code=1)
        assert not other.users()
    assert "brokerctl" not in said
    said = install(desk, python, index.simple_of("bob"), code=1)
    assert not desk.records("token")
    words = ("profile", "edit", "service", "--set", "username_match=any")
    assert desk.program(*words).returncode == 0
    install(desk, python, index.simple_of("bob"))
    assert index.users() <= {"bob", "robot"}
