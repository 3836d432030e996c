"""Whose a yes for once is: of two real processes that ask at the same time, one or both."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp.issuer import DemoIssuer
from tests.scripts.approve_room import AskingProgram, wait_until

if TYPE_CHECKING:
    import subprocess
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


def say(asking: AskingProgram, answer: str, question: str) -> None:
    """Answer a question at another terminal."""
    terminal = asking.spawn("approve", answer, question)
    assert terminal.end() == 0, terminal.shown


def ends(*started: subprocess.Popen[str]) -> list[int]:
    """Wait until all have ended, and return their exit codes, the lowest first."""
    for one in started:
        one.communicate()
    return sorted(one.returncode for one in started)


@pytest.mark.parametrize("limit", ["uses = 1", "uses = 5", 'rate = "10/1m"'])
def test_where_a_rule_counts_it_is_one_process_s(asking: AskingProgram, limit: str) -> None:
    """Two that wait for the same answer: the yes is one hand-out, and the other asks anew."""
    asking.rules(more=limit, approve='wait = "60s"')
    started = [asking.program.start("get", "service") for _ in range(2)]
    first = asking.open_question()
    wait_until(lambda: asking.waiting() >= 2)
    say(asking, "yes", first)
    second = asking.open_question()
    assert second != first
    say(asking, "no", second)
    assert ends(*started) == [0, 4]
    (handed_out,) = asking.records("token.handed_out")
    assert handed_out["decision"]["approval"] == {"by": "elsewhere", "question": first}
    assert len(asking.records("question.asked")) == 2


def test_where_no_rule_counts_it_is_both_s(asking: AskingProgram) -> None:
    """The same two share the answer, which one question was for."""
    asking.rules(approve='wait = "60s"')
    started = [asking.program.start("get", "service") for _ in range(2)]
    first = asking.open_question()
    wait_until(lambda: asking.waiting() >= 2)
    say(asking, "yes", first)
    assert ends(*started) == [0, 0]
    assert len(asking.records("question.asked")) == 1


def test_another_requester_is_another_question(asking: AskingProgram) -> None:
    """Two programs that ask for the same token at once are two questions, counted or not."""
    asking.rules(approve='wait = "60s"')
    ours = asking.program.start("get", "service")
    first = asking.open_question()
    shell = asking.spawn("-c", '"$B" get service; exit $?', path="/bin/bash", B=asking.program.path)
    shell.prompt()  # it has a terminal, where it asks
    open_ids = {one["id"] for one in asking.listed()["questions"]}
    assert len(open_ids) == 2
    say(asking, "yes", first)
    assert ends(ours) == [0]
    (left,) = asking.listed()["questions"]
    assert {left["id"]} == open_ids - {first}
    shell.answer("n")
    assert shell.end() == 4
    assert len(asking.records("token.handed_out")) == 1
