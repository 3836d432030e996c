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


def test_a_part_that_stays_is_no_end(offline: Program) -> None:
    """`uninstall` ends 9 where the tool goes on to ask brokerctl, and says where."""
    path = os.path.join(offline.home, ".gitconfig")
    offline("helper", "install", "git", "--yes")
    with open(path, "a", encoding="utf-8") as file:
        file.write("[credential]\n\thelper = brokerctl\n")
    done = offline("helper", "uninstall", "git", "--yes")
    assert (done.returncode, done.stdout) == (9, "")
    said = f"git: uninstalled in part: {path} names brokerctl in lines that are not its own"
    assert f"brokerctl: error: {said}" in done.stderr
    with open(path, "w", encoding="utf-8") as file:
        file.write("")
    assert offline("helper", "uninstall", "git").returncode == 0


def test_contexts_that_lose_their_user_are_named(offline: Program) -> None:
    """Before anything is done, and nobody has to find out from kubectl."""
    path = os.path.join(offline.home, ".kube", "config")
    offline("helper", "install", "kubernetes", "--yes")
    with open(path, "a", encoding="utf-8") as file:
        file.write("contexts:\n- context:\n    user: brokerctl\n  name: dev\n")
    asked = offline("helper", "uninstall", "kubernetes")
    assert asked.returncode == 2
    done = offline("helper", "uninstall", "kubernetes", "--yes")
    for one in (asked, done):
        assert "'brokerctl' is the user of the context 'dev'" in one.stderr
    assert done.returncode == 0
    with open(path, encoding="utf-8") as file:
        assert "user: brokerctl" in file.read()


def test_a_copy_that_stays_is_named(offline: Program) -> None:
    """Where the file was changed since, by `uninstall` and from then on by `list`."""
    path = os.path.join(offline.home, ".gitconfig")
    with open(path, "w", encoding="utf-8") as file:
        file.write("[user]\n")
    offline("helper", "install", "git", "--yes")
    with open(path, "a", encoding="utf-8") as file:
        file.write("[alias]\n\tst = status\n")
    done = offline("helper", "uninstall", "git", "--yes")
    assert f"{path}.before-brokerctl is the file as it was" in done.stderr
    assert f"{path}.before-brokerctl is an old copy" in offline("helper", "list").stdout
