"""What docker and cargo store, kept where the configuration says so: for its place, recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.program import Program, Result

KEEP = '[helpers]\nkeep = ["docker", "cargo"]\n'
PROFILE = """
[profile.work]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://ours.example.com", "https://index.docker.io", "https://crates.example.com/index"]
"""
PASSWORD = "hunter2-of-alice"
NOT_FOUND = "credentials not found in native keychain\n"


@pytest.fixture
def keeping(brokerctl: Program) -> Program:
    """Return a program that keeps what docker and cargo store."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP + PROFILE)
    return brokerctl


def store(program: Program, server: str, username: str = "alice", secret: str = PASSWORD) -> Result:
    """Store as docker does."""
    offer = {"ServerURL": server, "Username": username, "Secret": secret}
    return program("helper", "docker", "store", stdin=json.dumps(offer))


def docker(program: Program, word: str, server: str = "unused") -> Result:
    """Run another operation of docker's helper."""
    return program("helper", "docker", word, stdin=server)


def cargo(program: Program, kind: str, index: str, **more: object) -> Any:  # noqa: ANN401 - JSON has any type
    """Say one thing as cargo does and return the answer."""
    line = {"v": 1, "registry": {"index-url": index}, "kind": kind, "args": [], **more}
    done = program("helper", "cargo", "--cargo-plugin", stdin=json.dumps(line) + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    hello, answer = done.stdout.splitlines()
    assert hello == '{"v":[1]}'
    return json.loads(answer)


def records(program: Program) -> list[str]:
    """Return the events of what is kept, in order."""
    lines = program("audit", "log", "--event", "credential", "--json").stdout.splitlines()
    assert not [line for line in lines if PASSWORD in line]
    return [json.loads(line)["event"].removeprefix("credential.") for line in lines]


@pytest.mark.parametrize("username", ["alice", "<token>"])
@pytest.mark.parametrize("server", ["registry.example.com", "https://registry.example.com:5000"])
def test_what_docker_stores_comes_back(keeping: Program, server: str, username: str) -> None:
    """An identity token too; `list` names it, `erase` ends it, and all of it is in the record."""
    assert store(keeping, server, username) == (0, "", "")
    found = docker(keeping, "get", server)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {"Username": username, "Secret": PASSWORD}
    listed = json.loads(docker(keeping, "list").stdout)
    assert listed == {server.removeprefix("https://"): username}
    assert docker(keeping, "erase", server) == (0, "", "")
    assert docker(keeping, "get", server)[:2] == (1, NOT_FOUND)
    assert docker(keeping, "list").stdout == "{}\n"
    assert records(keeping) == ["kept", "handed_out", "dropped"]


def test_list_does_not_name_what_a_profile_has_taken_over(keeping: Program) -> None:
    """A host of a profile is the profile's: what was kept for it before is answered to nobody."""
    assert store(keeping, "registry.example.com") == (0, "", "")
    taken = PROFILE.replace("ours.example.com", "registry.example.com")
    keeping.config(KEEP + taken)
    assert docker(keeping, "get", "registry.example.com")[:2] == (1, NOT_FOUND)
    assert docker(keeping, "list").stdout == "{}\n"


@pytest.mark.parametrize(
    "other",
    [
        "registry.example.com:8443",
        "http://registry.example.com",
        "registry.example.com/team",
        "sub.registry.example.com",
        "registry.example.com.",
        "registry.example.org",
    ],
)
def test_it_goes_back_to_no_other_place(keeping: Program, other: str) -> None:
    """Security: not to another port, scheme, path or name."""
    store(keeping, "registry.example.com")
    assert docker(keeping, "get", other)[:2] == (1, NOT_FOUND)


def test_a_profile_s_registry_is_the_profile_s(keeping: Program) -> None:
    """Nothing is kept for it, whoever the user is: it would never be answered."""
    done = store(keeping, "ours.example.com", "bob")
    assert done.returncode == 1
    assert "keeps no credentials" in done.stdout
    assert not records(keeping)


def test_docker_s_own_login_to_hub_is_no_profile_s(keeping: Program) -> None:
    """Its keys lie below Hub's host: they are kept, and a profile's token never goes there."""
    for name in ("access-token", "refresh-token"):
        key = f"https://index.docker.io/v1/{name}"
        assert docker(keeping, "get", key)[:2] == (1, NOT_FOUND)
        assert store(keeping, key, "<token>", f"{PASSWORD}-{name}") == (0, "", "")
        assert json.loads(docker(keeping, "get", key).stdout)["Secret"] == f"{PASSWORD}-{name}"


def test_cargo_s_token_comes_back_as_it_was(keeping: Program) -> None:
    """For its index alone; `logout` ends it."""
    index = "sparse+https://crates.example.org/index/"
    assert cargo(keeping, "login", index, token=PASSWORD) == {"Ok": {"kind": "login"}}
    found = cargo(keeping, "get", index, operation="read")["Ok"]
    assert (found["token"], found["cache"]) == (PASSWORD, "session")
    missing = {"Err": {"kind": "not-found"}}
    assert cargo(keeping, "get", index + "deeper/", operation="read") == missing
    assert (
        cargo(keeping, "get", "sparse+http://crates.example.org/index/", operation="read")
        == missing
    )
    assert cargo(keeping, "logout", index) == {"Ok": {"kind": "logout"}}
    assert cargo(keeping, "get", index, operation="read") == missing
    assert records(keeping) == ["kept", "handed_out", "dropped"]


def test_what_cargo_s_next_provider_is_for_is_passed_on(keeping: Program) -> None:
    """Without `keep`, and where no token is given: cargo's own file has it, and loses it."""
    index = "sparse+https://crates.example.org/index/"
    missing = {"Err": {"kind": "not-found"}}
    assert cargo(keeping, "login", index) == missing
    assert cargo(keeping, "logout", index) == missing
    keeping.config(PROFILE)
    assert cargo(keeping, "login", index, token=PASSWORD) == missing
    assert cargo(keeping, "logout", index) == missing
    assert not records(keeping)


def test_a_login_to_a_profile_s_index_says_what_to_do(keeping: Program) -> None:
    """A token of cargo's own would never be answered there."""
    index = "sparse+https://crates.example.com/index/"
    error = cargo(keeping, "login", index, token=PASSWORD)["Err"]
    assert error["kind"] == "other"
    assert "brokerctl login" in error["message"]


def test_without_keep_docker_is_told(keeping: Program) -> None:
    """Who was told that a password is stored would rely on it."""
    keeping.config(PROFILE)
    done = store(keeping, "registry.example.com")
    assert done.returncode == 1
    assert PASSWORD not in done.stdout + done.stderr
    assert docker(keeping, "get", "registry.example.com")[:2] == (1, NOT_FOUND)
