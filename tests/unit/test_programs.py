"""What each program that we start gets of our environment: one table, held for every row."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.references import resolve
from brokerctl.effects.browser import open_browser
from brokerctl.model import WITHIN, Reference
from brokerctl.platform.commands import GIT_LOCAL, NO_KEYRING, PROGRAMS, environ_for
from tests.program import require_tool

if TYPE_CHECKING:
    from pathlib import Path

REPOSITORY = dict.fromkeys(sorted(GIT_LOCAL), "/users/own/.git") | {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "http.sslVerify",
    "GIT_CONFIG_VALUE_0": "false",
}
OWN = {
    "BROKERCTL_KEY": "k",
    "BROKERCTL_KEY_FILE": "f",
    "BROKERCTL_PASSPHRASE": "p",
    "BROKERCTL_PASSPHRASE_FILE": "f",
}
DESKTOP = {
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus",
    "DISPLAY": ":0",
    "HOME": "/home/u",
    "LC_ALL": "C",
    "PATH": "/usr/bin:/bin",
    "XDG_RUNTIME_DIR": "/run/user/1",
}
PLAIN = {
    "BROKERCTL_HOME": "/h",
    "EDITOR": "vi",
    "GIT_ASKPASS": "/a",
    "GIT_SSH": "ssh",
    "GRPC_TRACE": "all",
    "SPIFFE_ENDPOINT_SOCKET": "unix:///run/other",
}
LIBRARY = {"KEYRING_PROPERTY_X": "y", "PYTHON_KEYRING_BACKEND": "evil.Backend"}
HIDDEN = {"CI_SECRET": "another profile's"}
ALL = REPOSITORY | OWN | DESKTOP | PLAIN | LIBRARY | HIDDEN
KEPT = {
    "browser": DESKTOP | PLAIN | LIBRARY,
    "brokerctl": REPOSITORY | OWN | DESKTOP | PLAIN | LIBRARY,
    "git": REPOSITORY | DESKTOP | PLAIN | LIBRARY,
    "git_anywhere": DESKTOP | PLAIN | LIBRARY,
    "keyring": DESKTOP,
    "identity": DESKTOP | PLAIN | LIBRARY | {NO_KEYRING: "1", WITHIN: "outer,p"},
    "approve": DESKTOP | PLAIN | LIBRARY | {NO_KEYRING: "1", WITHIN: "outer,p"},
    "secret": DESKTOP | PLAIN | LIBRARY | {NO_KEYRING: "1", WITHIN: "outer,p"},
    "workload_api": {name: DESKTOP[name] for name in ("LC_ALL", "PATH")},
}


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_each_row(program: str) -> None:
    """Security: git's repository, our keys and others' secrets reach only who has a use for it."""
    within = ("outer", "p") if program in {"approve", "identity", "secret"} else ()
    assert environ_for(program, ALL, hidden=HIDDEN, within=within) == KEPT[program]


def test_git_knows_no_other_local_variable() -> None:
    """Our list has all that the installed git says are of one repository."""
    git = require_tool("git")
    done = subprocess.run(
        [git, "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True
    )
    assert GIT_LOCAL.issuperset(done.stdout.split())


def test_a_command_in_a_repository_sees_its_own(tmp_path: Path) -> None:
    """A password store kept in git reads its own repository, whatever `git clone` runs us."""
    git = require_tool("git")
    for name, text in (("users", "the user's code"), ("store", "hunter2")):
        words = [git, "-C", str(tmp_path), "init", "-q", name]
        subprocess.run(words, check=True, capture_output=True)
        me = ("-c", "user.name=n", "-c", "user.email=e@example.com")
        words = [git, "-C", str(tmp_path / name), *me, "commit", "-q", "--allow-empty", "-m", text]
        subprocess.run(words, check=True)
    reference = Reference(
        kind="command", target=("git", "-C", str(tmp_path / "store"), "log", "--format=%s")
    )
    users = str(tmp_path / "users")
    environ = {**os.environ, "GIT_DIR": f"{users}/.git", "GIT_WORK_TREE": users}
    assert resolve(reference, environ, lambda _: None).reveal() == "hunter2"


def test_a_browser_gets_its_row(tmp_path: Path) -> None:
    """The browser that is started has what the table says, and what a shell adds of its own."""
    out = tmp_path / "out"
    script = tmp_path / "browser"
    script.write_text(f"#!/bin/sh\nenv > {out}.new && mv {out}.new {out}\n")
    script.chmod(0o700)
    environ = REPOSITORY | OWN | DESKTOP | PLAIN | LIBRARY | {"BROWSER": str(script)}
    assert open_browser("https://x.example/", environ, has_terminal=False)
    while not out.exists():
        time.sleep(0.01)  # pytest's own limit ends it
    found = {line.partition("=")[0] for line in out.read_text().splitlines()}
    assert found - {"BROWSER", "PWD", "OLDPWD", "SHLVL", "_"} == set(KEPT["browser"])
