"""An audience (RFC 8693) from the profile to the flow, the slot, the record and the answer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import get
from brokerctl.broker import Broker
from brokerctl.broker.request import grant_key
from brokerctl.config.plan import Plan
from brokerctl.errors import DeniedError
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.platform.work_clock import work_time
from tests.issuer_room import Issuer, Log, make_client
from tests.store_room import make_token, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.broker.request import DecidedRequest
    from brokerctl.model import Token

PROFILE = Profile(
    name="p",
    issuer="https://issuer.example",
    flow="client_credentials",
    client_id="app",
    audience=("a", "b"),
)


class Desk:
    """A broker whose redeemer notes what was decided and answers with one token."""

    def __init__(self, folder: str) -> None:
        log: Any = Log()
        self.log = log
        self.asked: list[DecidedRequest] = []
        plan = Plan(profiles={"p": PROFILE})
        self.broker = Broker(plan, open_store(folder), log, self.redeem)

    def redeem(self, decided: DecidedRequest, _locked: object) -> Token:
        """Note the request."""
        self.asked.append(decided)
        return make_token().replace(expires_at=None)

    def ask(self, audience: tuple[str, ...] | None) -> Any:  # noqa: ANN401 - an AccessToken
        """Ask for a token."""
        requester = Requester(uid=os.geteuid(), pid=1)
        return self.broker.get(TokenRequest(profile="p", requester=requester, audience=audience))


@pytest.mark.parametrize(("asked", "had"), [(None, ("a", "b")), (("b",), ("b",))])
def test_it_reaches_slot_record_and_answer(
    tmp_path: Path, asked: tuple[str, ...] | None, had: tuple[str, ...]
) -> None:
    """The token of one audience is another's than that of two, and the record says whose."""
    desk = Desk(str(tmp_path / "store"))
    answer = desk.ask(asked)
    (decided,) = desk.asked
    assert decided.token_key.audience == had
    assert decided.grant_key.audience == PROFILE.audience
    assert [fields["audience"] for fields in desk.log.of("token.handed_out")] == [list(had)]
    assert get.as_json(answer, 0)["audience"] == list(had)


def test_one_that_the_profile_has_not_is_refused_before_the_issuer_is_asked(
    tmp_path: Path,
) -> None:
    """Exit code 4, recorded, and no request."""
    desk = Desk(str(tmp_path / "store"))
    with pytest.raises(DeniedError, match="audience c is not among the profile's"):
        desk.ask(("a", "c"))
    assert not desk.asked
    assert len(desk.log.of("token.denied")) == 1


def test_it_is_part_of_what_names_a_grant() -> None:
    """A profile for another audience has another grant."""
    assert grant_key(PROFILE) != grant_key(PROFILE.replace(audience=("a",)))


def test_the_flow_is_told_of_it(tmp_path: Path) -> None:
    """What was decided is what the flow may send."""
    link = make_client(open_store(str(tmp_path / "store")), lambda *_: Issuer())
    context = link.context(PROFILE, work_time() + 20, (), (), ("a",))
    assert context.audience == ("a",)


@pytest.mark.parametrize(
    ("words", "audience"),
    [
        ([], None),
        (["--audience", "b", "--audience", "a", "--audience", "b"], ("a", "b")),
        (["--audience", "two words"], ("two words",)),
    ],
)
def test_the_light_grammar_reads_it(words: list[str], audience: tuple[str, ...] | None) -> None:
    """Sorted and unique, as a resource is; an audience may hold a space, as no scope may."""
    options = get.parse_get(["p", *words], None)
    assert options is not None
    assert options.audience == audience
