"""git 2.47, with what came after Debian's stable one: authtype, ephemeral, state, interactive."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from brokerctl import jsonlite
from tests.idp import main_job
from tests.tools.clients import require_newer_git
from tests.tools.git_server import BASIC, BEARER, GitServer
from tests.tools.room import hosts, long_but
from tests.tools.test_git import Desk, judge_a_refusal, judge_the_main_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program


@pytest.fixture
def newer() -> str:
    """Return the program."""
    return require_newer_git()


@pytest.fixture(params=[BASIC, BEARER], ids=["Basic", "Bearer"])
def server(
    request: pytest.FixtureRequest, trace_dir: str, issuer: DemoIssuer
) -> Iterator[GitServer]:
    """Return a git server that takes the issuer's tokens in one form alone."""
    folder = tempfile.mkdtemp(prefix="git-", dir=trace_dir)
    with GitServer(folder, issuer, request.param) as running:
        yield running


def request_for(server: GitServer, *lines: str) -> str:
    """Return what `git credential` is asked on stdin."""
    host = server.url.removeprefix("https://")
    return "".join(f"{line}\n" for line in ("protocol=https", f"host={host}", *lines))


def test_it_is_newer(newer: str, brokerctl: Program, server: GitServer) -> None:
    """What the tests below say of 2.47 was tried with it."""
    assert Desk(brokerctl, server, git=newer)("version").startswith("git version 2.47.")


def test_clone_push_and_fetch(
    newer: str, brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """The server gets the form it takes, and the issuer one request."""
    user = "bearer" if server.challenge == BEARER else "robot"
    judge_the_main_job(Desk(brokerctl, server, git=newer), issuer, server, user)


@pytest.mark.parametrize(
    "server",
    long_but(
        [BASIC, BEARER, 'Basic realm="Gr\xfcn"', 'Bearer realm="Gr\xfcn, Basic"'],
        'Basic realm="Gr\xfcn"',
        'Bearer realm="Gr\xfcn, Basic"',
    ),
    indirect=True,
)
def test_a_refused_token_is_not_tried_again(
    newer: str, brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """In either form, and after an odd challenge, of which git hands on whatever bytes come."""
    judge_a_refusal(Desk(brokerctl, server, git=newer), issuer, server)


@pytest.mark.parametrize("server", [BEARER], indirect=True)
def test_a_bearer_stays_in_no_other_helper(
    newer: str, brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """It is ephemeral: neither git's cache nor its store keeps what is ours."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server, git=newer)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    for name in ("cache", "store"):
        git("config", "--global", "--add", f"credential.{server.url}.helper", name)
    git("clone", "-q", url, "work")
    asked = request_for(server, "capability[]=authtype")
    try:
        assert git("credential-cache", "get", stdin=asked) in {"", "capability[]=authtype\n"}
    finally:
        git("credential-cache", "exit")
    assert not os.path.exists(os.path.join(brokerctl.home, ".git-credentials"))
    token = brokerctl("get", "service").stdout.strip()
    assert token not in git("config", "--list")


def test_fill_says_when_it_ends(
    newer: str, brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """The end is the token's own, in whole seconds, so that git uses it no longer."""
    git = Desk(brokerctl, server, git=newer)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    said = git("credential", "fill", stdin=request_for(server)).splitlines()
    found = jsonlite.loads(brokerctl("get", "service", "--json").stdout.encode())
    ends = int(datetime.fromisoformat(found["expires_at"]).timestamp())
    assert f"password_expiry_utc={ends}" in said
    assert f"password={found['access_token']}" in said


def test_what_other_helpers_remember_is_ignored(
    newer: str, brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """`state[]` belongs to the helper that sent it, and none of ours is made."""
    git = Desk(brokerctl, server, git=newer)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    lines = ("capability[]=authtype", "capability[]=state", "state[]=other.step=2", "state[]=x")
    said = git("credential", "fill", stdin=request_for(server, *lines)).splitlines()
    token = brokerctl("get", "service").stdout.strip()
    assert f"password={token}" in said
    assert [line for line in said if line.startswith("state[]")] in ([], list(lines[2:]))


@pytest.mark.parametrize("server", [BEARER], indirect=True)
def test_fill_and_reject_speak_of_authtype(
    newer: str, brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """What was filled is a bearer, and rejecting it drops the token."""
    git = Desk(brokerctl, server, git=newer)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    lines = ("capability[]=authtype", f"wwwauth[]={BEARER}")
    said = git("credential", "fill", stdin=request_for(server, *lines))
    token = brokerctl("get", "service").stdout.strip()
    assert f"authtype=Bearer\ncredential={token}\nephemeral=1\n" in said
    git("credential", "reject", stdin=said)
    assert len(git.records("token.rejected")) == 1
    assert brokerctl("get", "service").stdout.strip() != token


@pytest.mark.parametrize("is_ours", [True, False])
def test_nobody_is_asked_where_git_must_not(
    newer: str, brokerctl: Program, issuer: DemoIssuer, server: GitServer, *, is_ours: bool
) -> None:
    """With `credential.interactive=never` git fails at once, whether the host is ours or not."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server, git=newer)
    main_job.person(brokerctl, issuer, hosts=hosts(server.url if is_ours else "https://a.example"))
    asked = os.path.join(brokerctl.home, "asked")
    words = ("-c", "credential.interactive=never", "clone", "-q", url, "work")
    said = git(*words, code=128, GIT_ASKPASS=_asking(brokerctl.home, asked))
    assert not os.path.exists(asked)
    assert ("run 'brokerctl login person'" in said) == is_ours


def _asking(folder: str, asked: str) -> str:
    """Return a program that notes that it was asked."""
    path = os.path.join(folder, "askpass")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o700), "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\n: >'{asked}'\necho x\n")
    return path
