"""While a policy is broken nothing is handed out, by no way; mended, all is as it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.layers import digest
from tests.unit import broken_policies as broken

if TYPE_CHECKING:
    from tests.program import Program

CONFIG = """[keys]
keeper = "file"

[helpers]
keep = ["git"]

[profile.work]
issuer = "http://127.0.0.1:9"
flow = "code"
client_id = "c"
hosts = ["https://git.example"]
"""
PASSWORD = "hunter2-of-alice"
BROKEN = {
    "unknown key": broken.HEAD + broken.ALLOW + 'maxttl = "5m"\n',
    "no default": broken.RULE.format("r", "allow"),
    "wrong value": broken.HEAD + broken.ALLOW + 'when = { time = "8-18" }\n',
    "uses uncounted": broken.HEAD + broken.ALLOW + "uses = 3\n",
    "no TOML": broken.HEAD + "effect = \n",
    "a rule of a later version": broken.HEAD + broken.ALLOW + 'when = { weather = "rain" }\n',
}


def ask(program: Program, word: str, host: str, more: str = "") -> tuple[int, str]:
    """Return exit code and stdout of git's helper."""
    asked = f"protocol=https\nhost={host}\n{more}\n"
    done = program("helper", "git", word, stdin=asked)
    return done.returncode, done.stdout


@pytest.mark.parametrize("label", ["user", "project"])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_policy_hands_out_nothing(brokerctl: Program, fault: str, label: str) -> None:
    """`get`, `exec` and `login` are 2, and no child is run; helpers show no secret."""
    kept = f"username=alice\npassword={PASSWORD}\n"
    path = brokerctl.config(CONFIG)
    ask(brokerctl, "store", "other.example", kept)
    assert ask(brokerctl, "get", "other.example") == (0, kept)
    if label == "user":
        brokerctl.config(CONFIG + BROKEN[fault])
    else:
        path = os.path.join(brokerctl.home, ".brokerctl.toml")
        trust(brokerctl, path, BROKEN[fault])
    marker = os.path.join(brokerctl.home, "child")
    for words in (
        ("get", "work"),
        ("login", "work"),
        ("exec", "-p", "work", "--", "touch", marker),
    ):
        done = brokerctl(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"error: {path}:" in done.stderr
    assert not os.path.exists(marker)
    for host in ("git.example", "other.example"):
        code, stdout = ask(brokerctl, "get", host)
        assert stdout in {"", "quit=1\n"}, (code, stdout)
    assert f"{path}:" in brokerctl("doctor", "--offline").stdout
    if label == "project":
        os.unlink(path)
    brokerctl.config(CONFIG)
    assert ask(brokerctl, "get", "other.example") == (0, kept)


def trust(program: Program, path: str, text: str) -> None:
    """Pin a project's file, though `trust` would not take it: as one of a newer brokerctl's."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("\n")
    assert program("trust", program.home, "--yes").returncode == 0
    pinned = os.path.join(program.home, "state", "v1", "trust")
    with open(pinned, encoding="utf-8") as file:
        trusted = file.read()
    with open(pinned, "w", encoding="utf-8") as file:
        file.write(trusted.replace(digest(b"\n"), digest(text.encode())))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
