"""Doctor says who answers before brokerctl, as the real git does."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool

if TYPE_CHECKING:
    from tests.program import Program

HOST = "https://git.example.com"
OURS = f'[credential "{HOST}"]\n\thelper =\n\thelper = OUR\n'
LOUD = "!f() { echo asked-SOMEBODY >&2; }; f"
GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
PROFILE = f"""
[profile.forge]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["{HOST}"]
"""

# What stands before and after our part of git's configuration.
FILES = {
    "ours alone": ("", ""),
    "another before, which ours ends": ("[credential]\n\thelper = SOMEBODY\n", ""),
    "another after": ("", "[credential]\n\thelper = SOMEBODY\n"),
    "another after, for the same host": ("", f'[credential "{HOST}"]\n\thelper = SOMEBODY\n'),
    "ended after": ("", f'[credential "{HOST}"]\n\thelper =\n\thelper = SOMEBODY\n'),
    "another for another host": ("", '[credential "https://x.example"]\n\thelper = SOMEBODY\n'),
    "another for all hosts there": ("", '[credential "https://*.example.com"]\n\thelper =\n'),
}


@pytest.fixture
def installed(brokerctl: Program) -> Program:
    """Return a program with a profile, and git set up for it."""
    require_tool("git")
    brokerctl.env.update({"BROKERCTL_KEEPER": "file", **GIT})
    brokerctl.config(PROFILE)
    assert brokerctl("helper", "install", "git", "--yes").returncode == 0
    return brokerctl


def doctor(program: Program) -> str:
    """Return what doctor says of git."""
    said = program("doctor", "--offline").stdout
    return "\n".join(line for line in said.splitlines() if "git:" in line)


@pytest.mark.parametrize("name", FILES)
def test_who_is_asked_first(installed: Program, name: str) -> None:
    """What doctor says and whom git asks first are the same."""
    before, after = (text.replace("SOMEBODY", f'"{LOUD}"') for text in FILES[name])
    path = os.path.join(installed.home, ".gitconfig")
    with open(path, encoding="utf-8") as file:
        ours = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + ours + after)
    done = subprocess.run(
        ["git", "credential", "fill"],
        input="protocol=https\nhost=git.example.com\n\n",
        env=installed.environment(),
        cwd=installed.home,
        capture_output=True,
        text=True,
        check=False,
    )
    first = done.stderr.splitlines()[0]
    assert ("asks brokerctl" in doctor(installed)) is first.startswith("brokerctl: error: no grant")
    assert ("asked-SOMEBODY" in first) is ("git: asks '!f()' first" in doctor(installed))


def test_a_netrc_is_read_before(installed: Program) -> None:
    """Git gives it to the server before it asks a helper; what it holds is not shown."""
    path = os.path.join(installed.home, ".netrc")
    with open(path, "w", encoding="utf-8") as file:
        file.write("machine git.example.com login a password s3cret\n")
    os.chmod(path, 0o600)
    said = doctor(installed)
    assert "~/.netrc has git.example.com" in said
    assert "s3cret" not in said


def test_a_program_that_is_gone(installed: Program) -> None:
    """A set-up of another installation, as after a move, is said with what mends it."""
    path = os.path.join(installed.home, ".gitconfig")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(os.path.dirname(installed.path), "/opt/gone/bin"))
    assert "it runs the brokerctl of another installation" in doctor(installed)
    assert "run 'brokerctl helper install git'" in installed("helper", "list").stdout
    assert installed("helper", "install", "git", "--yes").returncode == 0
    assert "asks brokerctl" in doctor(installed)
