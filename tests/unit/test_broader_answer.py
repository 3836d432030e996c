"""An issuer that does not narrow: its token is not what was decided, so it is not handed out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker import Broker
from brokerctl.config.plan import Plan
from brokerctl.errors import DeniedError
from brokerctl.model import Profile, Requester, Token, TokenRequest
from brokerctl.secret import Secret
from tests.store_room import make_token, open_store

if TYPE_CHECKING:
    from pathlib import Path

PROFILE = Profile(
    name="ci",
    issuer="https://issuer.example",
    flow="client_credentials",
    client_id="app",
    scopes=("read", "write"),
)


class Log:
    """A log that remembers the events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def append(self, event: str, fields: dict[str, Any]) -> int:
        """Remember one."""
        self.events.append((event, fields.get("error")))
        return len(self.events)


def ask(tmp_path: Path, granted: str, narrowed: bool = False, **fields: Any) -> tuple[str, Log]:  # noqa: ANN401, FBT001, FBT002 - a request's fields
    """Return the token that an issuer's answer leads to, and the log."""
    log: Any = Log()

    def redeem(_order: object, _locked: object) -> Token:
        scopes = tuple(granted.split())
        return make_token().replace(value=Secret("at"), scopes=scopes, expires_at=None)

    plan = Plan(profiles={"ci": PROFILE}, narrowed_scopes={"ci": ("read",)} if narrowed else {})
    broker = Broker(plan, open_store(str(tmp_path / "store")), log, redeem)
    requester = Requester(uid=os.geteuid(), pid=1)
    try:
        answer = broker.get(TokenRequest(profile="ci", requester=requester, **fields))
    except DeniedError as error:
        return f"denied by {error.rule}", log
    return answer.value.reveal(), log


@pytest.mark.parametrize("narrowed", [False, True], ids=["request", "project"])
def test_what_was_narrowed_away_is_not_handed_out(tmp_path: Path, *, narrowed: bool) -> None:
    """Whoever asked for less, a token with more is refused, and the refusal is recorded."""
    fields = {} if narrowed else {"scopes": ("read",)}
    value, log = ask(tmp_path, "read write", narrowed, **fields)
    assert value == "denied by narrowing"
    said = "the issuer of 'ci' gave write too, which was not asked for"
    assert log.events == [("token.denied", said)]


@pytest.mark.parametrize(
    ("granted", "scopes"),
    [
        ("read", ("read",)),
        ("read profile", ("read",)),  # some add their own to every token
        ("read write admin", None),
        ("", ("read",)),
    ],
)
def test_anything_else_is(tmp_path: Path, granted: str, scopes: tuple[str, ...] | None) -> None:
    """What was asked for, less, and what an issuer adds of its own are handed out and recorded."""
    value, log = ask(tmp_path, granted, scopes=scopes)
    assert value == "at"
    assert log.events == [("token.handed_out", None)]
