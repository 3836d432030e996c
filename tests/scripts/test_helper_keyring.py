"""The keyring's helper as a process: one outcome each time, no wait, no prompt, no traceback."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.program import Program

TWO = """
[profile.work]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://pypi.example.com"]
username = "alice-work"

[profile.home]
issuer = "https://issuer.example"
client_id = "app2"
flow = "code"
hosts = ["https://pypi.example.com", "https://pypi.example.com/open", "http://localhost:8080"]
username = "alice-home"
"""
HOST = "https://pypi.example.com"


@pytest.fixture
def two(brokerctl: Program) -> Program:
    """Return a program with two accounts at one host, nobody logged in."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(TWO)
    assert brokerctl("status").returncode == 0
    return brokerctl


def ask(program: Program, *words: str) -> tuple[int, str, str]:
    """Ask the helper."""
    return program("helper", "keyring", *words)


@pytest.mark.parametrize(
    "service",
    [
        "https://pypi.example.com./simple",
        "https://pypi.example.com.evil.example/",
        "https://evil.example/https://pypi.example.com/",
        "https://evil.example\\@pypi.example.com/",
        "https://pypi.example.com@evil.example/",
        "https://pypi.example.com:443@evil.example/",
        "https://alice-work:x@pypi.example.com/",
        "https://pypi.example.com%2f@evil.example/",
        "https://pyp\u0131.example.com/",
        "http://pypi.example.com/",
        "ftp://pypi.example.com/",
        "HTTPS:pypi.example.com",
        "//pypi.example.com/",
        "pypi.example.com",
        "pypi.example.com:8443",
        "sub.pypi.example.com",
        "https://[::1]/",
        "work",
        "",
        "-",
    ],
)
def test_another_spelling_is_not_ours(two: Program, service: str) -> None:
    """Security: exit code 1 and silence for whatever is not the very host."""
    words = ("--mode=creds", "--output=json", "get", "--", service, "alice-work")
    assert ask(two, *words) == (1, "", "")


@pytest.mark.parametrize(
    ("words", "profile"),
    [
        (("get", f"{HOST}/simple", "alice-work"), "work"),
        (("get", f"{HOST}:443/simple", "alice-home", "--mode", "creds"), "home"),
        (("--mode=creds", "get", f"{HOST}/open/simple"), "home"),
        (("--mode=creds", "get", "https://alice-work@PYPI.example.com/"), "work"),
        (("get", "localhost:8080", "oauth2"), "home"),
        (("get", f"{HOST}/open/simple", "__token__"), "home"),
    ],
)
def test_a_user_or_a_path_chooses(two: Program, words: tuple[str, ...], profile: str) -> None:
    """Who has to log in is the one that was meant, and nothing is on stdout."""
    code, stdout, stderr = ask(two, *words)
    assert (code, stdout) == (1, "")
    assert stderr == (
        f"brokerctl: error: no grant for '{profile}'\n"
        f"brokerctl: hint: run 'brokerctl login {profile}'\n"
    )


@pytest.mark.parametrize("username", ["oauth2", "__token__", ""])
def test_two_accounts_of_one_host_are_never_either(two: Program, username: str) -> None:
    """A name that is nobody's does not choose: the tie names both."""
    code, stdout, stderr = ask(two, "get", f"{HOST}/simple", username)
    assert (code, stdout) == (1, "")
    assert "'home' and 'work'" in stderr


def test_a_stranger_s_name_is_nobody_s(two: Program) -> None:
    """Security: another user of the host does not get alice's token, and a person hears why."""
    code, stdout, stderr = ask(two, "get", f"{HOST}/simple", "bob")
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert "the URL names bob" in stderr


def test_what_no_tool_says(two: Program) -> None:
    """Exit code 2, one line without what was said, and nothing on stdout."""
    for words in ((), ("get",), ("get", "a.example", "--mode=hunter2"), ("--hunter2",)):
        code, stdout, stderr = ask(two, *words)
        assert (code, stdout) == (2, "")
        assert stderr.startswith("brokerctl: note: not a request of keyring: ")
        assert stderr.count("\n") == 1
        assert "hunter2" not in stderr


def test_a_hostile_working_folder(two: Program) -> None:
    """Tools run in whatever was cloned: an untrusted project file changes nothing."""
    folder = os.path.join(two.home, "clone")
    os.mkdir(folder)
    with open(os.path.join(folder, ".brokerctl.toml"), "w", encoding="utf-8") as file:
        file.write('[profile.work]\nhosts = ["https://evil.example"]\n')
    words = ("helper", "keyring", "get", "https://evil.example/", "alice-work")
    assert two(*words, cwd=folder) == (1, "", "")


def test_no_streams_and_odd_bytes(two: Program) -> None:
    """Closed streams and words that are no text end as everything else."""
    line = 'exec "$0" helper keyring get "$1" alice-work <&- 2>&-'
    words = [b"sh", b"-c", line.encode(), two.path.encode(), b"https://pypi\xff.example.com/"]
    done = subprocess.run(
        words, env=two.environment(), capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")
