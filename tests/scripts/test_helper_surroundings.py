"""What lies around a set-up: pipes in place of files, a `git` in the folder, odd helpers."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool

if TYPE_CHECKING:
    from tests.program import Program

PROFILE = """
[profile.forge]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://git.example.com"]
"""
WAIT_S = 30.0
FILES = (".npmrc", ".gitconfig", ".netrc", ".aws/credentials", ".cargo/config.toml", ".vault")


@pytest.fixture
def installed(brokerctl: Program) -> Program:
    """Return a program with a profile, and git set up for it."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(PROFILE)
    assert brokerctl("helper", "install", "git", "--yes").returncode == 0
    return brokerctl


@pytest.mark.parametrize(
    "words", [("helper", "list"), ("doctor", "--offline"), ("helper", "uninstall", "pnpm", "--yes")]
)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(
    installed: Program, words: tuple[str, ...]
) -> None:
    """Nobody writes into it, so that whoever opens it to read would wait for ever."""
    for name in FILES:
        path = os.path.join(installed.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            os.mkfifo(path)
    done = installed(*words, timeout_s=WAIT_S)
    assert done.returncode == 0, done.stderr


def test_a_git_in_the_working_folder_is_not_run(installed: Program) -> None:
    """Security: with a `.` in PATH, doctor in a cloned repository runs none of its files."""
    folder = os.path.join(installed.home, "clone")
    os.mkdir(folder)
    path = os.path.join(folder, "git")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o755), "w") as file:
        file.write("#!/bin/sh\ntouch owned\n")
    for first in (".", "", "bin/.."):
        search = f"{first}:{installed.environment()['PATH']}"
        assert installed("doctor", "--offline", cwd=folder, env={"PATH": search}).returncode == 0
    assert os.listdir(folder) == ["git"]


@pytest.mark.parametrize(
    ("helper", "said"), [('" "', "git: asks '' first"), ("!TOKEN=hunter2 f", "asks '!TOKEN' first")]
)
def test_a_repository_s_odd_helper_is_named_without_its_values(
    installed: Program, helper: str, said: str
) -> None:
    """Doctor has no traceback for a helper of white space, and shows no variable's value."""
    git = require_tool("git")
    folder = os.path.join(installed.home, "clone")
    subprocess.run([git, "init", "-q", folder], env=installed.environment(), check=True)
    with open(os.path.join(folder, ".git", "config"), "a", encoding="utf-8") as file:
        file.write(f"[credential]\n\thelper =\n\thelper = {helper}\n")
    done = installed("doctor", "--offline", cwd=folder)
    assert said in done.stdout, done.stderr
    assert "hunter2" not in done.stdout + done.stderr


SECOND = """
[profile.other]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://other.example.com"]
"""


@pytest.mark.parametrize("tool", ["goauth", "keyring", "pip", "terraform", "uv", "vault"])
def test_what_asks_for_all_hosts_says_so(installed: Program, tool: str) -> None:
    """Where a profile was chosen, what is written is the same, and the person is told."""
    installed.config(PROFILE + SECOND)
    assert installed("helper", "install", tool, "--yes").returncode == 0
    done = installed("helper", "install", tool, "-p", "forge")
    assert done.stdout.startswith(f"{tool}: installed already")
    assert f"{tool} asks for the hosts of every profile" in done.stderr


def test_what_asks_for_some_hosts_is_narrowed(installed: Program) -> None:
    """Nothing is said where a chosen profile is the only one from then on."""
    installed.config(PROFILE + SECOND)
    done = installed("helper", "install", "git", "-p", "other", "--yes")
    assert "every profile" not in done.stderr
    with open(os.path.join(installed.home, ".gitconfig"), encoding="utf-8") as file:
        text = file.read()
    assert "https://other.example.com" in text
    assert "https://git.example.com" not in text


def test_a_file_that_can_not_be_read_is_one_tool_s_fault(installed: Program) -> None:
    """The others are shown as ever, by list and by doctor."""
    path = os.path.join(installed.home, ".terraformrc")
    os.mkdir(path)
    done = installed("helper", "list")
    assert done.returncode == 0, done.stderr
    assert f"terraform: can't read {path}: is a directory; run" in done.stdout
    assert "git: installed" in done.stdout
    said = installed("doctor", "--offline").stdout
    assert f"terraform: can't read {path}" in said
    assert "git: asks brokerctl" in said


def test_a_host_of_two_profiles_is_told_of(installed: Program) -> None:
    """A tool that names no user gets nothing for it, which the set-up alone does not show."""
    twice = SECOND.replace("other.example.com", "git.example.com")
    installed.config(PROFILE + twice)
    said = installed("doctor", "--offline").stdout
    assert "https://git.example.com belongs to 'forge' and 'other'" in said
    installed.config(PROFILE + twice + 'username = "bob"\n')
    assert "belongs to" not in installed("doctor", "--offline").stdout


@pytest.mark.parametrize("tool", ["git", "docker", "pip", "kubernetes", "vault"])
def test_without_a_profile_the_next_command_is_named(brokerctl: Program, tool: str) -> None:
    """The first thing that a newcomer tries says how to go on."""
    done = brokerctl("helper", "install", tool, "--yes")
    assert done.returncode == 2
    assert "hint: run 'brokerctl profile add NAME'" in done.stderr
    brokerctl.config(PROFILE.replace('hosts = ["https://git.example.com"]', ""))
    if tool in {"git", "pip", "vault"}:
        said = brokerctl("helper", "install", tool, "--yes").stderr
        assert "--set hosts=https://HOST" in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to any group")
def test_a_file_stays_its_group_s(brokerctl: Program) -> None:
    """Security: what one group could read is not another's, and the copy is its owner's alone."""
    brokerctl.config(PROFILE)
    path = os.path.join(brokerctl.home, ".gitconfig")
    with open(path, "w", encoding="utf-8") as file:
        file.write("[user]\n\tname = Alice\n")
    os.chown(path, -1, 60)
    os.chmod(path, 0o640)
    assert brokerctl("helper", "install", "git", "--yes").returncode == 0
    found, copy = os.stat(path), os.stat(f"{path}.before-brokerctl")
    assert (found.st_gid, found.st_mode & 0o777, copy.st_mode & 0o777) == (60, 0o640, 0o600)
