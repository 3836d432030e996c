"""The real uv, an index on loopback that wants a live token, and brokerctl as its `keyring`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.tools.clients import require_client
from tests.tools.index_server import WHEEL, Index
from tests.tools.python_tools import Desk
from tests.tools.room import long_but

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

CALL = ("pip", "install", "--no-cache", "--python", sys.executable)


@pytest.fixture
def desk(brokerctl: Program) -> Desk:
    """Return a home where uv is set up."""
    return Desk(brokerctl, "uv")


def install(desk: Desk, url: str, name: str = "one", *, code: int = 0) -> str:
    """Install the index's package with uv."""
    words = (*CALL, "--target", desk.target(name), "--index-url", url, "shop")
    said = desk.run(require_client("uv"), *words, code=code)
    assert os.path.exists(desk.target(f"{name}/shop.py")) == (code == 0)
    return said


@pytest.mark.parametrize("user", long_but(["oauth2", "__token__", "robot"], "__token__"))
def test_first_and_warm_use(desk: Desk, issuer: DemoIssuer, index: Index, user: str) -> None:
    """One request to the issuer; the user of the URL is the one that the index sees."""
    desk.serve(issuer, index, username='"robot"')
    for name in ("one", "two"):
        install(desk, index.simple_of(user), name)
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert index.users() == {user}
    handed_out = desk.records("token.handed_out")
    assert len(handed_out) >= 2
    assert all('"tool":"keyring"' in line for line in handed_out)


def test_an_index_that_is_always_asked_for(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """Without a user in its URL the user is the answer's; the hint goes through here too."""
    desk.log_in(issuer, index)
    with open(desk.target("uv.toml"), "w", encoding="utf-8") as file:
        file.write(f'[[index]]\nurl = "{index.simple}"\ndefault = true\nauthenticate = "always"\n')
    words = (require_client("uv"), *CALL, "--target", desk.target("one"), "shop")
    desk.run(*words)
    assert index.users() == {"oauth2"}
    assert desk.program("revoke", "person").returncode == 0
    said = desk.run(*words, "--reinstall", code=2)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "Missing credentials" in said


def test_an_expired_token_is_refreshed_once(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """However many of uv's calls meet it."""
    desk.log_in(issuer, index)
    desk.let_expire(issuer)
    for name in ("one", "two"):
        install(desk, index.simple_of("oauth2"), name)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_refused_token_is_uv_s_own_failure(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """The protocol has no way back: uv says 401, and `get --fresh` is the way out."""
    desk.log_in(issuer, index)
    install(desk, index.simple_of("oauth2"))
    token = desk.program("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = install(desk, index.simple_of("oauth2"), "two", code=1)
    assert "401" in said
    assert token not in said
    assert desk.program("get", "person", "--fresh").returncode == 0
    install(desk, index.simple_of("oauth2"), "two")


def test_a_revoked_grant_is_uv_s_own_failure(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """The hint goes through, above uv's own words."""
    desk.log_in(issuer, index)
    assert desk.program("revoke", "person").returncode == 0
    said = install(desk, index.simple_of("oauth2"), code=1)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "401" in said


def test_another_index_or_user_gets_nothing(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """No hand-out, and uv goes on without; the profile may be for whoever the URL names."""
    desk.serve(issuer, index, username='"robot"')
    with Index(issuer) as other:
        said = install(desk, other.simple_of("robot"), code=1)
        assert not other.users()
    assert "brokerctl" not in said
    said = install(desk, index.simple_of("bob"), code=1)
    assert "the URL names bob" in said
    assert not desk.records("token")
    words = ("profile", "edit", "service", "--set", "username_match=any")
    assert desk.program(*words).returncode == 0
    install(desk, index.simple_of("bob"))
    assert index.users() <= {"bob", "robot"}


def test_publish(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """To an upload endpoint, for the user that uv was given."""
    desk.serve(issuer, index, username='"robot"')
    path = desk.target(WHEEL)
    with open(path, "wb") as file:
        file.write(index.wheel)
    words = ("publish", "--username", "__token__", "--publish-url", f"{index.url}/legacy/", path)
    desk.run(require_client("uv"), *words)
    assert [index.wheel in body for body in index.uploads] == [True]
    assert index.users() == {"__token__"}
