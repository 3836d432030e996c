"""A GitHub App's tokens by the real program, against an emulation as strict as GitHub's API."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulations.client import ask
from tests.emulations.github_app import CLIENT, INSTALLATION, GitHubApi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program, Result

SHOW = "import os; print(os.environ['BOT_TOKEN'])"
# Prints the signature of what it reads, as a key service's command does, in base64.
SIGNER = """
import base64, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
with open(sys.argv[1], "rb") as file:
    key = serialization.load_pem_private_key(file.read(), None)
made = key.sign(sys.stdin.buffer.read(), padding.PKCS1v15(), hashes.SHA256())
print(base64.b64encode(made).decode())
"""
TABLE = f"app = '{CLIENT}', installation = {INSTALLATION}"
NARROW = "repositories = ['docs', 'octo-repo'], permissions = { contents = 'write' }"


@pytest.fixture
def github() -> Iterator[GitHubApi]:
    """Return GitHub's API with one app and one installation."""
    with GitHubApi() as running:
        yield running


def add(
    program: Program, github: GitHubApi, table: str = f"{TABLE}, {NARROW}", key: str = ""
) -> str:
    """Write a profile of the app, and its key into a file; return the file's path."""
    path = os.path.join(program.home, "app.pem")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(github.private_key)
    of_file = f"{{ file = '{path}' }}"
    program.config(
        f"[profile.bot]\nflow = 'github_app'\ngithub_app = {{ {table} }}\nissuer = '{github.url}'\n"
        f"client_key = {key or of_file}\n"
    )
    return path


def show(program: Program, *words: str) -> Result:
    """Run a child that prints its token."""
    return program("exec", "-p", "bot", *words, "--", sys.executable, "-c", SHOW)


