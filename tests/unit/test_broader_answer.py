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
        self.events.append((event, fields.get("error") or fields["decision"]["reason"]))
        return len(self.events)


def ask(
    tmp_path: Path,
    granted: str,
    profile: Profile = PROFILE,
    narrowed: tuple[str, ...] | None = None,
    **fields: Any,  # noqa: ANN401 - a request's
) -> tuple[str, Log]:
    """Return the token and the warning that an issuer's answer leads to, and the log."""
    log: Any = Log()

    def redeem(_order: object, _locked: object) -> Token:
        scopes = tuple(granted.split())
        return make_token().replace(value=Secret("at"), scopes=scopes, expires_at=None)

    plan = Plan(profiles={"ci": profile}, narrowed_scopes={"ci": narrowed} if narrowed else {})
    broker = Broker(plan, open_store(str(tmp_path / "store")), log, redeem)
    requester = Requester(uid=os.geteuid(), pid=1)
    try:
        answer = broker.get(TokenRequest(profile="ci", requester=requester, **fields))
    except DeniedError as error:
        return f"denied by {error.rule}", log
    return f"{answer.value.reveal()} {answer.broader}".strip(), log


WITHIN = "a subset of what the profile allows"
SAID = "the issuer of 'ci' gave {} too, which was not asked for"
OPENID = "openid profile email offline_access https://www.googleapis.com/auth/userinfo.email"


@pytest.mark.parametrize(
    ("granted", "asked", "broader"),
    [
        ("read write", "read write", ""),
        ("write read", "read write", ""),
        ("read", "read write", ""),
        ("", "read write", ""),
        ("read", "read", ""),
        (f"read {OPENID}", "read", ""),
        (f"read write {OPENID}", "read write", ""),
        ("read write admin", "read write", "admin"),
        ("read Write", "read write", "Write"),
        ("read write", "read", "write"),
        ("read admin", "read", "admin"),
        ("openid write root", "read", "root write"),
        ("x0 x1 x2 x3 x4 x5 x6 x7 x8 x9", "read", "x0 x1 x2 x3 x4 x5 x6 x7 and 2 more"),
    ],
)
@pytest.mark.parametrize("allow", [None, True, False])
@pytest.mark.parametrize("who", ["request", "project"])
def test_more_than_was_asked_for(
    tmp_path: Path, granted: str, asked: str, broader: str, *, allow: bool | None, who: str
) -> None:
    """A narrowed request is refused, any other warned of, unless `allow_broader` says more.

    Where it says that the token of a narrowed request may go, that is warned of; the record has
    the difference in any case.
    """
    scopes = tuple(asked.split())
    narrowed = scopes if who == "project" else None
    fields = {"scopes": scopes if who == "request" else None}
    profile = PROFILE.replace(allow_broader=allow)
    told, log = ask(tmp_path, granted, profile, narrowed, **fields)
    said = SAID.format(broader) if broader else ""
    is_narrow = scopes != PROFILE.scopes
    if broader and (allow is False or (is_narrow and allow is None)):
        assert told == f"denied by {'allow_broader' if allow is False else 'narrowing'}"
        assert log.events == [("token.denied", said)]
    else:
        assert told == ("at " + said if broader and (is_narrow or allow is None) else "at")
        reason = f"{WITHIN}; {said}" if said else WITHIN
        assert log.events == [("token.handed_out", reason)]


def test_where_no_scope_is_asked_for_nothing_is_broader(tmp_path: Path) -> None:
    """The issuer's default is what it grants then (RFC 6749, 3.3)."""
    told, log = ask(tmp_path, "read admin", PROFILE.replace(scopes=(), allow_broader=False))
    assert (told, log.events) == ("at", [("token.handed_out", WITHIN)])
