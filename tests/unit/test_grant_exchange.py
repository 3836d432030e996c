"""Less than a person's grant holds, by an exchange: what it costs, and what it must never cost."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.known_issuers import KEEPS
from brokerctl.errors import DeniedError, IssuerError
from brokerctl.oauth.flows.sources import TOKEN_EXCHANGE
from brokerctl.oauth.message import BrokenError
from brokerctl.oauth.tokens import ACCESS_TOKEN
from brokerctl.store.slots import is_exchanged
from brokerctl.store.values import Intent
from tests.issuer_room import KEY, PERSON, URL, House
from tests.narrowing_issuer import IGNORES, NarrowingHouse, NarrowingIssuer
from tests.store_room import soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.model import Token
    from brokerctl.store.values import Queued


@pytest.fixture
def house(tmp_path: Path) -> NarrowingHouse:
    """Log a person in at an issuer that exchanges."""
    return NarrowingHouse(str(tmp_path / "store"), NarrowingIssuer())


def queued(house: House) -> tuple[Queued, ...]:
    """Return what waits to be revoked."""
    with house.store.lock_grant(KEY, soon()) as locked:
        return locked.state.queue


def intent(house: House) -> Intent | None:
    """Return what says that a request was cut off."""
    with house.store.lock_grant(KEY, soon()) as locked:
        return locked.state.earlier_intent


def exchanged(house: House) -> list[Token]:
    """Return the tokens that came of an exchange."""
    return [token for token in house.tokens() if is_exchanged(token)]


def refresh_token(house: House) -> str:
    """Return the grant's."""
    grant = house.store.find_grant(KEY)
    assert grant is not None
    assert grant.refresh_token is not None
    return grant.refresh_token.reveal()


# What it is


def test_it_spends_no_refresh_token(house: NarrowingHouse) -> None:
    """One request, the profile's own token being the subject; both tokens live on."""
    before, whole = refresh_token(house), house.get().value.reveal()
    narrow = house.narrow()
    (form,) = house.issuer.forms
    assert form["grant_type"] == TOKEN_EXCHANGE
    assert (form["subject_token"], form["scope"]) == (whole, "read")
    assert form["subject_token_type"] == form["requested_token_type"] == ACCESS_TOKEN
    assert "refresh_token" not in form
    assert refresh_token(house) == before
    assert house.get().value.reveal() == whole
    assert house.narrow() == narrow
    assert {whole, narrow} <= house.issuer.alive
    assert len(house.issuer.forms) == 1


def test_its_record(house: NarrowingHouse) -> None:
    """Recorded durably before it leaves, with whose token was exchanged; so is each hand-out."""
    house.narrow()
    house.narrow()
    (issued,), handed = house.log.of("token.issued"), house.log.of("token.handed_out")
    shown = {"subject": "profile p", "actor": None, "act": None, "issued_type": ACCESS_TOKEN}
    assert [one["exchange"] for one in (issued, *handed)] == [shown] * 3
    assert [one["outcome"] for one in handed] == ["exchange", "cache"]
    assert issued["scopes"] == ["read"]
    assert "broader" not in issued
    assert issued["fingerprint"] == handed[0]["fingerprint"] == handed[1]["fingerprint"]
    names = [name for name, _ in house.log.records]
    assert names.index("token.issued") < names.index("token.handed_out")


def test_what_is_not_narrowed_is_not_exchanged(house: NarrowingHouse) -> None:
    """Neither the profile as it is, nor a shorter life, which the issuer is not asked for."""
    house.get()
    house.get(max_ttl_s=60.0)
    house.get(is_fresh=True)
    assert house.issuer.asked() == ["refresh"]


def test_a_resource_narrows_too(tmp_path: Path) -> None:
    """It is sent with the exchange, and is part of the token's key."""
    wide = PERSON.replace(resource=("https://a.example", "https://b.example"))
    house = NarrowingHouse(str(tmp_path), NarrowingIssuer(), wide)
    for resource in wide.resource:
        house.get(resource=(resource,))
        (form,) = house.issuer.forms
        assert (form["resource"], form["scope"]) == (resource, "read write")
        assert house.issuer.asked() == ["exchange"]


