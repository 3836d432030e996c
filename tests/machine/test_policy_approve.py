"""The command that answers questions, named by a real system file: no other file names another."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.config import paths
from brokerctl.config.layers import digest
from tests.machine.room import answers, refused, require_mounts, write_private
from tests.machine.test_policy import DENIED, OPEN, SYSTEM, Rules, rule

if TYPE_CHECKING:
    from pathlib import Path

    from tests.machine.room import Machine
    from tests.program import Result

WRONG = 2
ASK = OPEN + rule("ask", name="careful")


class AnsweredMachine:
    """A machine whose system file asks, and has a command that answers: in a mount namespace."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.rules, self.folder = Rules(machine), folder
        self.machine = machine
        self.system_file = folder / "system.toml"
        self.ours = self.command("system", is_yes=False)
        os.makedirs("/etc/brokerctl", exist_ok=True) if os.geteuid() == 0 else None
        self.write_system(f'[approve]\ncommand = ["{self.ours}"]\n')
        require_mounts(machine, ["env", f"POLICY={self.system_file}", *self.inside, "true"])

    @property
    def inside(self) -> list[str]:
        """What runs the last words where the system's file is ours."""
        return ["unshare", "-m", "sh", "-c", SYSTEM, "sh"]

    def command(self, name: str, *, is_yes: bool, folder: str = ".") -> str:
        """Make a command that answers, and notes in a file of its name that it was asked."""
        path = self.folder / folder / name
        path.parent.mkdir(exist_ok=True)
        decision = json.dumps({"decision": is_yes})
        text = f"#!/bin/sh\necho >>'{self.folder}/{folder}-{name}.asked'\necho '{decision}'\n"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def is_asked(self, name: str, folder: str = ".") -> bool:
        """Return whether a command has been asked since the last time."""
        path = self.folder / f"{folder}-{name}.asked"
        found = path.exists()
        path.unlink(missing_ok=True)
        return found

    def write_system(self, text: str) -> None:
        """Write the system's file."""
        self.system_file.write_text(text + ASK)

    def ways(self, **how: Any) -> list[tuple[str, Result]]:  # noqa: ANN401 - subprocess's own
        """Ask on every way out of a token that is in the store."""
        env = {"POLICY": str(self.system_file), **how.pop("env", {})}
        git = b"protocol=https\nhost=git.example.com\n\n"
        (self.folder / "git").write_bytes(git)
        found = []
        for way, words in (
            ("get", ("get", "person")),
            ("exec", ("exec", "-p", "person", "--", "printenv", "PERSON_TOKEN")),
            ("git", ("helper", "git", "get")),
        ):
            with open(self.folder / "git" if way == "git" else os.devnull, "rb") as stdin:
                run = self.machine.under
                found.append((way, run(self.inside, *words, env=env, stdin=stdin, **how)))
        return found

    def none_gives(self, code: int, words: str = "", **how: Any) -> None:  # noqa: ANN401 - as above
        """On no way a token is handed out."""
        for way, done in self.ways(**how):
            assert self.rules.token not in done.stdout, (way, done)
            if way == "git":
                continue
            refused(done, code)
            assert words in done.stderr, (way, done)


@pytest.fixture
def answered(machine: Machine, tmp_path: Path) -> AnsweredMachine:
    """Return the room; a token is in the store, and the system's command says no."""
    return AnsweredMachine(machine, tmp_path)


def test_a_user_names_no_other_command(answered: AnsweredMachine) -> None:
    """Another command, or the same with other arguments, is refused at its place; neither runs."""
    theirs = answered.command("user", is_yes=True)
    for words in ([theirs], [answered.ours, "--yes"], [theirs, answered.ours]):
        answered.rules.write(f"[approve]\ncommand = {json.dumps(words)}\n{OPEN}{rule('allow')}")
        answered.none_gives(WRONG, "the system's file says which command answers")
        assert not answered.is_asked("user")
        assert not answered.is_asked("system")
    elsewhere = str(answered.folder / "other.toml")
    with open(answered.machine.config) as file:
        write_private(elsewhere, file.read())
    answered.rules.write("")
    answered.none_gives(WRONG, elsewhere, env={"BROKERCTL_CONFIG": elsewhere})
    assert not answered.is_asked("user")


@pytest.mark.parametrize("wait", ["", 'wait = "30s"\n'])
def test_the_system_s_command_answers_for_a_user_too(answered: AnsweredMachine, wait: str) -> None:
    """What a user allows himself, or how long he waits, goes by it; its yes is one for once."""
    answered.rules.write(f"[approve]\n{wait}{OPEN}{rule('allow', name='all')}")
    answered.none_gives(DENIED)
    assert answered.is_asked("system")
    same = f'command = ["{answered.ours}"]\n'
    answered.rules.write(f"[approve]\n{wait}{same}{OPEN}{rule('allow', name='all')}")
    answered.none_gives(DENIED, "the answer was no (command)")
    assert answered.is_asked("system")
    answered.command("system", is_yes=True)
    for way, done in answered.ways():
        assert answered.rules.token in done.stdout, (way, done)
        assert answered.rules.last()["approval"]["by"] == "command"


def test_a_trusted_project_names_no_command(answered: AnsweredMachine) -> None:
    """`trust` refuses it; a list of trust that was written by hand does not make it count."""
    theirs = answered.command("project", is_yes=True)
    answered.rules.write("")
    folder = answered.folder / "clone"
    folder.mkdir(mode=0o700)
    project = folder / paths.PROJECT_FILE
    for text in (f'[approve]\ncommand = ["{theirs}"]\n', '[approve]\nwait = "10m"\n'):
        write_private(str(project), text)
        environ = {"POLICY": str(answered.system_file)}
        words = ("trust", str(folder), "--yes")
        done = answered.machine.under(answered.inside, *words, env=environ)
        refused(done, WRONG)
        assert "a project file can't set approve" in done.stderr
        pinned = {"trusted": {str(folder): digest(text.encode())}}
        trust_file = paths.trust_file(answered.machine.program.environment())
        write_private(trust_file, json.dumps(pinned))
        answered.none_gives(WRONG, "a project file can't set approve", cwd=str(folder))
        assert not answered.is_asked("project")
        os.unlink(trust_file)


def test_a_path_finds_no_other_command(answered: AnsweredMachine) -> None:
    """The system's command is an absolute path: else a PATH would choose who answers."""
    name = "brokerctl-answers"
    theirs = os.path.dirname(answered.command(name, is_yes=True, folder="bin"))
    path = f"{theirs}:{answered.machine.program.environment()['PATH']}"
    answered.rules.write("")
    answered.write_system(f'[approve]\ncommand = ["{name}"]\n')
    answered.none_gives(WRONG, "must be an absolute path", env={"PATH": path})
    assert not answered.is_asked(name, "bin")
    answered.write_system("")
    user = f'[approve]\ncommand = ["{name}"]\n{OPEN}{rule("allow", name="all")}'
    answered.rules.write(user)  # one's own command, one's own PATH
    for _, done in answered.ways(env={"PATH": path}):
        assert answered.rules.token in done.stdout, done
    answers(answered.machine("get", "person"), answered.rules.token)
