"""What `helper install`, `helper list` and `doctor` show of a tool that asks brokerctl."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.program import require_tool

if TYPE_CHECKING:
    from tests.program import Program

PROFILE = """[profile.work]
issuer = "https://issuer.example.com"
flow = "code"
client_id = "cli"
scopes = ["read"]
hosts = {hosts}
"""
HOSTS = '["https://git.example.com"]'


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return the program with one profile, whose issuer nobody asks."""
    require_tool("git")
    brokerctl.env.update({"BROKERCTL_KEEPER": "file", "GIT_CONFIG_NOSYSTEM": "1"})
    brokerctl.config(PROFILE.format(hosts=HOSTS))
    return brokerctl


def test_a_file_that_comes_and_goes_is_shown_as_such(offline: Program) -> None:
    """The change has /dev/null on the side where there is no file, and no line that is none."""
    path = os.path.join(offline.home, ".gitconfig")
    shown = offline("helper", "install", "git", "--yes").stderr.splitlines()
    assert shown[:3] == ["--- /dev/null", f"+++ {path}", "@@ -0,0 +1,5 @@"]
    assert all(line.startswith("+") for line in shown[3:])
    gone = offline("helper", "uninstall", "git", "--yes").stderr.splitlines()
    assert gone[:3] == [f"--- {path}", "+++ /dev/null", "@@ -1,5 +0,0 @@"]
    assert not os.path.exists(path)


def test_a_url_belongs_to_a_profile_and_not_to_a_tool(offline: Program) -> None:
    """A line of its own says whose a URL is: which tools would ask for it, nobody knows."""
    offline("helper", "install", "git", "--yes")
    url = "https://git.example.com/team"
    lines = offline("helper", "list", "--for", url).stdout.splitlines()
    assert lines[-1] == f"{url}: belongs to 'work'"
    assert sum("'work'" in line for line in lines) == 1


def test_a_tool_that_nobody_knows(offline: Program) -> None:
    """The hint leads to the names that can be said."""
    done = offline("helper", "install", "gti")
    assert done.returncode == 2
    assert "hint: run 'brokerctl helper list'" in done.stderr


def test_a_host_that_came_after_the_set_up(offline: Program) -> None:
    """The doctor sends one to `install`, since there is nothing to remove."""
    offline("helper", "install", "git", "--yes")
    offline.config(PROFILE.format(hosts='["https://git.example.com", "https://new.example.com"]'))
    said = offline("doctor", "--offline").stdout
    assert "does not ask brokerctl for https://new.example.com" in said
    assert "run 'brokerctl helper install git'" in said
    assert "remove it" not in said


def test_a_long_file_of_our_own_is_told_by_its_length(brokerctl: Program) -> None:
    """The two lines that matter stay on the screen, in and out."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        '[profile.p]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://index.example.com"]\n'
    )
    for word, sign in (("install", "+"), ("uninstall", "-")):
        done = brokerctl("helper", word, "keyring", "--yes")
        assert done.returncode == 0, done.stderr
        assert f"{sign}(" in done.stderr
        assert "lines of brokerctl's own)" in done.stderr
        assert f"{sign}default-keyring" in done.stderr
        assert len(done.stderr.splitlines()) < 25
