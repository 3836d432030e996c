"""What an issuer gives beside or in place of a token: it is revoked, queued or recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import IssuerError
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.tokens import UnusableAnswerError, parse_exchange_response
from brokerctl.secret import Secret
from brokerctl.store.entry import QUEUE
from tests.faults.chain_room import ACCESS, CHAIN, JWT, Chain

if TYPE_CHECKING:
    from pathlib import Path

REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"
ODD = [
    ("one", {"issued_token_type": REFRESH}),
    ("one", {"issued_token_type": ACCESS, "token_type": "Bearer"}),
    ("one", {"token_type": "DPoP"}),
    ("two", {"token_type": "DPoP"}),
    ("two", {"token_type": "DPoP", "refresh_token": "refresh-1"}),
    ("one", {"token_type": "mac", "refresh_token": "refresh-1"}),
]


@pytest.mark.parametrize("is_down", [False, True], ids=["revocable", "down"])
@pytest.mark.parametrize(("which", "more"), ODD, ids=str)
def test_a_token_that_can_not_be_used_is_ended(
    tmp_path: Path, which: str, more: dict[str, Any], *, is_down: bool
) -> None:
    """It is alive at its issuer and nobody would know: it is revoked at once, or queued."""
    chain = Chain(str(tmp_path))
    issuer = chain.one if which == "one" else chain.two
    issuer.more, issuer.is_down = more, is_down
    assert chain.try_get() is None
    assert isinstance(chain.error, IssuerError)
    assert len(issuer.asked) == 1
    assert all(map(chain.is_told, issuer.alive))
    assert bool(issuer.alive) is is_down
    issuer.is_down = False
    chain.revoke()
    assert chain.one.alive == chain.two.alive == set()


@pytest.mark.parametrize("which", ["one", "two"])
def test_a_refresh_token_that_nobody_asked_for(tmp_path: Path, which: str) -> None:
    """It is never redeemed, waits while the access token is used, and ends with it."""
    chain = Chain(str(tmp_path))
    issuer, name = (chain.one, "grant") if which == "one" else (chain.two, "deploy")
    issuer.more = {"refresh_token": "refresh-1"}
    value = chain.get().value.reveal()
    chain.retry(name)
    assert "refresh-1" in issuer.alive, "to revoke it would end the access token"
    assert value in chain.two.alive
    assert chain.reasons("a refresh token came") == [name]
    ended = chain.revoke()
    assert [one.kind for one in ended if one.profile == name] == ["refresh_token", "access_token"]
    assert chain.one.alive == chain.two.alive == set()


def test_it_ends_with_a_session_s_own_token_and_not_with_another_s(tmp_path: Path) -> None:
    """Two sessions of a job: the end of one leaves what the other one has."""
    chain = Chain(str(tmp_path))
    for number in (1, 2):
        chain.two.more = {"refresh_token": f"refresh-{number}"}
        chain.get(session=f"s{number}", is_own=True)
    chain.two.ends_with_refresh = False
    chain.revoke_session("s1")
    assert "refresh-1" not in chain.two.alive
    assert "refresh-2" in chain.two.alive
    chain.revoke_session("s2")
    assert chain.two.alive == set()
    assert chain.store.disk.names(QUEUE) == []


def test_it_goes_when_its_token_is_over(tmp_path: Path) -> None:
    """Nobody comes back for it, so that the next command that retries ends it."""
    chain = Chain(str(tmp_path), text=f'{CHAIN}max_ttl = "1h"\n')
    chain.two.more = {"refresh_token": "refresh-1", "expires_in": 0}
    assert chain.try_get() is None, "a token that is over is handed out to nobody"
    chain.retry("deploy")
    assert "refresh-1" not in chain.two.alive


def test_what_we_sent_is_not_revoked() -> None:
    """Security: an answer that repeats the subject token must not have us end it."""
    sent = Secret("the-subject-token")
    body = b'{"access_token":"the-subject-token","token_type":"DPoP"}'
    response = HttpResponse(status=200, body=body, secrets=(sent,))
    with pytest.raises(UnusableAnswerError) as caught:
        parse_exchange_response(response, (), JWT, "one.example")
    assert caught.value.issued is None
