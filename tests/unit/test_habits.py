"""Revoking an access token ends the grant at some issuers: learnt, said, and never done twice."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.broker.issuer import IssuerClient
from brokerctl.broker.known_issuers import ENDS, KEEPS
from brokerctl.broker.request import grant_key
from brokerctl.errors import LoginNeededError
from brokerctl.model import SUPERSEDED
from brokerctl.secret import Secret
from brokerctl.store.check import METADATA_S, gc
from brokerctl.store.entry import QUEUE
from brokerctl.store.slots import queue_item, queue_token
from tests.faults.faulty import FaultySystem
from tests.issuer_room import KEY, PERSON, SERVICE, URL, House, Issuer
from tests.store_room import RING, soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.broker.revoke import Ending
    from brokerctl.oauth.message import HttpRequest, HttpResponse


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Log a person in."""
    made = House(str(tmp_path / "store"))
    made.log_in()
    return made


def learnt(house: House) -> str | None:
    """Return what is kept of the issuer."""
    found = house.known.find_learnt(URL)
    return None if found is None else found.word


def told(house: House) -> list[str]:
    """Return the kinds of tokens that the issuer was told to revoke, and forget them."""
    found = [value[0] for endpoint, value in house.issuer.sent if endpoint == "revoke"]
    house.issuer.sent.clear()
    return found


def end_session(house: House, name: str = "s1") -> list[Ending]:
    """Run a session with a token of its own, and end it."""
    house.own(name)
    return house.revoker.revoke_session(house.profiles["p"], KEY, name)


def test_a_grant_that_ended_with_a_session_is_said_at_once_and_once(house: House) -> None:
    """Introspection shows it: it is told, learnt and ended here, and the next one is spared."""
    house.issuer.is_family = True
    shared = house.get().value.reveal()
    (ending,) = end_session(house)
    assert ending.outcome == "revoked"
    assert ending.notice.startswith("the grant for 'p' has ended: its issuer ended it when")
    assert 'revoke_at_exit = "none"' in ending.notice
    assert (learnt(house), len(house.log.of("grant.ended"))) == ("ends", 1)
    with pytest.raises(LoginNeededError, match="an access token of it was revoked"):
        house.get()
    assert shared not in house.issuer.alive
    house.log_in()
    told(house)
    (spared,) = end_session(house, "s2")
    assert (spared.outcome, spared.until is not None, spared.notice) == ("local_only", True, "")
    assert told(house) == []
    assert house.get(is_fresh=True).value.reveal() in house.issuer.alive


@pytest.mark.parametrize("knows", ["a", ""])
def test_a_grant_found_dead_later_is_explained(house: House, knows: str) -> None:
    """Where introspection knows no refresh tokens the next refresh tells, and it is learnt."""
    house.issuer.is_family, house.issuer.knows = True, knows
    (ending,) = end_session(house)
    assert (ending.notice, learnt(house)) == ("", None)
    with pytest.raises(LoginNeededError, match="it was asked to revoke") as raised:
        house.get(is_fresh=True)
    assert 'revoke_at_exit = "none"' in str(raised.value.hint)
    assert learnt(house) == "ends"
    house.log_in()
    told(house)
    assert [one.outcome for one in end_session(house, "s2")] == ["local_only"]
    assert told(house) == []


def test_an_end_that_was_not_ours_teaches_nothing(house: House) -> None:
    """A refresh has worked since the revocation: what ended the grant after it was another's."""
    house.issuer.knows = ""
    end_session(house)
    house.get(is_fresh=True)
    house.issuer.alive.clear()
    with pytest.raises(LoginNeededError) as raised:
        house.get(is_fresh=True)
    assert "asked to revoke" not in raised.value.message
    assert learnt(house) is None