def test_an_issuer_that_does_not_say_so_is_not_asked(tmp_path: Path) -> None:
    """Without the grant type in its metadata: a refresh with fewer scopes, as ever."""
    issuer = NarrowingIssuer()
    issuer.knows_exchange = False
    house = NarrowingHouse(str(tmp_path), issuer)
    house.narrow()
    assert issuer.asked() == ["refresh"]


def test_a_client_of_its_own_is_not_exchanged(tmp_path: Path) -> None:
    """Its flow sends the scopes itself, in one request."""
    service = PERSON.replace(name="p2", flow="client_credentials")
    house = NarrowingHouse(str(tmp_path), NarrowingIssuer(), PERSON, service)
    house.get("p2", scopes=("read",))
    assert [form["grant_type"] for form in house.issuer.forms] == ["client_credentials"]


# Which token is exchanged


@pytest.mark.parametrize(("left_s", "asked"), [(50, "refresh"), (70, "exchange")])
def test_a_token_about_to_end_is_not_exchanged(tmp_path: Path, left_s: int, asked: str) -> None:
    """The new one would seldom live longer; a refresh brings a whole life."""
    issuer = NarrowingIssuer()
    house = NarrowingHouse(str(tmp_path), issuer)
    issuer.expires_in = left_s * 10  # a tenth is the usual margin
    house.get(is_fresh=True)
    issuer.asked()
    house.narrow(min_ttl_s=600.0)
    assert issuer.asked() == [asked]


def test_none_at_hand(house: NarrowingHouse) -> None:
    """A refresh with fewer scopes is one request, a refresh and an exchange would be two."""
    house.revoker.revoke_session(PERSON, KEY, "nobody")
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.settle_all({one.fingerprint: "expired" for one in house_tokens(locked)})
    house.narrow()
    assert house.issuer.asked() == ["refresh"]
    house.narrow("write")
    assert house.issuer.asked() == ["refresh"], "the narrower one is nobody's subject"


def house_tokens(locked: Any) -> list[Token]:  # noqa: ANN401 - a LockedGrant
    """Return the current tokens under a lock."""
    return [slot.current for slot in locked.state.slots if slot.current is not None]


def test_a_refresh_that_narrows_nothing_is_exchanged(house: NarrowingHouse) -> None:
    """Its answer is at hand, and the grant is stored: so the request is met after all."""
    house.issuer.refresh = IGNORES
    house.get(is_fresh=True)
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.settle_all({one.fingerprint: "expired" for one in house_tokens(locked)})
    house.issuer.asked()
    assert house.get(scopes=("read",)).scopes == ("read",)
    assert house.issuer.asked() == ["refresh", "exchange"]
    assert refresh_token(house) in house.issuer.alive


def test_a_failed_exchange_of_it_costs_nothing(house: NarrowingHouse) -> None:
    """The grant that came with the refresh is kept; what was asked for is refused as ever."""
    house.issuer.refresh = IGNORES
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.settle_all({one.fingerprint: "expired" for one in house_tokens(locked)})
    broken: Any = BrokenError("broken")
    sent = house.issuer.send

    def send(request: Any, deadline: float | None = None) -> Any:  # noqa: ANN401 - as Issuer's
        answer = sent(request, deadline)
        if house.issuer.forms and "subject_token" in house.issuer.forms[-1]:
            raise broken
        return answer

    house.issuer.send = send  # type: ignore[method-assign]  # as any issuer may
    with pytest.raises(DeniedError, match="gave write too"):
        house.narrow()
    assert house.issuer.asked() == ["refresh", "exchange", "exchange"]
    assert refresh_token(house) in house.issuer.alive
    assert [one.reason for one in queued(house) if not one.value] != []
    assert intent(house) is None


# Habits of issuers

OF_CLIENT = ["unsupported_grant_type", "unauthorized_client", "access_denied", "invalid_client"]
OF_CLIENT += ["invalid_request", "invalid_grant", "x"]
OF_TARGET = ["invalid_target", "invalid_scope"]


