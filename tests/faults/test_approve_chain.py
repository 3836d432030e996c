"""Somebody is asked about a token that another profile exchanges: under no lock, and once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.approval import Approval
from brokerctl.broker.question import Answer
from brokerctl.policy import Rules
from tests.faults.chain_room import CHAIN, Chain
from tests.store_room import open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.broker.approval import Look
    from brokerctl.store.values import ApprovalQuestion

POLICY = """
[policy]
default = "profile"
[[policy.rule]]
name = "ask"
effect = "ask"
when = { profile = "grant" }
"""


class AskedChain(Chain):
    """A chain whose first profile a rule asks about, and the person who answers."""

    by = "terminal"

    def __init__(self, folder: str, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        super().__init__(folder, text=CHAIN + POLICY)

    def find_rules(self, *asked: Any) -> Any:  # noqa: ANN401 - as the room has it
        """Return the rules, as `Home` does."""
        layers = self.plan.policy_of(asked[0].name)
        return Rules(layers, self.plan.policy_digest, time.time(), lambda _: None)

    def approval(self) -> Approval:
        """Return what asks this person."""
        if not hasattr(self, "_approval"):
            log: Any = self
            self._approval = Approval(self.store, log, self)
        return self._approval

    def ask(self, _: ApprovalQuestion, about: dict[str, Any], __: Look) -> Answer:
        """Answer, if no grant's lock is held meanwhile."""
        self.asked.append(about)
        for name in ("grant", "deploy"):
            with open_store(self.folder).lock_grant(self.key(name), soon()):
                pass
        return Answer(is_yes=self.answers.pop(0) == "yes", by="terminal")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return where the store is to be."""
    return str(tmp_path / "store")


def test_the_inner_request_is_asked_for_without_a_lock(folder: str) -> None:
    """A yes is one for the exchange that needs it; the inner hand-out's record has it."""
    chain = AskedChain(folder, "yes")
    assert chain.get() is not None
    (about,) = chain.asked
    assert (about["profile"], about["for_profile"]) == ("grant", "deploy")
    handed = {
        fields["profile"]: dict(fields["decision"])
        for name, fields in chain.records
        if name == "token.handed_out"
    }
    assert handed["grant"]["approval"]["by"] == "terminal"
    assert "approval" not in handed["deploy"]
    assert chain.get() is not None  # from the cache: nobody is asked
    assert len(chain.asked) == 1


def test_a_no_ends_both(folder: str) -> None:
    """A no is a refusal of the inner request and of the outer one; no issuer is asked."""
    chain = AskedChain(folder, "no")
    assert chain.try_get() is None
    denied = [fields["profile"] for name, fields in chain.records if name == "token.denied"]
    assert denied == ["grant", "deploy"]
    assert (chain.one.asked, chain.two.asked) == ([], [])
    assert not chain.has_intent("deploy")


def test_a_yes_for_once_is_not_held(folder: str) -> None:
    """The answer for one exchange is none for the next."""
    chain = AskedChain(folder, "yes", "no")
    assert chain.get() is not None
    assert chain.try_get(is_fresh=True) is None
    assert len(chain.asked) == 2