def test_a_refused_revocation_teaches_nothing(house: House) -> None:
    """A signed token that can't be revoked has ended nothing, whatever becomes of the grant."""
    house.issuer.revocation = 400
    assert [one.outcome for one in end_session(house)] == ["local_only"]
    house.issuer.alive.clear()
    with pytest.raises(LoginNeededError) as raised:
        house.get(is_fresh=True)
    assert "asked to revoke" not in raised.value.message
    assert learnt(house) is None


def test_a_refused_revocation_hides_no_earlier_one(house: House) -> None:
    """What was noted when a token was really revoked stays, whatever comes of the next."""
    house.issuer.knows = ""
    for name in ("s1", "s2"):
        house.own(name)
    house.revoker.revoke_session(PERSON, KEY, "s1")
    house.issuer.revocation = 400
    house.revoker.revoke_session(PERSON, KEY, "s2")
    house.issuer.alive.clear()
    with pytest.raises(LoginNeededError, match="it was asked to revoke"):
        house.get(is_fresh=True)


def test_a_grant_that_lives_on_is_learnt_too(house: House) -> None:
    """Seen once, it is not looked at again; and what falls off its slot is revoked from then on."""
    assert [one.outcome for one in end_session(house)] == ["revoked"]
    assert learnt(house) == "keeps"
    assert {token.session for token in house.tokens()} == {None}  # nothing is left of the session
    house.issuer.sent.clear()
    end_session(house, "s2")
    assert "introspect" not in [endpoint for endpoint, _ in house.issuer.sent]


def test_a_token_that_no_revocation_ends_proves_nothing(house: House) -> None:
    """A 200 that changed nothing, as for signed tokens, says nothing of those that really end."""
    house.issuer.knows = "r"
    end_session(house)
    assert learnt(house) is None


def test_a_lost_answer_may_have_ended_it(house: House) -> None:
    """The revocation timed out and was carried out: the grant's end is found all the same."""
    house.issuer.is_family, house.issuer.lost = True, {"revoke"}
    (ending,) = end_session(house)
    assert ending.outcome == "unknown"
    assert (bool(ending.notice), learnt(house)) == (True, "ends")


def test_a_silent_introspection_costs_no_revocation(house: House) -> None:
    """What is only asked to learn something must not keep a token alive."""
    house.issuer.lost = {"introspect"}
    assert [one.outcome for one in end_session(house)] == ["revoked"]
    asked = house.issuer.deadlines
    assert asked["introspect"] < asked["revoke"] - 10  # seconds that are left for what counts


def test_a_client_s_own_tokens_are_revoked_whatever_is_known(house: House) -> None:
    """No person's grant hangs on them: flows without a person are not hindered."""
    house.known.learn(PERSON, URL, ENDS, time.time())
    house.own("s1", "s")
    (ending,) = house.revoker.revoke_session(SERVICE, grant_key(SERVICE), "s1")
    assert ending.outcome == "revoked"


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (None, None, "local_only"),
        ("access", "access", "local_only"),
        ("access", None, "local_only"),
        (None, "access", "revoked"),
        (None, "none", "local_only"),
        ("none", "access", "revoked"),
        ("none", None, "revoked"),
    ],
)
def test_the_profile_has_the_last_word_once_it_was_told(
    house: House, before: str | None, after: str | None, outcome: str
) -> None:
    """What a profile said before it was known binds nobody; what it says afterwards does."""
    house.issuer.is_family = True
    house.profiles["p"] = PERSON.replace(revoke_at_exit=before)
    end_session(house)
    house.profiles["p"] = PERSON.replace(revoke_at_exit=after)
    house.log_in()
    assert [one.outcome for one in end_session(house, "s2")] == [outcome]


def test_it_is_known_for_as_long_as_anything_is_held(house: House) -> None:
    """`gc` removes old metadata; what was learnt stays while a grant or slot of the issuer does."""
    house.known.learn(PERSON, URL, ENDS, time.time())
    gc(house.store, time.time() + METADATA_S + 10)
    assert learnt(house) == "ends"


