"""Every write of a question and of a lease fails, or is the last: no more is allowed than was said.

And whoever asks after it gets an answer: nobody waits for one that died.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.approval import Approval
from brokerctl.broker.question import Answer, Asked
from brokerctl.config.rules import Limit
from brokerctl.errors import AuditError, BrokerError, DeniedError
from brokerctl.model import Decision, Profile, Requester, TokenRequest
from tests.faults.faulty import CHANGING, COUNTED, FaultySystem, Killed, count_calls
from tests.store_room import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.broker.approval import Look
    from brokerctl.store.values import ApprovalQuestion

REQUESTER = Requester(uid=1000, pid=7, exe="/usr/bin/git", tool="git")
LEASE = Answer(is_yes=True, by="terminal", lease_s=900, uses=3)
ONCE = Answer(is_yes=True, by="terminal")
NO = Answer(is_yes=False, by="terminal")
OF_A_YES = ("question.answered", "lease.given")


class Log:
    """A log that can be full: the Nth record is not written."""

    def __init__(self, nth: int | None = None) -> None:
        self.nth = nth
        self.records: list[str] = []

    def append(self, name: str, _: dict[str, Any], *, durable: bool = False) -> int:  # noqa: ARG002 - as the log's
        """Append, or raise AuditError."""
        if len(self.records) + 1 == self.nth:
            self.nth = None
            raise AuditError("disk full")
        self.records.append(name)
        return len(self.records)


class Person:
    """Answers each question once with what was planned, and with no from then on."""

    by = "terminal"

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.questions = 0

    def ask(self, _: ApprovalQuestion, __: dict[str, Any], ___: Look) -> Answer:
        """Return the next answer."""
        self.questions += 1
        return self.answers.pop(0) if self.answers else NO


def asked(uses: int | None = None) -> Asked:
    """Return what a rule wants to be asked."""
    limits = () if uses is None else (Limit(layer="user", rule="r", is_asking=True, uses=uses),)
    return Asked(
        action="token",
        label="p",
        profile=Profile(name="p", issuer="https://i.example", flow="code", client_id="c"),
        request=TokenRequest(profile="p", requester=REQUESTER),
        decision=Decision(
            effect="ask", rule="r", layer="user", reason="it asks", digest="d", limits=limits
        ),
    )


def hand_out(folder: str, system: FaultySystem, log: Log, person: Person, tries: int = 2) -> int:
    """Ask several times as processes of their own; return how often the answer was yes."""
    allowed = 0
    for _ in range(tries):
        store = open_store(folder, system)
        log_of_store: Any = log
        try:
            Approval(store, log_of_store, person).ask(asked())
        except (BrokerError, Killed):
            continue
        finally:
            store.disk.close()
        allowed += 1
    return allowed


def home(tmp_path: Path, number: int) -> str:
    """Return a folder of its own for each fault."""
    folder = str(tmp_path / str(number))
    os.mkdir(folder, 0o700)
    return f"{folder}/store"


@pytest.mark.slow("plays some 200 calls, each in a store of its own")
@pytest.mark.parametrize(("answer", "most"), [(LEASE, 3), (ONCE, 1)], ids=["lease", "once"])
@pytest.mark.parametrize("mode", ["fail", "kill", "short", "stuck"])
def test_no_fault_allows_more(tmp_path: Path, mode: str, answer: Answer, most: int) -> None:
    """Whatever call goes wrong: at most so many as were said, and the next one gets an answer."""
    names = COUNTED if mode == "fail" else CHANGING
    whole = home(tmp_path, 0)
    log = Log()
    count = count_calls(lambda system: _run(whole, system, log, answer, most), names)
    for nth in range(1, count + 1):
        folder = home(tmp_path, nth)
        system = FaultySystem(nth, mode, names=names)
        allowed = hand_out(folder, system, Log(), Person(answer), most + 1)
        assert allowed <= most, system.calls[-1]
        after = Person(ONCE)
        left = hand_out(folder, FaultySystem(), Log(), after, most + 1)
        assert allowed + left <= most + 1, system.calls[-1]
        assert after.questions, "nobody was asked any more"


def _run(folder: str, system: FaultySystem, log: Log, answer: Answer, most: int) -> None:
    assert hand_out(folder, system, log, Person(answer), most + 1) == most


@pytest.mark.parametrize(("answer", "most"), [(LEASE, 3), (ONCE, 1)], ids=["lease", "once"])
def test_no_record_no_answer(tmp_path: Path, answer: Answer, most: int) -> None:
    """A record that can't be written: no yes comes of it, and no lease."""
    log = Log()
    _run(home(tmp_path, 0), FaultySystem(), log, answer, most)
    for nth in range(1, len(log.records) + 1):
        folder = home(tmp_path, nth)
        full = Log(nth)
        allowed = hand_out(folder, FaultySystem(), full, Person(answer), most + 1)
        assert allowed <= most
        first = {log.records.index(name) + 1 for name in log.records if name in OF_A_YES}
        assert allowed == 0 or nth not in first


def test_a_yes_for_once_is_not_shared_where_a_rule_counts(tmp_path: Path) -> None:
    """Of a question whose rule has `uses`, a yes for once is one hand-out's."""
    folder = home(tmp_path, 0)
    store = open_store(folder)
    log: Any = Log()

    person = Person(ONCE)
    approval = Approval(store, log, person)
    approval.ask(asked(uses=1))
    with pytest.raises(DeniedError, match="the answer was no"):
        approval.ask(asked(uses=1))
    assert person.questions == 2


def test_a_rule_s_uses_hold_in_a_lease(tmp_path: Path) -> None:
    """A lease of 15 minutes has as many uses as the rule says, and ends with the last of them."""
    store = open_store(home(tmp_path, 0))
    log: Any = Log()
    person = Person(Answer(is_yes=True, by="terminal", lease_s=900))
    approval = Approval(store, log, person)
    for _ in range(2):
        approval.ask(asked(uses=2))
    with pytest.raises(DeniedError):
        approval.ask(asked(uses=2))
    assert person.questions == 2
    assert log.records.count("lease.ended") == 1