def get(program: Program, *words: str) -> dict[str, Any]:
    """Return what `get --json` prints."""
    done = program("get", "bot", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def records(program: Program, event: str) -> list[dict[str, Any]]:
    """Return the records of one event."""
    lines = program("audit", "log", "--json").stdout.splitlines()
    return [one for one in map(json.loads, lines) if one.get("event") == event]


def test_a_session_has_its_token_and_nothing_is_left(brokerctl: Program, github: GitHubApi) -> None:
    """The child's token was made for the session, and GitHub's own endpoint ends it."""
    add(brokerctl, github)
    first, second = show(brokerctl), show(brokerctl)
    assert (first.returncode, second.stderr) == (0, "")
    assert first.stdout != second.stdout
    assert github.given == {}
    assert [one.method for one in github.seen] == ["POST", "DELETE"] * 2
    assert github.seen[0].json == {
        "repositories": ["docs", "octo-repo"],
        "permissions": {"contents": "write"},
    }
    assert github.seen[0].headers["user-agent"] == "brokerctl"
    (revoked, _) = records(brokerctl, "token.revoked")
    assert revoked["outcome"] == "revoked"


def test_a_request_is_narrowed_and_kept_apart(brokerctl: Program, github: GitHubApi) -> None:
    """Each narrowing has a slot of its own, and what GitHub gave stands in answer and record."""
    add(brokerctl, github)
    whole, again = get(brokerctl), get(brokerctl)
    less = get(brokerctl, "--scope", "contents:read", "--scope", "repo:docs")
    assert whole["access_token"] == again["access_token"] != less["access_token"]
    assert less["scopes"] == ["contents:read", "metadata:read", "repo:docs"]
    shown = ask(f"{github.url}/repos/octo-org/docs", token=less["access_token"])
    assert shown.json["permissions"]["contents"] == "read"
    assert ask(f"{github.url}/repos/octo-org/octo-repo", token=less["access_token"]).status == 404
    handed = records(brokerctl, "token.handed_out")[-1]
    assert handed["scopes"] == less["scopes"]
    assert brokerctl("revoke", "bot").returncode == 0
    assert github.given == {}


def test_a_permission_alone_keeps_the_repositories(brokerctl: Program, github: GitHubApi) -> None:
    """Without this, the token would open every repository of the installation."""
    add(
        brokerctl, github, f"{TABLE}, repositories = ['docs'], permissions = {{ issues = 'write' }}"
    )
    found = get(brokerctl, "--scope", "issues:read")
    assert found["scopes"] == ["issues:read", "metadata:read", "repo:docs"]
    assert github.seen[0].json["repositories"] == ["docs"]
    refused = brokerctl("get", "bot", "--scope", "contents:read")
    assert (refused.returncode, len(github.seen)) == (4, 1)


def test_a_command_can_sign_for_the_app(brokerctl: Program, github: GitHubApi) -> None:
    """The key is where the command finds it; brokerctl sees the signature alone."""
    signer = os.path.join(brokerctl.home, "signer.py")
    with open(signer, "w", encoding="utf-8") as file:
        file.write(SIGNER)
    pem = os.path.join(brokerctl.home, "app.pem")
    words = ", ".join(f"'{one}'" for one in (sys.executable, signer, pem))
    add(brokerctl, github, key=f"{{ sign = [{words}] }}")
    assert show(brokerctl).returncode == 0
    assert github.given == {}
    shown = brokerctl("profile", "show", "bot").stdout
    assert f'client_key = {{ sign = ["{sys.executable}"' in shown.replace("  ", " ")


def test_a_token_ends_though_its_profile_is_gone(brokerctl: Program, github: GitHubApi) -> None:
    """How it is revoked was noted with its endpoints."""
    add(brokerctl, github)
    get(brokerctl)
    brokerctl.config("")
    done = brokerctl("revoke", "--all")
    assert (done.returncode, github.given) == (0, {}), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("'docs'", "'other'"), "answered 422: not in this installation"),
        (("contents", "secrets"), "answered 422: not in this installation"),
        ((INSTALLATION, "5"), "answered 404: Not Found"),
        ((CLIENT, "Iv1.other"), "answered 401: 'Issuer' claim"),
    ],
)
def test_a_refusal_says_what_to_look_at(
    brokerctl: Program, github: GitHubApi, change: tuple[str, str], said: str
) -> None:
    """Exit code 5, GitHub's own words, and a hint."""
    add(brokerctl, github, f"{TABLE}, {NARROW}".replace(*change))
    done = brokerctl("get", "bot")
    assert (done.returncode, done.stdout) == (5, "")
    assert said in done.stderr
    assert "brokerctl: hint: " in done.stderr


@pytest.mark.parametrize(
    "fault", ["html", "huge", "empty", "not json", "list", "redirect", "reset"]
)
def test_what_is_no_answer_gives_no_token(
    brokerctl: Program, github: GitHubApi, fault: str
) -> None:
    """Exit code 5, and nothing goes where a redirect points."""
    add(brokerctl, github)
    github.fault(fault)
    done = brokerctl("get", "bot")
    assert (done.returncode, done.stdout) == (5, "")
    assert github.trapped == []


def test_one_bad_moment_is_tried_again(brokerctl: Program, github: GitHubApi) -> None:
    """A 503 is asked once more, with another JWT."""
    add(brokerctl, github)
    github.fault("503", times=1)
    assert get(brokerctl)["access_token"] in github.given
    assert len(github.seen) == 2


def test_a_revocation_that_failed_is_tried_again(brokerctl: Program, github: GitHubApi) -> None:
    """The token waits in the queue, and a later command ends it."""
    add(brokerctl, github)
    github.fault("503", path="/installation/token", times=1)
    done = show(brokerctl)
    assert done.returncode == 0
    assert github.is_alive(done.stdout.strip())
    brokerctl("status")
    assert github.given == {}


def test_a_login_proves_the_profile(brokerctl: Program, github: GitHubApi) -> None:
    """Nobody is asked: it fetches a token once, or says what is wrong."""
    add(brokerctl, github)
    done = brokerctl("login", "bot")
    assert (done.returncode, len(github.seen)) == (0, 1), done.stderr
