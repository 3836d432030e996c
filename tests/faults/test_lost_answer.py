"""An answer that was lost on the way is named where it ended the grant, in the same process too."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import policy
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.errors import BrokerError, IssuerError, LoginNeededError, UnsentError, UsageError
from brokerctl.model import Profile, Requester, TokenKey, TokenRequest
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.issuer_room import make_client
from tests.store_room import RING, make_grant, make_token, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.store.values import Intent

ISSUER = "https://issuer.example"
PROFILE = Profile(name="p", issuer=ISSUER, flow="code", client_id="app")
KEY = grant_key(PROFILE)
TOLD = re.compile(
    r"the answer to a refresh at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ was lost on its way here or "
)
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "code_challenge_methods_supported": ["S256"],
}


class Wire:
    """Answers as it was told, in order; None breaks the connection, UNSENT makes none."""

    def __init__(self, *answers: tuple[int, dict[str, Any]] | str | None) -> None:
        self.answers = list(answers)

    def send(self, request: HttpRequest, _deadline: float | None = None) -> HttpResponse:
        """Answer one request."""
        status, body = 200, METADATA
        if request.method == "POST":
            answer = self.answers.pop(0)
            if answer is None:
                raise request.broke("the connection broke")
            if isinstance(answer, str):
                raise UnsentError(answer)
            status, body = answer
        now = time.time()
        data = json.dumps(body).encode()
        headers = (("content-type", "application/json"),)
        return request.answered(
            status=status, headers=headers, body=data, sent_at=now, received_at=now
        )


class Log(OneByOne):
    """Remembers the records."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []

    def append(self, event: str, fields: dict[str, Any], *, durable: bool = False) -> None:
        """Remember one; what changes a grant is durable."""
        assert durable is event.startswith("grant.ended")
        self.records.append((event, fields))


INVALID = (400, {"error": "invalid_grant"})
UNSENT = "issuer.example can't be reached"


def _refresh(folder: str, wire: Wire) -> tuple[BrokerError, Log, Intent | None]:
    with open_store(folder).lock_grant(KEY, soon()) as locked:
        change = Change(grant=make_grant(key=KEY), token_key=TokenKey(grant=KEY))
        locked.commit(change.replace(token=make_token()))
    return _redeem(folder, wire, PROFILE)


def _redeem(folder: str, wire: Wire, profile: Profile) -> tuple[BrokerError, Log, Intent | None]:
    store, key = open_store(folder), grant_key(profile)
    log: Any = Log()
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
    order = DecidedRequest(profile, request, policy.decide(profile, request))
    link = make_client(store, lambda *_: wire)
    with (
        pytest.raises(BrokerError) as raised,
        store.lock_grant(key, soon()) as locked,
    ):
        Redeemer(store, log, RING, link)(order, locked)
    with store.lock_grant(key, soon()) as locked:
        return raised.value, log, locked.state.earlier_intent


@pytest.mark.parametrize("first", [None, (503, {})], ids=["broken", "503"])
def test_a_lost_answer_is_named(tmp_path: Path, first: tuple[int, dict[str, Any]] | None) -> None:
    """The second try of one process finds the token used: message and record say since when."""
    error, log, _ = _refresh(str(tmp_path / "store"), Wire(first, INVALID))
    assert isinstance(error, LoginNeededError)
    assert TOLD.search(error.message), error.message
    ((event, fields),) = log.records
    assert event == "grant.ended"
    assert TOLD.match(fields["reason"])


def test_a_plain_refusal_is_told_plainly(tmp_path: Path) -> None:
    """Without a lost answer nothing of the kind is claimed."""
    error, log, _ = _refresh(str(tmp_path / "store"), Wire(INVALID))
    assert isinstance(error, LoginNeededError)
    assert "lost" not in error.message + log.records[0][1]["reason"]


@pytest.mark.parametrize(("first", "is_kept"), [(None, True), ((400, {"error": "x"}), False)])
def test_another_error_after_a_lost_answer_keeps_the_intent(
    tmp_path: Path, first: tuple[int, dict[str, Any]] | None, *, is_kept: bool
) -> None:
    """What was cut off is still to be explained, whatever the second answer was."""
    error, _, intent = _refresh(str(tmp_path / "store"), Wire(first, (400, {"error": "x"})))
    assert isinstance(error, IssuerError)
    assert (intent is not None) is is_kept


def test_without_a_grant_there_is_nothing_to_explain(tmp_path: Path) -> None:
    """A client's own token that was lost ends by itself: no intent stays behind."""
    client = PROFILE.replace(flow="client_credentials")
    wire = Wire(None, (400, {"error": "invalid_client"}))
    error, _, intent = _redeem(str(tmp_path / "store"), wire, client)
    assert isinstance(error, IssuerError)
    assert intent is None


@pytest.mark.parametrize(("answers", "is_kept"), [((UNSENT,), False), ((None, UNSENT), True)])
def test_what_was_never_sent_needs_no_explanation(
    tmp_path: Path, answers: tuple[str | None, ...], *, is_kept: bool
) -> None:
    """An issuer that could not be reached lost no answer; one that broke off before may have."""
    error, _, intent = _refresh(str(tmp_path / "store"), Wire(*answers))
    assert isinstance(error, UnsentError)
    assert (intent is not None) is is_kept
    later, _, _ = _redeem(str(tmp_path / "store"), Wire(INVALID), PROFILE)
    assert isinstance(later, LoginNeededError)
    assert bool(TOLD.search(later.message)) is is_kept
    assert "cut off" not in later.message, "nobody was killed"


def test_a_profile_that_is_wrong_loses_no_answer(tmp_path: Path) -> None:
    """What could not even be signed was not sent: nothing is claimed of it when the grant ends."""
    store = open_store(str(tmp_path / "store"))
    with store.lock_grant(KEY, soon()) as locked:
        change = Change(grant=make_grant(key=KEY), token_key=TokenKey(grant=KEY))
        locked.commit(change.replace(token=make_token()))
    keyless = PROFILE.replace(client_auth="private_key_jwt")
    error, log, intent = _redeem(str(tmp_path / "store"), Wire(), keyless)
    assert (type(error), intent, log.records) == (UsageError, None, [])
    later, _, _ = _redeem(str(tmp_path / "store"), Wire(INVALID), PROFILE)
    assert "cut off" not in later.message
