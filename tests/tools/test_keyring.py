"""The real `keyring`, twine, poetry and pip, which find our back end through keyringrc.cfg."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.contracts.secret_service import SecretService
from tests.tools.clients import require_client
from tests.tools.index_server import WHEEL, Index
from tests.tools.python_tools import Desk
from tests.tools.room import long_but

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

PROJECT = """
[project]
name = "till"
version = "1.0"
requires-python = ">=3.11,<4"
dependencies = ["shop"]

[[tool.poetry.source]]
name = "ours"
url = "{url}"
priority = "primary"

[tool.poetry]
package-mode = false
"""


@pytest.fixture
def desk(brokerctl: Program) -> Desk:
    """Return a home where the library is set up."""
    return Desk(brokerctl, "keyring")


def upload(desk: Desk, index: Index, *, code: int = 0) -> str:
    """Upload the wheel with twine."""
    path = desk.target(WHEEL)
    with open(path, "wb") as file:
        file.write(index.wheel)
    words = ("upload", "--non-interactive", "--disable-progress-bar")
    return desk.run(
        require_client("twine"), *words, "--repository-url", f"{index.url}/legacy/", path, code=code
    )


def lock(desk: Desk, index: Index, *words: str, code: int = 0) -> str:
    """Have poetry read the index."""
    with open(desk.target("pyproject.toml"), "w", encoding="utf-8") as file:
        file.write(PROJECT.format(url=index.simple))
    poetry = (require_client("poetry"), "--no-interaction", *(words or ("lock",)))
    return desk.run(*poetry, code=code, POETRY_VIRTUALENVS_IN_PROJECT="true")


def test_keyring_s_own_command(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """In every form that it has; what it keeps goes elsewhere, and there is nowhere here."""
    desk.serve(issuer, index)
    keyring = require_client("keyring")
    token = desk.run(keyring, "get", index.simple, "oauth2").removesuffix("\n")
    assert issuer.use(token).status == 200
    creds = ("--mode=creds", "get", index.simple)
    assert desk.run(keyring, *creds) == f"oauth2\n{token}\n"
    found = json.loads(desk.run(keyring, "--output=json", *creds, "alice"))
    assert found == {"username": "alice", "password": token}
    assert not desk.run(keyring, "get", "https://other.example.com/", "oauth2", code=1)
    assert not desk.run(keyring, "get", "mail", "alice", code=1)
    said = desk.run(keyring, "del", "mail", "alice", code=1)
    assert "brokerctl keeps no passwords of others" in said


def test_a_desktop_s_keyring_stays_in_use(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """What is not ours is kept there and found there, as before; ours is found first."""
    keyring = require_client("keyring")
    with SecretService() as service:
        address = service.environ["DBUS_SESSION_BUS_ADDRESS"]
        desk.program.env["DBUS_SESSION_BUS_ADDRESS"] = address
        words = [keyring, "set", index.simple, "bob"]
        env = desk.program.environment()
        subprocess.run(words, env=env, input=b"hunter2", check=True)
        desk.serve(issuer, index, username='"robot"')
        said = desk.run(keyring, "get", index.simple, "bob")
        assert said.startswith("hunter2\n")  # and on stderr why ours had none for bob
        token = desk.run(keyring, "get", index.simple, "robot").strip()
        assert issuer.use(token).status == 200
        words = [keyring, "set", index.simple, "carol"]
        subprocess.run(words, env=env, input=b"hunter3", check=True)
        assert desk.run(keyring, "get", index.simple, "carol").startswith("hunter3\n")
        desk.run(keyring, "del", index.simple, "carol")
        assert "hunter" not in desk.run(keyring, "get", index.simple, "carol", code=1)


def test_twine_uploads(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """First use and warm use: user and token from the back end, one request to the issuer."""
    desk.serve(issuer, index, username='"robot"')
    upload(desk, index)
    upload(desk, index)
    assert [index.wheel in body for body in index.uploads] == [True, True]
    assert index.users() == {"robot"}
    assert issuer.counts()["grants"] == {"client_credentials": 1}


def test_twine_s_expired_token_is_refreshed_once(
    desk: Desk, issuer: DemoIssuer, index: Index
) -> None:
    """Twine asks for the user first and then for the password."""
    desk.log_in(issuer, index)
    desk.let_expire(issuer)
    upload(desk, index)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_twine_and_a_refused_token(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """Twine says 401 and not the token; `get --fresh` is the way out."""
    desk.log_in(issuer, index)
    token = desk.program("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = upload(desk, index, code=1)
    assert "401" in said
    assert token not in said
    assert desk.program("get", "person", "--fresh").returncode == 0
    upload(desk, index)


def test_twine_and_a_revoked_grant(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """What to do is said, and twine ends with its own words."""
    desk.log_in(issuer, index)
    assert desk.program("revoke", "person").returncode == 0
    said = upload(desk, index, code=1)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "NonInteractive" in said
    assert "Traceback" not in said


def test_twine_and_another_index(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """Nothing is handed out, and twine has nobody to ask."""
    desk.serve(issuer, index)
    with Index(issuer) as other:
        said = upload(desk, other, code=1)
    assert "brokerctl" not in said
    assert not desk.records("token")


@pytest.mark.slow("poetry takes seconds for each command")
def test_poetry_locks_and_installs(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """The source of a project, with one request to the issuer for all of poetry's calls."""
    desk.log_in(issuer, index)
    desk.let_expire(issuer)
    lock(desk, index)
    lock(desk, index, "install", "--no-root")
    assert os.path.exists(desk.target("poetry.lock"))
    assert index.users() == {"oauth2"}
    assert [one.status for one in index.seen if one.path.endswith(WHEEL)][-1] == 200
    assert issuer.counts()["grants"] == {"refresh_token": 1}


@pytest.mark.slow("poetry takes seconds for each command")
def test_poetry_and_a_revoked_grant(desk: Desk, issuer: DemoIssuer, index: Index) -> None:
    """What to do is said, and poetry ends with its own words."""
    desk.log_in(issuer, index)
    assert desk.program("revoke", "person").returncode == 0
    said = lock(desk, index, code=1)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "Authorization error" in said


@pytest.mark.parametrize("python", long_but(["ours", "client"], "client"))
def test_pip_imports_it(desk: Desk, issuer: DemoIssuer, index: Index, python: str) -> None:
    """Pip, old and new, uses the library where it is in its environment, and needs no option."""
    desk.serve(issuer, index, username='"robot"')
    program = sys.executable if python == "ours" else require_client("python")
    words = ("-m", "pip", "install", "--no-cache-dir", "--no-deps", "--disable-pip-version-check")
    desk.run(program, *words, "--target", desk.target("one"), "--index-url", index.simple, "shop")
    assert index.users() == {"robot"}
    assert issuer.counts()["grants"] == {"client_credentials": 1}
