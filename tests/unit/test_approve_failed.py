"""A use is of a hand-out: one that failed gives it back, and there are never more than said."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker import Broker
from brokerctl.broker.approval import Approval
from brokerctl.broker.question import Answer
from brokerctl.broker.request import Alone
from brokerctl.config.plan import Plan
from brokerctl.config.rules import Rule, RuleLayer
from brokerctl.errors import BrokerError, DeniedError, IssuerError
from brokerctl.model import Requester, TokenRequest
from brokerctl.policy import Rules
from brokerctl.store import approvals
from brokerctl.store.entry import OUTCOME
from tests.issuer_room import House

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.broker.approval import Look
    from brokerctl.store.values import ApprovalQuestion, Lease

USES = 3


class Person:
    """Says for how many uses, once, and no from then on."""

    by = "terminal"

    def __init__(self, uses: int) -> None:
        self._answers = [Answer(is_yes=True, by="terminal", lease_s=900, uses=uses)]

    def ask(self, _: ApprovalQuestion, __: dict[str, Any], ___: Look) -> Answer:
        """Answer a question."""
        return self._answers.pop() if self._answers else Answer(is_yes=False, by="terminal")


class CountedHouse(House):
    """A house whose rule counts or asks, with an issuer that can fail.

    Each request is for its own session's token, which is never from the cache.
    """

    def __init__(self, folder: str, rule: Rule, person: Person | None = None) -> None:
        self.layers = (RuleLayer(label="user", default="deny", rules=(rule,)),)
        self.person = person
        super().__init__(folder)
        log: Any = self.log
        self.approving = Approval(self.store, log, person)
        around = Around(self)
        self.broker = Broker(
            Plan(profiles=self.profiles), self.store, log, self.redeemer, (), around
        )

    def ask_for(self, *, is_down: bool = False) -> bool:
        """Return whether a token is handed out; DeniedError where a rule or a person says no."""
        self.issuer.is_down = is_down
        requester = Requester(uid=os.geteuid(), pid=1, exe="/usr/bin/git", session="s")
        request = TokenRequest(profile="s", requester=requester, is_own=True)
        try:
            self.broker.get(request)
        except IssuerError:
            self.forget()
            return False
        return True

    def forget(self) -> None:
        """Forget the failure, so that the next request is sent at once."""
        for one in list(self.store.entries(OUTCOME)):
            self.store.disk.remove(OUTCOME, one.name)

    @property
    def lease(self) -> Lease:
        """The only lease."""
        ((_, found),) = approvals.all_leases(self.store)
        return found

    @property
    def handed_out(self) -> int:
        """How often a token was handed out, as the record says."""
        return len(self.log.of("token.handed_out"))


class Around(Alone):
    """Rules, and the one who answers."""

    def __init__(self, house: CountedHouse) -> None:
        super().__init__(house.store)
        self._house = house

    def find_rules(self, *_: object) -> Any:  # noqa: ANN401 - `Alone` has none
        """Return the rules, as `Home` does."""
        return Rules(self._house.layers, "d", time.time(), lambda _: None)

    def approval(self) -> Approval:
        """Return what finds the answers."""
        return self._house.approving


def counting(**limits: Any) -> Rule:  # noqa: ANN401 - a rule's fields
    """Return a rule that allows so many to a session."""
    return Rule(name="few", effect="allow", when={"session": True}, **limits)


ASKING = Rule(name="careful", effect="ask", when={})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return where the store is to be."""
    return str(tmp_path / "store")


def test_a_session_s_use_comes_back(folder: str) -> None:
    """However often the issuer was down before: three hand-outs, and not one more."""
    house = CountedHouse(folder, counting(uses=USES))
    for is_down in (True, False, True, True, False, True, True, False):
        assert house.ask_for(is_down=is_down) is not is_down
    for is_down in (True, False):
        with pytest.raises(DeniedError, match="allows 3 uses"):
            house.ask_for(is_down=is_down)
    assert house.handed_out == USES


def test_a_rate_is_of_requests(folder: str) -> None:
    """What failed has had its turn, so that nobody tries a thousand times a minute."""
    house = CountedHouse(folder, counting(rate=(2, 60)))
    assert [house.ask_for(is_down=True) for _ in range(2)] == [False, False]
    with pytest.raises(DeniedError, match="2 in 1m"):
        house.ask_for()


def test_a_lease_s_use_comes_back(folder: str) -> None:
    """Also the first one, which comes with the answer; the last one ends the lease for good."""
    house = CountedHouse(folder, ASKING, Person(USES))
    assert not house.ask_for(is_down=True)
    assert house.lease.counts[0].used == 0
    assert house.ask_for()
    assert not house.ask_for(is_down=True)
    assert house.ask_for()
    assert house.lease.counts[0].used == USES - 1
    assert not house.ask_for(is_down=True)
    with pytest.raises(DeniedError, match="the answer was no"):
        house.ask_for()
    assert house.handed_out == USES - 1
    assert len(house.log.of("lease.ended")) == 1


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("is_asking", [False, True])
def test_never_more_than_were_said(folder: str, seed: int, *, is_asking: bool) -> None:
    """Whatever the issuer does, and whoever waits for it meanwhile."""
    chance = random.Random(seed)
    rule, person = (ASKING, Person(USES)) if is_asking else (counting(uses=USES), None)
    house = CountedHouse(folder, rule, person)
    for _ in range(12):
        try:
            house.ask_for(is_down=chance.random() < 0.6)
        except DeniedError:
            break
    assert house.handed_out <= USES


def test_never_more_than_were_said_to_threads(folder: str) -> None:
    """Sixteen that ask at once, of which some fail: three hand-outs at most."""
    house = CountedHouse(folder, counting(uses=USES))
    house.issuer.faults = [IssuerError("lost"), 503, IssuerError("lost")]

    def ask() -> None:
        try:
            house.ask_for()
        except BrokerError:
            return

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert house.handed_out <= USES
    (count,) = house.broker.counts.values()
    assert count.used == house.handed_out
