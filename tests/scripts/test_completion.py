"""TAB in the real shells: profiles, scopes, sessions and more, and never an error or a key."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.program import ROOT, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

CONFIG = """
[profile.workshop]
issuer = "https://issuer.example"
client_id = "app"
flow = "device"
scopes = ["read_packages", "write:items", "$(reboot)"]

[profile.nightly]
issuer = "https://issuer.example"
client_id = "robot"
flow = "client_credentials"
client_auth = "client_secret_basic"
client_secret = { env = "ROBOT" }
scopes = ["deploy_all"]
"""
SESSION = "5e55107a5e55107a5e55107a5e55107a"
RECORD = '{"v":1,"seq":%d,"event":"exec.end","requester":{"uid":0,"session":%s}}\n'
# What is typed, and what TAB makes of it.
LINES = {
    "sta": "status",
    "get works": "get workshop",
    "get workshop --sc": "get workshop --scope",
    "get workshop --scope read": "get workshop --scope read_packages",
    "get nightly --scope dep": "get nightly --scope deploy_all",
    "exec -p nigh": "exec -p nightly",
    "exec --env TOKEN=wor": "exec --env TOKEN=workshop",
    "revoke nig": "revoke nightly",
    "login wor": "login workshop",
    "profile show nig": "profile show nightly",
    "audit log --session 5e": f"audit log --session {SESSION}",
    "audit log --event exec": "audit log --event exec.end",
    "get workshop --format cu": "get workshop --format curl",
}
BASH_SPLITS = {"exec --env TOKEN=wor"}  # at `=`, where bash begins another word


@pytest.fixture
def home(brokerctl: Program) -> Program:
    """Return a program with two profiles and a log, and nothing else: no key, no store."""
    with open(os.path.join(brokerctl.home, "config.toml"), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(CONFIG)
    folder = os.path.join(brokerctl.home, "state", "v1", "audit")
    for path in (os.path.join(brokerctl.home, "state"), os.path.dirname(folder), folder):
        os.mkdir(path, 0o700)
    with open(os.path.join(folder, "log"), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write("torn\n" + RECORD % (1, "null") + RECORD % (2, f'"{SESSION}"'))
    return brokerctl


def kept(program: Program) -> set[str]:
    """Return every file of the home."""
    return {
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.path.join(program.home, "state"))
        for name in names
    }


@pytest.fixture
def typist(request: pytest.FixtureRequest, home: Program) -> Iterator[pexpect.spawn[str]]:
    """Start the shell as a person has it, with our file loaded."""
    shell = request.param
    words = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
    env = {**home.environment(), "PS1": "ready> ", "TERM": "dumb"}
    child = pexpect.spawn(require_tool(shell), words, env=env, cwd=ROOT, encoding="utf-8")
    try:
        child.setwinsize(50, 200)
        if shell == "zsh":
            child.sendline("PS1='ready> '; unsetopt zle_bracketed_paste prompt_sp")
            child.sendline("autoload -U compinit; compinit -D; . completions/_brokerctl")
        else:
            child.sendline("bind 'set enable-bracketed-paste off'; . completions/brokerctl.bash")
        child.sendline("echo load''ed")
        child.expect("loaded")
        child.expect("ready> ")
        yield child
    finally:
        child.close(force=True)


@pytest.mark.slow("starts the whole program once for each press of TAB")
@pytest.mark.parametrize("typist", ["bash", "zsh"], indirect=True)
def test_a_press_of_tab(typist: pexpect.spawn[str], home: Program) -> None:
    """What is typed becomes what is meant, and nothing is made or said."""
    before = kept(home)
    is_bash = "bash" in str(typist.command)
    for typed, expected in LINES.items():
        if is_bash and typed in BASH_SPLITS:
            continue
        typist.send(f"brokerctl {typed}\t")
        typist.expect(re.escape(f"brokerctl {expected}"), timeout=20)
        typist.send("\x15")  # away with the line
    typist.sendline("echo still''here")
    typist.expect("stillhere")
    assert "rror" not in (typist.before or "")
    assert kept(home) == before


def fish(home: Program, typed: str) -> str:
    """Return what fish offers for a line, by its own question."""
    script = f". completions/brokerctl.fish; complete -C 'brokerctl {typed}'"
    done = subprocess.run(
        [require_tool("fish"), "--no-config", "-c", script],
        env=home.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow("starts the whole program twice for each line")
def test_fish(home: Program) -> None:
    """The same lines, and nothing is made or said."""
    before = kept(home)
    for typed, expected in LINES.items():
        assert expected.split()[-1] in fish(home, typed).split(), typed
    assert kept(home) == before


def test_what_a_shell_would_have_to_quote_is_not_offered(home: Program) -> None:
    """Security: zsh evaluates what it is offered, so a scope with a dollar is left out."""
    assert fish(home, "get workshop --scope ").split() == ["read_packages", "write:items"]
    assert fish(home, "exec -p nightly --scope ").split() == ["deploy_all"]
    every = ["deploy_all", "read_packages", "write:items"]
    assert fish(home, "exec --scope ").split() == every


@pytest.mark.parametrize("text", ["nonsense = [", "[profile.x]\nissuer = 3\n", ""])
def test_a_broken_configuration_is_not_told_here(home: Program, text: str) -> None:
    """TAB offers nothing; the command itself will say what is wrong."""
    with open(os.path.join(home.home, "config.toml"), "w", encoding="utf-8") as file:
        file.write(text)
    assert fish(home, "get w") == ""