def session(house: House) -> None:
    """The end of an `exec`."""
    house.own("s1")
    house.issuer.sent.clear()
    house.revoker.revoke_session(house.profiles["p"], KEY, "s1")


def queued_session(house: House) -> None:
    """The queue, which has a session's token whose revocation failed."""
    house.own("s1")
    house.issuer.is_down = True
    house.revoker.revoke_session(house.profiles["p"].replace(revoke_at_exit="access"), KEY, "s1")
    house.issuer.is_down = False
    house.revoker.retry(house.profiles["p"], KEY)


def fallen_off(house: House) -> None:
    """A token that fell off the end of its slot, which nobody asked to be revoked."""
    token = house.tokens()[0]
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.settle(token.fingerprint, SUPERSEDED)
        locked.enqueue(queue_token(token, time.time(), SUPERSEDED))
    house.revoker.retry(house.profiles["p"], KEY)


def log_in_again(house: House) -> None:
    """A login over a living grant, whose refresh token goes first."""
    house.log_in()


def log_in_over_a_dead_one(house: House) -> None:
    """A login after the grant had ended: nothing of it is at stake but the new one."""
    house.issuer.alive = {value for value in house.issuer.alive if value[0] == "a"}
    with contextlib.suppress(LoginNeededError):
        house.get(is_fresh=True)
    house.log_in()


def whole(house: House) -> None:
    """`revoke`: everything."""
    house.revoker.revoke(house.profiles["p"], KEY)


PLACES: dict[
    Callable[[House], None], tuple[list[str], list[str], list[str]]
] = {  # what is revoked where the habit is: unknown, ends, keeps
    session: (["a"], [], ["a"]),
    queued_session: (["a"], [], ["a"]),
    fallen_off: ([], [], ["a"]),
    log_in_again: (["r", "a"], ["r"], ["r", "a"]),
    log_in_over_a_dead_one: ([], [], ["a"]),
    whole: (["r", "a"], ["r", "a"], ["r", "a"]),
}


@pytest.mark.parametrize("habit", [None, ENDS, KEEPS])
@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_revokes_access_tokens(
    house: House, place: Callable[[House], None], habit: str | None
) -> None:
    """Asked for: unless it is known to end the grant. For tidiness: only if it is known not to."""
    if habit is not None:
        house.known.learn(PERSON, URL, habit, time.time())
    place(house)
    expected = PLACES[place][[None, ENDS, KEEPS].index(habit)]
    assert told(house) == expected
    kept = {one["outcome"] for one in house.log.of("token.revoked")}
    assert ("local_only" in kept) == ("a" not in expected)


def test_a_failed_attempt_is_counted_and_forgets_nothing(house: House) -> None:
    """Why a token is queued stays with it: what nobody asked for is still that after a failure."""
    house.known.learn(PERSON, URL, KEEPS, time.time())
    house.issuer.is_down = True
    tidy, wanted = house.tokens()[0], house.own_token("s1")
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.enqueue(queue_token(tidy, time.time(), SUPERSEDED), queue_token(wanted, time.time()))
        locked.settle_all({tidy.fingerprint: "unknown", wanted.fingerprint: "unknown"})
    for _ in range(2):
        house.revoker.retry(PERSON, KEY)
    (entry,) = house.store.entries(QUEUE)
    found = {item.fingerprint: (item.attempts, item.reason) for item in entry.value.items}
    assert found == {
        tidy.fingerprint: (2, SUPERSEDED),
        wanted.fingerprint: (2, "the issuer is down"),
    }


def test_what_is_served_is_not_revoked_by_the_queue(house: House) -> None:
    """A login that asked whether to keep its grant queues it first, and may be killed after it."""
    (token,) = house.tokens()
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.enqueue(queue_token(token, time.time()))
    assert house.revoker.retry(PERSON, KEY) == []
    assert (told(house), list(house.store.entries(QUEUE))) == ([], [])
    assert house.get().value == token.value


