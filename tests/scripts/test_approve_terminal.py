"""Questions at a terminal: what is shown, what an answer allows, and what the record says of it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import unicodedata
from typing import TYPE_CHECKING

import pytest

from tests.idp.issuer import DemoIssuer
from tests.scripts.approve_room import PROMPT, AskingProgram, lines_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program


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


def test_yes_is_for_once(asking: AskingProgram) -> None:
    """A yes hands out one token, which its record says; the next request asks again."""
    terminal = asking.get("--purpose", "release 7")
    asked = terminal.prompt()
    for text in ("requester", "service", "read", "https://api.example", "release 7"):
        assert text in asked
    assert "a person decides (user)" in asked
    terminal.answer("y")
    assert terminal.end() == 0
    (handed_out,) = asking.records("token.handed_out")
    assert handed_out["decision"]["effect"] == "ask"
    assert handed_out["decision"]["approval"]["by"] == "terminal"
    question, answer = asking.records("question.asked", "question.answered")
    assert question["question"] == answer["question"]
    assert (answer["outcome"], answer["by"], answer["lease"]) == ("yes", "terminal", None)
    again = asking.get("--purpose", "release 7")
    again.prompt()
    again.answer("")
    assert again.end() == 4


@pytest.mark.parametrize("line", ["", "n", "no", "N"])
def test_no_is_the_default(asking: AskingProgram, line: str) -> None:
    """An empty line and a no are refusals: exit 4, no token, no request to the issuer, recorded."""
    terminal = asking.get()
    terminal.prompt()
    terminal.answer(line)
    assert terminal.end() == 4
    assert "the answer was no" in terminal.shown
    (denied,) = asking.records("token.denied", "token.handed_out")
    assert denied["event"] == "token.denied"
    assert denied["decision"]["effect"] == "ask"
    (answer,) = asking.records("question.answered")
    assert answer["outcome"] == "no"


def test_what_is_unclear_is_asked_again(asking: AskingProgram) -> None:
    """Three answers that are none end in a no."""
    terminal = asking.get()
    for line in ("perhaps", "15x", "y y"):
        terminal.prompt()
        terminal.answer(line)
    assert terminal.end() == 4
    assert "no clear answer" in terminal.shown


def test_a_lease_holds_for_its_uses(asking: AskingProgram) -> None:
    """A lease of three uses gives three tokens without a question, also without a terminal."""
    terminal = asking.spawn(
        *("-c", 'for n in 1 2 3 4; do "$B" get service; echo "= $?"; done'),
        path="/bin/sh",
        B=asking.program.path,
    )
    terminal.prompt()
    terminal.answer("15m 3")
    terminal.prompt()
    terminal.answer("n")
    terminal.end()
    ends = [line[2] for line in lines_of(terminal.shown) if line.startswith("= ")]
    assert ends == ["0", "0", "0", "4"]
    by = [one["decision"]["approval"]["by"] for one in asking.records("token.handed_out")]
    assert by == ["lease", "lease", "lease"]
    (given,) = asking.records("lease.given")
    assert given["uses"] == 3
    (ended,) = asking.records("lease.ended")
    assert (ended["lease"], ended["reason"]) == (given["lease"], "used up")


def test_a_lease_is_its_requester_s(asking: AskingProgram) -> None:
    """Another program that asks the same is another question."""
    terminal = asking.get()
    terminal.prompt()
    terminal.answer("15m")
    assert terminal.end() == 0
    again = asking.get()
    assert again.end() == 0
    other = asking.spawn("-c", '"$B" get service; exit $?', path="/bin/sh", B=asking.program.path)
    other.prompt()
    other.answer("n")
    assert other.end() == 4


def test_interrupted_is_no(asking: AskingProgram) -> None:
    """^C at the question is 130, and in the record a refusal."""
    terminal = asking.get()
    terminal.prompt()
    terminal.child.sendintr()
    assert terminal.end() == 130
    assert [one["event"] for one in asking.records("token.denied", "question.answered")] == [
        "question.answered",
        "token.denied",
    ]


def test_hang_up_is_no(asking: AskingProgram) -> None:
    """A terminal that goes away has not said yes: no token, the refusal is recorded."""
    terminal = asking.get()
    terminal.prompt()
    terminal.child.kill(signal.SIGHUP)
    assert terminal.end() == 4
    terminal = asking.get()
    terminal.prompt()
    os.close(terminal.child.child_fd)
    wait_until(lambda: len(asking.records("question.answered")) == 2)
    answers = asking.records("question.answered")
    assert {(one["outcome"], one["by"]) for one in answers} == {("no", "nobody")}
    assert asking.records("token.handed_out") == []


def test_many_at_once_make_one_question(asking: AskingProgram) -> None:
    """32 that ask the same at the same time show one question, and share its answer."""
    each = '"$B" get service >child-token.$n 2>error.$n &'
    script = f"for n in $(seq 32); do {each} done; wait; echo all"
    terminal = asking.spawn("-c", script, path="/bin/bash", B=asking.program.path)
    terminal.prompt()
    wait_until(lambda: asking.waiting() >= 32)
    terminal.answer("y")
    assert terminal.end() == 0
    assert PROMPT not in terminal.shown.partition(PROMPT)[2]
    assert len(asking.records("question.asked")) == 1
    assert len(asking.records("token.handed_out")) == 32


def test_no_terminal_no_token(asking: AskingProgram) -> None:
    """Where nobody is, exit 4 says what would have been asked; the same at a terminal in CI."""
    done = asking.program("get", "service")
    assert done.returncode == 4
    assert "nobody can be asked here" in done.stderr
    assert "would have been asked: may" in done.stderr
    terminal = asking.spawn("get", "service", CI="true")
    assert terminal.end() == 4
    assert PROMPT not in terminal.shown
    assert asking.records("question.asked") == []


def test_others_writing_answer_nothing(asking: AskingProgram) -> None:
    """A program that writes into the terminal meanwhile gives no answer, whatever it writes."""
    script = (
        '(sleep 0.3; printf "\\ny\\ny\\n15m\\n\\033[2Jyes\\n" >/dev/tty; : >wrote) &'
        ' "$B" get service; code=$?; wait; exit $code'
    )
    terminal = asking.spawn("-c", script, path="/bin/bash", B=asking.program.path)
    terminal.prompt()
    wait_until(lambda: os.path.exists(os.path.join(asking.program.home, "wrote")))
    assert asking.records("question.answered") == []
    terminal.answer("n")
    assert terminal.end() == 4


def test_typed_ahead_is_no_answer(asking: AskingProgram) -> None:
    """What was typed before the question stood there is not taken for its answer."""
    script = "echo ready; sleep 0.5; exec $B get service"
    terminal = asking.spawn("-c", script, path="/bin/bash", B=asking.program.path)
    terminal.child.expect_exact("ready")
    terminal.answer("y")
    terminal.prompt()
    terminal.answer("n")
    assert terminal.end() == 4


def test_texts_can_not_move_the_cursor(
    asking: AskingProgram, request: pytest.FixtureRequest
) -> None:
    """Escapes in each text that others wrote are shown as such, in at most 80 columns."""
    evil = "a\x1b[2J\x1b]0;x\x07\u202e\u200b\r\n  scopes      none " + "\u6f22w" * 200
    # A long path is cut in its middle: this one is short, wherever the tests write.
    short = tempfile.mkdtemp(dir="/tmp")
    request.addfinalizer(lambda: shutil.rmtree(short))
    folder = os.path.join(short, "b\x1b[2J\u202e")
    os.mkdir(folder)
    shell = shutil.copy("/bin/sh", os.path.join(folder, "\x1b[31msh"))
    asking.rules(subject='"who asks"')
    terminal = asking.spawn(
        *("-c", '"$B" get service --purpose "$EVIL"; exit $?'),
        path=shell,
        B=asking.program.path,
        EVIL=evil,
    )
    shown = terminal.prompt()
    terminal.answer("n")
    assert terminal.end() == 4
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[2J" in shown
    lines = list(lines_of(shown))
    assert "b\\x1b[2J\\u202e/\\x1b[31msh" in shown
    assert max(map(columns, lines)) <= 80
    assert sum(line.startswith("  scopes") for line in lines) == 1


def columns(line: str) -> int:
    """Return how many columns a line takes."""
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in line)


def test_exec_asks_before_its_child(asking: AskingProgram) -> None:
    """`exec` asks once, at the terminal, before the child starts; a no starts none."""
    terminal = asking.spawn("exec", "-p", "service", "--keep", "--", "echo", "child-ran")
    terminal.prompt()
    terminal.answer("y")
    assert terminal.end() == 0
    assert "child-ran" in terminal.shown
    terminal = asking.spawn("exec", "-p", "service", "--keep", "--", "echo", "child-ran")
    terminal.prompt()
    terminal.answer("n")
    assert terminal.end() == 4
    assert "child-ran" not in terminal.shown


def test_login_is_asked_too(asking: AskingProgram) -> None:
    """A login is a request: it is asked for, and a no stores nothing."""
    terminal = asking.spawn("login", "service")
    assert "a login is asked for" in terminal.prompt()
    terminal.answer("n")
    assert terminal.end() == 4
    (refused,) = asking.records("login.refused")
    assert refused["decision"]["effect"] == "ask"
    terminal = asking.spawn("login", "service")
    terminal.prompt()
    terminal.answer("y")
    assert terminal.end() == 0
