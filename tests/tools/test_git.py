"""The real git, its own http-backend behind TLS, and brokerctl as its credential helper."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import require_tool
from tests.tools.git_server import GitServer
from tests.tools.room import PLACES, hosts, let_expire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.com")


@pytest.fixture
def server(trace_dir: str, issuer: DemoIssuer) -> Iterator[GitServer]:
    """Return a git server that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="git-", dir=trace_dir)
    with GitServer(folder, issuer) as running:
        yield running


class Desk:
    """A home with git, whose helper for one server is brokerctl."""

    def __init__(
        self,
        program: Program,
        server: GitServer,
        helper: str = "brokerctl",
        git: str | None = None,
    ) -> None:
        self.program = program
        self.git = git or require_tool("git")
        program.env["BROKERCTL_KEEPER"] = "file"
        with open(os.path.join(program.home, ".gitconfig"), "w", encoding="utf-8") as file:
            file.write(f'[credential "{server.url}"]\n\thelper =\n\thelper = {helper}\n')
            file.write(f"[http]\n\tsslCAInfo = {server.ca_file}\n")

    def __call__(self, *words: str, code: int = 0, stdin: str = "", **more: str) -> str:
        """Run git, which has nobody to ask; return what it printed on both streams."""
        variables = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", **more}
        done = subprocess.run(
            [self.git, *AUTHOR, *words],
            env={**self.program.environment(), **variables},
            cwd=self.program.home,
            input=stdin,
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
        done = self.program("audit", "log", "--event", event, "--json")
        return done.stdout.splitlines()


def log_in(program: Program, issuer: DemoIssuer, **keys: str) -> None:
    """Have alice logged in."""
    main_job.person(program, issuer, **keys)
    done = program("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr


def judge_the_main_job(git: Desk, issuer: DemoIssuer, server: GitServer, user: str) -> None:
    """First use and warm use, one request to the issuer, each hand-out in the record."""
    url = server.make("shop.git")
    main_job.service(git.program, issuer, hosts=hosts(server.url), username='"robot"')
    git("clone", "-q", url, "work")
    git("-C", "work", "commit", "-q", "--allow-empty", "-m", "one")
    git("-C", "work", "push", "-q", "origin", "HEAD:main")
    git("clone", "-q", url, "again")
    git("-C", "again", "fetch", "-q")
    assert git("-C", "again", "log", "--format=%s") == "one\n"
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert {who for who, status in server.seen if status == 200} == {user}
    handed_out = git.records("token.handed_out")
    assert len(handed_out) == 4
    assert all('"tool":"git"' in line for line in handed_out)


def judge_a_refusal(git: Desk, issuer: DemoIssuer, server: GitServer) -> None:
    """A token that the server refuses is rejected once, and the next call has another."""
    url = server.make("shop.git")
    log_in(git.program, issuer, hosts=hosts(server.url))
    git("clone", "-q", url, "first")
    token = git.program("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    git("clone", "-q", url, "second", code=128)
    assert len(git.records("token.rejected")) == 1
    git("clone", "-q", url, "third")
    assert git.program("get", "person").stdout.strip() != token


def test_clone_push_and_fetch(brokerctl: Program, issuer: DemoIssuer, server: GitServer) -> None:
    """The server sees the profile's user."""
    judge_the_main_job(Desk(brokerctl, server), issuer, server, "robot")


def test_a_mistake_of_ours_leaves_the_next_helper(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """With a configuration that can't be read git asks whom it would ask without brokerctl."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    token = brokerctl("get", "service").stdout.strip()
    kept = os.path.join(brokerctl.home, "child-credentials")
    git("config", "--global", "--add", f"credential.{server.url}.helper", f"store --file {kept}")
    with open(kept, "w", encoding="utf-8") as file:
        file.write(server.url.replace("://", f"://someone:{token}@") + "\n")
    brokerctl.config("nonsense = [")
    said = git("clone", url, "one")
    assert "so nothing is known to be brokerctl's" in said
    assert {user for user, status in server.seen if status == 200} == {"someone"}


def test_a_url_that_names_its_user(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """The URL that a forge shows: nothing and a reason, or the profile's own user and a token."""
    url = server.make("shop.git").replace("://", "://alice@")
    git = Desk(brokerctl, server)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url), username='"robot"')
    said = git("clone", "-q", url, "one", code=128)
    assert "'service' is for the user robot, and the URL names alice" in said
    assert brokerctl("profile", "edit", "service", "--set", "username_match=any").returncode == 0
    git("clone", "-q", url, "one")
    git("-C", "one", "fetch", "-q")
    assert {user for user, status in server.seen if status == 200} == {"robot"}


def test_an_expired_token_is_refreshed_once(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """However many of git's calls meet it."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    log_in(brokerctl, issuer, hosts=hosts(server.url))
    let_expire(brokerctl, issuer)
    for name in ("one", "two"):
        git("clone", "-q", url, name)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_token_that_the_server_refused_is_not_tried_again(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """Git says that it was refused; the grant stays, and the next call has another token."""
    judge_a_refusal(Desk(brokerctl, server), issuer, server)


def test_a_late_refusal_drops_no_newer_token(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """Who comes late with an old token changes nothing."""
    log_in(brokerctl, issuer, hosts=hosts(server.url))
    old = brokerctl("get", "person").stdout.strip()
    new = brokerctl("get", "person", "--fresh").stdout.strip()
    host = server.url.removeprefix("https://")
    request = f"protocol=https\nhost={host}\nusername=oauth2\npassword={old}\n\n"
    done = brokerctl("helper", "git", "erase", stdin=request)
    assert done == (0, "", "")
    assert brokerctl("get", "person").stdout.strip() == new


def test_a_revoked_grant_is_git_s_own_clean_failure(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer
) -> None:
    """No prompt for a password that nobody has: what to do is said, and git stops."""
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    log_in(brokerctl, issuer, hosts=hosts(server.url))
    assert brokerctl("revoke", "person").returncode == 0
    said = git("clone", "-q", url, "work", code=128)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "told us to quit" in said


def test_another_host_gets_nothing(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer, trace_dir: str
) -> None:
    """The helper is asked for a server that no profile names: silence, and no hand-out."""
    folder = tempfile.mkdtemp(prefix="git-", dir=trace_dir)
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    with GitServer(folder, issuer) as other:
        git = Desk(brokerctl, other)
        said = git("clone", "-q", other.make("shop.git"), "work", code=128)
    assert "brokerctl" not in said
    assert not git.records("token")


@pytest.mark.parametrize("place", PLACES)
def test_the_script_through_a_link_and_from_a_folder_with_a_space(
    brokerctl: Program, issuer: DemoIssuer, server: GitServer, place: str
) -> None:
    """As uv and pipx install it, and wherever somebody puts a link."""
    url = server.make("shop.git")
    folder = os.path.join(brokerctl.home, place)
    os.mkdir(folder)
    link = os.path.join(folder, "git-credential-brokerctl")
    os.symlink(os.path.join(os.path.dirname(brokerctl.path), "git-credential-brokerctl"), link)
    git = Desk(brokerctl, server, f"\"!'{link}'\"")
    main_job.service(brokerctl, issuer, hosts=hosts(server.url))
    git("clone", "-q", url, "work")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