def test_a_revoke_goes_from_the_oldest_on_and_records_its_proof(house: House) -> None:
    """The refresh token first, then by age whatever the slot; the record says what was proven."""
    for scopes in (("read",), None, ("read",), None):
        house.get(is_fresh=True, scopes=scopes)
    house.issuer.sent.clear()
    house.revoker.revoke(PERSON, KEY, verify=True)
    asked = [value for endpoint, value in house.issuer.sent if endpoint == "revoke"]
    ages = [int(value[1:].partition("-")[0]) for value in asked]
    assert (asked[0][0], ages[1:]) == ("r", sorted(ages[1:]))
    records = house.log.of("grant.revoked") + house.log.of("token.revoked")
    assert [one["proven"] for one in records] == [True] * 6


def test_what_was_queued_before_it_goes_after_the_refresh_token(house: House) -> None:
    """One that fell off its slot, say: else a new token could be minted while it is revoked."""
    fallen = queue_item(RING, Secret("a0-fallen"), "access_token", time.time())
    with house.store.lock_grant(KEY, soon()) as locked:
        locked.enqueue(fallen)
    told(house)
    house.revoker.revoke(PERSON, KEY)
    assert told(house) == ["r", "a", "a"]


class Silent(Issuer):
    """An issuer that answers no introspection once something was revoked."""

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer, and see what was asked."""
        if request.url.endswith("/revoke"):
            self.lost.add("introspect")
        return super().send(request, deadline)


def test_silence_after_a_revocation_proves_no_end(tmp_path: Path) -> None:
    """The refresh token was called active, and is called nothing now: the grant is left alone."""
    house = House(str(tmp_path / "store"))
    house.issuer = Silent()
    house.log_in()
    (ending,) = end_session(house)
    assert (ending.outcome, ending.notice, learnt(house)) == ("revoked", "", None)
    assert house.get(is_fresh=True).value.reveal() in house.issuer.alive


def test_without_introspection_nothing_is_called_proven(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 200 is the issuer's word; `--verify` says no more than was asked."""
    monkeypatch.setattr(IssuerClient, "introspect", lambda *_: None)
    endings = house.revoker.revoke(PERSON, KEY, verify=True)
    assert [(one.outcome, one.is_proven) for one in endings] == [("revoked", None)] * 2


def syncs(tmp_path: Path, count: int) -> int:
    """Log in over a grant with so many older tokens; return how often the store was synced."""
    house = House(str(tmp_path / str(count)))
    house.log_in()
    for _ in range(count):
        house.get(is_fresh=True)
    system = FaultySystem(names=("fsync", "fdatasync"))
    house.open(system)
    house.log_in()
    assert len(house.log.of("token.revoked")) == count + 1
    return system.count


def test_a_login_syncs_no_more_for_many_tokens_than_for_one(tmp_path: Path) -> None:
    """What a grant gave is queued, settled and taken from the queue at once, not one by one."""
    assert syncs(tmp_path, 14) == syncs(tmp_path, 1)


class Witness(Issuer):
    """An issuer that looks into our queue at each revocation."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.queued: list[int] = []

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Look, and answer."""
        if request.url.endswith("/revoke"):
            (entry,) = self.house.store.entries(QUEUE)
            self.queued.append(len(entry.value.items))
        return super().send(request, deadline)


def test_all_are_queued_before_any_is_revoked(tmp_path: Path) -> None:
    """A kill in the middle of the revocations leaves every one of them to the next command."""
    house = House(str(tmp_path / "store"))
    house.issuer = witness = Witness(house)
    house.log_in()
    for _ in range(3):
        house.get(is_fresh=True)
    house.revoker.revoke(PERSON, KEY)
    assert witness.queued == [5] * 5
    assert list(house.store.entries(QUEUE)) == []
