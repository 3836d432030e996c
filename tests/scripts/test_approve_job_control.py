"""A question at a terminal whose shell has jobs: ^Z, `fg` and `bg` neither answer nor lose it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp.issuer import DemoIssuer
from tests.scripts.approve_room import PROMPT, AskingProgram, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

SHELL = "shell> "
STATE = "code="  # what the shell prints before a job's exit code


class JobShell:
    """An interactive bash at a terminal of its own, in which a `get` is a job."""

    def __init__(self, asking: AskingProgram) -> None:
        self.asking = asking
        words = ("--norc", "--noprofile", "-i")
        path = asking.program.path
        self.terminal = asking.spawn(*words, path="/bin/bash", PS1=SHELL, B=path)
        self.until(SHELL)

    def until(self, text: str) -> str:
        """Wait for a text, and return what was shown before it."""
        self.terminal.child.expect_exact(text)
        return str(self.terminal.child.before)

    def types(self, line: str) -> None:
        """Type a line, its echo included in what is shown."""
        self.terminal.child.sendline(line)

    def get(self) -> None:
        """Ask for the token, and stop the job while the question stands there."""
        self.types('mkdir -p child; "$B" get service >child/token')
        self.terminal.prompt()
        self.terminal.child.sendcontrol("z")
        assert "Stopped" in self.until(SHELL)

    def code(self) -> int:
        """Return the exit code that `fg` showed, when the shell has the terminal again."""
        self.until(f"\n{STATE}")
        return int(self.until(SHELL))

    @property
    def token(self) -> str:
        """What the job has printed."""
        with open(
            os.path.join(self.asking.program.home, "child", "token"), encoding="utf-8"
        ) as file:
            return file.read()


FOREGROUND = f'fg; echo "{STATE}$?"'


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def asking(brokerctl: Program, demo: DemoIssuer) -> AskingProgram:
    """Return a program whose rule asks."""
    demo.reset()
    return AskingProgram(brokerctl, demo)


@pytest.fixture
def shell(asking: AskingProgram) -> Iterator[JobShell]:
    """Return a shell whose job asks, and is stopped."""
    found = JobShell(asking)
    found.get()
    yield found
    found.terminal.child.close(force=True)


@pytest.mark.parametrize(("line", "code"), [("y", 0), ("n", 4), ("", 4)])
def test_the_question_is_shown_again(shell: JobShell, line: str, code: int) -> None:
    """After `fg` it stands there as before, whole, and its answer counts; asked is once."""
    assert shell.token == ""
    shell.types(FOREGROUND)
    assert "a person decides (user)" in shell.until(PROMPT)
    shell.types(line)
    assert shell.code() == code
    assert bool(shell.token) is (code == 0)
    assert len(shell.asking.records("question.asked")) == 1
    (answer,) = shell.asking.records("question.answered")
    assert (answer["outcome"], answer["by"]) == ("no" if code else "yes", "terminal")


@pytest.mark.parametrize("ahead", ["y\n", "y"])
def test_what_was_typed_for_the_shell_is_no_answer(shell: JobShell, ahead: str) -> None:
    """A line behind `fg`, or its beginning, typed while the shell had the terminal, is dropped."""
    shell.terminal.child.send(f"{FOREGROUND}\n{ahead}")
    shell.until(PROMPT)
    assert shell.asking.records("question.answered") == []
    shell.types("")
    assert shell.code() == 4
    assert shell.token == ""


def test_in_the_background_it_reads_nothing(shell: JobShell) -> None:
    """After `bg` the shell gets what is typed, and the question waits for `fg`."""
    shell.types("bg")
    shell.until(SHELL)
    shell.types("y() { echo typed-for-the-shell; }; y")
    assert "\ntyped-for-the-shell" in shell.until(SHELL).replace("\r", "")
    assert shell.asking.records("question.answered") == []
    shell.types(FOREGROUND)
    shell.until(PROMPT)
    shell.types("y")
    assert shell.code() == 0
    assert shell.token


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("no", 4)])
def test_answered_while_it_was_stopped(shell: JobShell, answer: str, code: int) -> None:
    """An answer from another terminal is taken when the job goes on, without another question."""
    elsewhere = shell.asking.spawn("approve", answer, shell.asking.open_question())
    assert elsewhere.end() == 0
    shell.types(FOREGROUND)
    assert "answered elsewhere" in shell.until(f"\n{STATE}")
    assert int(shell.until(SHELL)) == code
    assert bool(shell.token) is (code == 0)


def test_stopped_again_and_ended(shell: JobShell) -> None:
    """^Z is no answer however often; a job that is ended while it is stopped has said no."""
    shell.types(FOREGROUND)
    shell.until(PROMPT)
    shell.terminal.child.sendcontrol("z")
    assert "Stopped" in shell.until(SHELL)
    shell.types("kill %1")
    wait_until(lambda: bool(shell.asking.records("token.denied")))
    assert shell.token == ""
    (answer,) = shell.asking.records("question.answered")
    assert (answer["outcome"], answer["by"]) == ("no", "nobody")


@pytest.mark.slow("a question of four seconds has to end")
def test_stopped_for_longer_than_it_is_open(asking: AskingProgram) -> None:
    """A job that goes on too late is a no, whatever is typed then."""
    asking.rules(approve='wait = "4s"')
    shell = JobShell(asking)
    shell.get()
    asking.open_question()
    shell.types(
        f'until "$B" approve list | grep -q "nobody waits"; do sleep 0.2; done; {FOREGROUND}'
    )
    shell.types("y")
    assert shell.code() == 4
    assert shell.token == ""
    (answer,) = asking.records("question.answered")
    assert answer["reason"] == "nobody has answered within 4s"
    shell.terminal.child.close(force=True)


def test_where_no_shell_has_jobs(asking: AskingProgram) -> None:
    """Nobody could let it go on: ^Z stops nothing, and the question waits for its answer."""
    terminal = asking.get()
    terminal.prompt()
    terminal.child.sendcontrol("z")
    terminal.answer("y")
    assert terminal.end() == 0