@pytest.mark.parametrize("code", OF_CLIENT + OF_TARGET)
def test_a_refused_exchange(house: NarrowingHouse, code: str) -> None:
    """The next way is taken in the same request, and the exchange is not asked for again.

    No code of it ends the grant, also none that a profile knows of its issuer.
    """
    house.profiles["p"] = PERSON.replace(grant_ended_errors=("x",))
    house.issuer.exchange = code
    assert house.get(scopes=("read",)).scopes == ("read",)
    assert house.issuer.asked() == ["exchange", "refresh"]
    house.get(scopes=("read",), is_fresh=True)
    assert house.issuer.asked() == ["refresh"]
    house.get(is_fresh=True)
    house.issuer.asked()
    house.narrow("write")
    assert house.issuer.asked() == (["refresh"] if code in OF_CLIENT else ["exchange", "refresh"])
    assert intent(house) is None
    assert house.log.of("grant.ended") == []


def test_a_dead_grant_teaches_nothing_of_the_client(tmp_path: Path) -> None:
    """Its token was refused for its own sake: the other subjects' are exchanged as before."""
    house = NarrowingHouse(str(tmp_path), NarrowingIssuer())
    house.issuer.alive.clear()
    with pytest.raises(Exception, match="has ended"):
        house.narrow()
    assert house.issuer.asked() == ["exchange", "refresh"]
    key = next(one.key for one in slots_of(house))
    assert not house.known.is_exchange_refused(key.replace(scopes=("read",)), time.time())


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_without_a_word(house: NarrowingHouse, status: int) -> None:
    """A page that says nothing is a refusal too: the scopes are met by a refresh."""
    house.issuer.exchange = status
    house.narrow()
    assert house.issuer.asked() == ["exchange", "refresh"]


def test_after_a_day_it_is_asked_again(house: NarrowingHouse) -> None:
    """As its metadata is; and after a login at once, for a person may have changed the client."""
    house.issuer.exchange = "unauthorized_client"
    house.narrow()
    key = next(one.key for one in slots_of(house) if one.key.scopes == ("read",))
    now = time.time()
    assert house.known.is_exchange_refused(key, now)
    assert house.known.is_exchange_refused(key.replace(scopes=("write",)), now)
    other = key.replace(grant=key.grant.replace(client_id="other"))
    assert not house.known.is_exchange_refused(other, now)
    assert not house.known.is_exchange_refused(key, now + 86401)
    house.log_in()
    assert not house.known.is_exchange_refused(key, now)


def slots_of(house: House) -> tuple[Any, ...]:
    """Return the slots of the person's grant."""
    with house.store.lock_grant(KEY, soon()) as locked:
        return locked.state.slots


def test_what_is_noted_stays_small(house: NarrowingHouse) -> None:
    """However many scopes a client tries; the newest are kept."""
    key = slots_of(house)[0].key
    for number in range(100):
        asked = key.replace(scopes=(f"s{number}",))
        house.known.note_refused_exchange(asked, time.time() + number, is_of_client=False)
    kept = [
        number
        for number in range(100)
        if house.known.is_exchange_refused(key.replace(scopes=(f"s{number}",)), time.time() + 100)
    ]
    assert kept == list(range(36, 100))


@pytest.mark.parametrize("fault", [503, "broken"])
def test_an_issuer_in_trouble(house: NarrowingHouse, fault: int | str) -> None:
    """Two requests, exit 5, and the next command takes the next way: one failure, not many."""
    house.issuer.faults = [BrokenError("broken") if fault == "broken" else 503] * 2
    with pytest.raises(IssuerError):
        house.narrow()
    assert house.issuer.asked() == ["exchange", "exchange"]
    assert intent(house) is None
    assert house.narrow(is_fresh=True) in house.issuer.alive
    assert house.issuer.asked() == ["refresh"]


# Nothing lives that nobody holds


def test_a_lost_answer_is_told(house: NarrowingHouse) -> None:
    """It has no grant that ends it: `revoke` says that a token may be alive, and until when."""
    house.issuer.lost = {"token"}
    with pytest.raises(IssuerError):
        house.narrow()
    (failed,) = house.log.of("grant.refresh_failed")
    assert "may be alive" in failed["reason"]
    (item,) = queued(house)
    assert not item.value
    assert item.expires_at is not None
    house.issuer.lost = set()
    ended = house.revoker.revoke(PERSON, KEY)
    told = [one for one in ended if "no answer" in one.reason]
    assert [(one.outcome, one.until) for one in told] == [("local_only", item.expires_at)]
    assert len(house.issuer.alive) == 1


