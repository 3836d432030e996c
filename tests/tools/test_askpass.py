"""The real git and ssh with brokerctl-askpass as the program that they ask."""

from __future__ import annotations

import os
import pty
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import BIN, require_tool
from tests.tools.clients import require_newer_git
from tests.tools.git_server import GitServer
from tests.tools.room import PLACES, hosts, let_expire
from tests.tools.test_git import log_in, server

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

__all__ = ["server"]  # the fixtures

SCRIPT = os.path.join(BIN, "brokerctl-askpass")


class Desk:
    """A home with git, which has no helper and asks a program."""

    def __init__(
        self, program: Program, server: GitServer, script: str = SCRIPT, git: str | None = None
    ) -> None:
        self.program = program
        self.git = git or require_tool("git")
        self.variables = {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": script,
            "GIT_SSL_CAINFO": server.ca_file,
        }
        program.env["BROKERCTL_KEEPER"] = "file"

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run git; return what it printed on both streams."""
        done = subprocess.run(
            [self.git, *words],
            env={**self.program.environment(), **self.variables},
            cwd=self.program.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.program.keep(("git", *words), done.stdout, done.stderr)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def records(self, event: str) -> list[str]:
        """Return the log's lines of one event."""
        return self.program("audit", "log", "--event", event, "--json").stdout.splitlines()


@pytest.mark.parametrize(
    ("keys", "seen"),
    [
        ({}, "oauth2"),
        ({"username": '"robot"'}, "robot"),
        ({"subject": '"alice"'}, "oauth2"),
    ],
)
def test_user_and_password(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer, keys: dict[str, str], seen: str
) -> None:
    """First use and warm use, one request to the issuer, a hand-out for each password alone."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url), **keys)
    git("clone", "-q", url, "one")
    git("clone", "-q", url, "two")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert {user for user, status in server.seen if status == 200} == {seen}
    handed_out = git.records("token.handed_out")
    assert len(handed_out) == 2
    assert all('"tool":"askpass"' in line for line in handed_out)


def test_a_user_in_the_url(brokerctl: Program, issuer: DemoIssuer, server: GitServer) -> None:
    """The profile's own user is answered, and another's question is not."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url), username='"robot"')
    git("clone", "-q", url.replace("://", "://robot@"), "one")
    for other in ("alice", "oauth2"):
        said = git("clone", "-q", url.replace("://", f"://{other}@"), other, code=128)
        assert "could not read Password" in said
    assert {user for user, status in server.seen if status == 200} == {"robot"}
    assert len(git.records("token.handed_out")) - len(git.records("token.not_delivered")) == 1
    assert brokerctl("profile", "edit", "service", "--set", "username_match=any").returncode == 0
    git("clone", "-q", url.replace("://", "://alice@"), "anyone")
    assert {user for user, status in server.seen if status == 200} == {"robot", "alice"}


@pytest.mark.parametrize("age", ["older", "newer"])
def test_a_user_that_has_to_be_escaped(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer, age: str
) -> None:
    """Git 2.47 escapes it in its question and git 2.39 does not: it is the same user."""
    url = server.make("shop.git").replace("://", "://alice%40corp%2B1@")
    git = Desk(brokerctl, server, git=require_newer_git() if age == "newer" else None)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url), username='"alice@corp+1"')
    git("clone", "-q", url, "one")
    assert {user for user, status in server.seen if status == 200} == {"alice@corp+1"}


def test_an_expired_token_is_refreshed_once(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """However many of git's questions meet it."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    log_in(brokerctl, issuer, hosts=hosts(server.url))
    let_expire(brokerctl, issuer)
    for name in ("one", "two"):
        git("clone", "-q", url, name)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_refused_token(brokerctl: Program, issuer: DemoIssuer, server: GitServer) -> None:
    """Git says that it was refused and shows no token; `get --fresh` is the way on."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    log_in(brokerctl, issuer, hosts=hosts(server.url))
    token = brokerctl("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = git("clone", "-q", url, "one", code=128)
    assert "Authentication failed" in said
    assert token not in said
    assert brokerctl("get", "person", "--fresh").returncode == 0
    git("clone", "-q", url, "two")


def test_a_revoked_grant_is_git_s_own_clean_failure(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """What to do is said, and nobody is asked."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    log_in(brokerctl, issuer, hosts=hosts(server.url))
    assert brokerctl("revoke", "person").returncode == 0
    said = git("clone", "-q", url, "work", code=128)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "could not read Password" in said


def test_another_host_gets_nothing(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer, trace_dir: str
) -> None:
    """Neither a user nor a password, and no hand-out."""
    folder = tempfile.mkdtemp(prefix="git-", dir=trace_dir)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    with GitServer(folder, issuer) as other:
        git = Desk(brokerctl, other)
        said = git("clone", "-q", other.make("shop.git"), "work", code=128)
        assert "could not read Username" in said
        assert {user for user, _ in other.seen} == {None}
    assert not git.records("token")


@pytest.mark.parametrize("place", PLACES)
def test_the_script_through_a_link_and_from_a_folder_with_a_space(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer, place: str
) -> None:
    """As uv and pipx install it, and wherever somebody puts a link."""
    url = server.make("shop.git")
    folder = os.path.join(brokerctl.home, place)
    os.mkdir(folder)
    link = os.path.join(folder, "askpass")
    os.symlink(SCRIPT, link)
    git = Desk(brokerctl, server, link)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    git("clone", "-q", url, "work")
    assert issuer.counts()["grants"] == {"client_credentials": 1}


def test_ssh_s_questions_are_not_ours(brokerctl: Program, issuer: DemoIssuer) -> None:
    """A key's passphrase is asked for: no answer, and ssh-add says that it has none."""
    keygen, add, agent = (require_tool(name) for name in ("ssh-keygen", "ssh-add", "ssh-agent"))
    main_job.service(brokerctl, issuer, hosts='["https://git.example.com"]')
    key = os.path.join(brokerctl.home, "key")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "a phrase", "-f", key], check=True)
    variables = {"SSH_ASKPASS": SCRIPT, "SSH_ASKPASS_REQUIRE": "force"}
    leader, follower = pty.openpty()  # a terminal to ask at, which must not be used
    done = subprocess.run(
        [agent, add, key],
        env={**brokerctl.environment(), **variables},
        stdin=follower,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    os.close(leader)
    os.close(follower)
    brokerctl.keep(("ssh-add",), done.stdout, done.stderr)
    assert done.returncode == 1
    assert "not a request of askpass: it is not a prompt of git" in done.stderr
    assert not issuer.counts()["grants"]
