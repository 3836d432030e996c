"""Odd answers to an exchange for less: what came is held until it can be ended, and never used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.issuer_room import KEY, PERSON
from tests.narrowing_issuer import NarrowingHouse, NarrowingIssuer
from tests.store_room import RING
from tests.unit.test_grant_exchange import exchanged, queued, refresh_token

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def house(tmp_path: Path) -> NarrowingHouse:
    """Log a person in at an issuer that exchanges."""
    return NarrowingHouse(str(tmp_path / "store"), NarrowingIssuer())


def test_a_refresh_token_that_came_with_it(house: NarrowingHouse) -> None:
    """Never stored as a grant, never revoked while that could end the grant, ended with it."""
    house.issuer.more = {"refresh_token": "r-surplus"}
    before = refresh_token(house)
    house.narrow()
    (item,) = queued(house)
    assert (item.token_type_hint, item.value.reveal()) == ("refresh_token", "r-surplus")
    assert refresh_token(house) == before
    (told,) = house.log.of("grant.revoked")
    assert (told["outcome"], told["fingerprint"]) == ("unknown", RING.fingerprint("r-surplus"))
    house.revoker.retry(PERSON, KEY)
    assert "r-surplus" in house.issuer.alive
    assert len(queued(house)) == 1
    house.issuer.asked()
    house.narrow("write")
    assert house.issuer.asked() == ["refresh"], "another authority is not less: not asked so again"
    house.revoker.revoke(PERSON, KEY)
    assert house.issuer.alive == set()


def test_the_grant_s_own_refresh_token_came_with_it(house: NarrowingHouse) -> None:
    """An issuer that repeats it has given nothing new: to revoke it would end the grant."""
    house.issuer.more = {"refresh_token": refresh_token(house)}
    house.narrow()
    assert queued(house) == ()
    house.narrow("write")
    assert house.issuer.asked() == ["exchange", "exchange"]


ODD: list[dict[str, Any]] = [
    {"token_type": "N_A"},
    {"issued_token_type": "urn:ietf:params:oauth:token-type:jwt"},
    {"token_type": "DPoP"},
    {"token_type": "N_A", "refresh_token": "r-surplus"},
]


@pytest.mark.parametrize("more", ODD)
def test_what_can_not_be_used_is_held(house: NarrowingHouse, more: dict[str, Any]) -> None:
    """The request is met by a refresh; what came is queued until its grant ends, then revoked."""
    house.issuer.more = more
    house.narrow()
    assert house.issuer.asked() == ["exchange", "refresh"]
    assert exchanged(house) == []
    assert [one.with_grant for one in queued(house)] == [True] * (1 + ("refresh_token" in more))
    assert house.log.of("token.revoked")[0]["outcome"] == "unknown"
    house.revoker.retry(PERSON, KEY)
    assert refresh_token(house) in house.issuer.alive
    house.revoker.revoke(PERSON, KEY)
    assert house.issuer.alive == set()


def test_the_very_same_token(house: NarrowingHouse) -> None:
    """It is not less; a session that ended it as its own would end everybody's."""
    whole = house.get().value.reveal()
    house.issuer.more = {"access_token": whole}
    own = house.own("s1", scopes=("read",)).value.reveal()
    assert own != whole
    assert house.issuer.asked() == ["exchange", "refresh"]
    house.revoker.revoke_session(PERSON, KEY, "s1")
    assert whole in house.issuer.alive


def test_one_that_is_over(house: NarrowingHouse) -> None:
    """It is not stored, and the next way is taken."""
    house.issuer.more = {"expires_in": 0}
    house.narrow()
    assert house.issuer.asked() == ["exchange", "refresh"]


# One access token at a time


def test_where_a_refresh_ends_the_token_before(tmp_path: Path) -> None:
    """An exchange ends nobody's; a refresh is not known to end what was exchanged."""
    single = PERSON.replace(refresh_ends_previous=True)
    house = NarrowingHouse(str(tmp_path), NarrowingIssuer(), single)
    whole = house.get().value.reveal()
    narrow = house.narrow()
    assert house.get().value.reveal() == whole
    house.get(is_fresh=True)
    (held,) = exchanged(house)
    assert held.value.reveal() == narrow, "it may be alive: `revoke` has to know it"
    house.issuer.asked()
    assert house.narrow() != narrow, "and it may be dead: it is served no more"
    house.revoker.revoke(single, KEY)
    assert house.issuer.alive - {whole} == set()