def test_the_lost_one_of_two_tries_is_told(house: NarrowingHouse) -> None:
    """The second try brought the token; the first may have brought one too."""
    house.issuer.faults = [BrokenError("broken")]
    narrow = house.narrow()
    assert house.issuer.asked() == ["exchange", "exchange"]
    assert [bool(one.value) for one in queued(house)] == [False]
    assert narrow in house.issuer.alive
    house.revoker.revoke(PERSON, KEY)
    assert len(house.issuer.alive) == 1


def test_a_killed_exchange_is_told(house: NarrowingHouse) -> None:
    """The next request says so in its record, and `revoke` says it to whom it asks."""
    with house.store.lock_grant(KEY, soon()) as locked:
        grant = locked.state.grant
        assert grant is not None
        cut = Intent(kind="exchange", generation=grant.generation, at=time.time() - 5, key=KEY)
        locked.intend(cut.replace(pid=os.getpid()))
    house.narrow()
    assert house.issuer.asked() == ["exchange"], "it says nothing of the refresh token"
    (issued,) = house.log.of("token.issued")
    assert "an earlier request was cut off" in issued["reason"]
    assert [bool(one.value) for one in queued(house)] == [False]
    assert intent(house) is None
    ended = house.revoker.revoke(PERSON, KEY)
    assert [one.outcome for one in ended if "no answer" in one.reason] == ["local_only"]


def test_a_refresh_that_was_cut_off_comes_first(house: NarrowingHouse) -> None:
    """Only another refresh tells what became of the grant: an exchange would hide it."""
    with house.store.lock_grant(KEY, soon()) as locked:
        grant = locked.state.grant
        assert grant is not None
        locked.intend(Intent(kind="refresh", generation=grant.generation, at=time.time(), key=KEY))
    house.narrow()
    assert house.issuer.asked() == ["refresh"]


def test_revoke_reaches_it(house: NarrowingHouse) -> None:
    """At this issuer it has a grant of its own, and outlives the one that it came of."""
    narrow, other = house.narrow(), house.narrow("write")
    assert {"x" in one for one in (narrow, other)} == {True}
    ended = house.revoker.revoke(PERSON, KEY)
    assert house.issuer.alive == set()
    assert {one.outcome for one in ended} == {"revoked"}
    assert len(ended) == 4  # refresh token, the whole token, and two narrow ones


def test_a_session_s_own_ends_with_it(house: NarrowingHouse) -> None:
    """It is revoked, the grant and the shared token live on, and no refresh token was spent."""
    whole, before = house.get().value.reveal(), refresh_token(house)
    own = house.own("s1", scopes=("read",)).value.reveal()
    assert house.issuer.asked() == ["exchange"]
    house.revoker.revoke_session(PERSON, KEY, "s1")
    assert own not in house.issuer.alive
    assert {whole, before} <= house.issuer.alive


def test_its_end_teaches_nothing_of_the_others(house: NarrowingHouse) -> None:
    """An issuer may end the grant with every token but those: no KEEPS is learnt of one."""
    house.issuer.is_family = True
    house.own("s1", scopes=("read",))
    house.revoker.revoke_session(PERSON, KEY, "s1")
    assert house.known.find_learnt(URL) is None
    assert refresh_token(house) in house.issuer.alive
    house.own("s2")
    house.revoker.revoke_session(PERSON, KEY, "s2")
    found = house.known.find_learnt(URL)
    assert found is not None
    assert found.word != KEEPS


def test_a_login_leaves_none_of_it(house: NarrowingHouse) -> None:
    """What the earlier grant was exchanged for is served no more, and revoked with it."""
    narrow = house.narrow()
    house.known.learn(PERSON, URL, KEEPS, time.time())
    house.log_in()
    house.issuer.asked()
    assert house.narrow() != narrow
    assert narrow not in house.issuer.alive


def test_an_ended_grant_serves_none_of_it(house: NarrowingHouse) -> None:
    """The issuer's `invalid_grant` for the grant ends what hangs on it here."""
    narrow = house.narrow()
    house.issuer.alive.discard(refresh_token(house))
    with pytest.raises(Exception, match="has ended"):
        house.get(is_fresh=True)
    with pytest.raises(Exception, match="has ended"):
        house.narrow()
    house.revoker.retry(PERSON, KEY)
    house.revoker.revoke(PERSON, KEY)
    assert narrow not in house.issuer.alive
