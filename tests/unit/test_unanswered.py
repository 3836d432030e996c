"""A client's request without an answer may have brought a token: record and `revoke` say so."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from brokerctl.broker.held_grants import keys_of
from brokerctl.broker.request import grant_key
from brokerctl.broker.unanswered_requests import WHY_LOGIN
from brokerctl.errors import BrokerError, IssuerError, LoginNeededError, OAuthError, UnsentError
from brokerctl.oauth.message import BrokenError, HttpRequest, HttpResponse
from brokerctl.oauth.steps import Send, Wait
from brokerctl.store.backup import backup, restore
from brokerctl.store.values import Intent
from tests.issuer_room import KEY, PERSON, SERVICE, URL, House
from tests.store_room import soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.broker.revoke import Ending
    from brokerctl.model import GrantKey

CLIENT = grant_key(SERVICE)
SAID = "a request that got no answer may have brought it"
SILENT = IssuerError("the issuer timed out")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Make a house in which nothing is held yet."""
    return House(str(tmp_path / "store"))


def fail(house: House, *faults: BaseException | int) -> None:
    """Ask for a client's token in vain."""
    house.issuer.faults = list(faults)
    with pytest.raises(BrokerError):
        house.get("s", is_fresh=True)


def unknown(endings: list[Ending]) -> list[Ending]:
    """Return what was said of tokens that nobody knows."""
    return [one for one in endings if one.reason.startswith(SAID)]


def revoke(house: House) -> list[Ending]:
    """Revoke as the command does; none of these endings is a token's end."""
    found = unknown(house.revoker.revoke(SERVICE, CLIENT))
    assert not any(ending.is_dead for ending in found)
    assert "" not in [value for _, value in house.issuer.sent]
    return found


def test_a_request_without_an_answer_is_told(house: House) -> None:
    """Nothing is held, and not all is dead: the record says so, and so does `revoke`."""
    fail(house, SILENT)
    (said,) = house.log.of("grant.refresh_failed")
    assert said["reason"] == "no answer came: a token of it may be alive until it expires"
    (ending,) = revoke(house)
    assert (ending.outcome, ending.until, ending.kind) == ("local_only", None, "access_token")
    assert house.log.of("token.revoked")[0]["reason"].startswith(SAID)
    assert house.revoker.revoke(SERVICE, CLIENT) == []  # told once, where no end is known


def test_it_is_told_until_it_has_expired(house: House) -> None:
    """How long its tokens live the issuer says with the next one; only then it is forgotten."""
    fail(house, BrokenError("cut"), SILENT)
    house.issuer.faults = []
    house.get("s", is_fresh=True)
    for _ in range(2):
        untils = [one.until for one in revoke(house)]
        assert untils == [pytest.approx(time.time() + 3600, abs=60)] * 2
        house.revoker.retry(SERVICE, CLIENT)  # as any later command does
    with house.store.lock_grant(CLIENT, soon()) as locked:
        locked.enqueue(*(one.replace(expires_at=time.time() - 1) for one in locked.state.queue))
    house.revoker.retry(SERVICE, CLIENT)
    assert revoke(house) == []


def test_what_an_earlier_token_says_of_lifetimes_counts(house: House) -> None:
    """The issuer's word on another token of this client, before or after."""
    house.get("s")
    fail(house, SILENT)
    (ending,) = revoke(house)
    assert ending.until == pytest.approx(time.time() + 3600, abs=60)


def test_a_retry_that_brings_a_token_may_have_brought_two(house: House) -> None:
    """A connection that broke after the request is asked again at once; both may be alive."""
    house.issuer.faults = [BrokenError("cut")]
    first = house.get("s").value.reveal()
    assert len(house.issuer.alive) == 2
    assert len(revoke(house)) == 1
    assert first not in house.issuer.alive


@pytest.mark.parametrize("faults", [[UnsentError("nobody listens")], [400], [503, 503], [401]])
def test_what_was_not_sent_or_was_answered_is_not(
    house: House, faults: list[BaseException | int]
) -> None:
    """An issuer that could not be reached, or said no, minted nothing."""
    fail(house, *faults)
    assert "reason" not in house.log.of("grant.refresh_failed")[0]
    assert revoke(house) == []


@pytest.mark.parametrize("is_asked_again", [False, True])
def test_a_process_that_was_killed_in_a_request_is_told_of(
    house: House, *, is_asked_again: bool
) -> None:
    """Its intent says so; a success after it clears the intent and not what is not known."""
    house.get("s")
    with house.store.lock_grant(CLIENT, soon()) as locked:
        locked.intend(Intent(kind="issue", generation=0, at=time.time() - 5))
    if is_asked_again:
        house.get("s", is_fresh=True)
    assert len(revoke(house)) == 1
    with house.store.lock_grant(CLIENT, soon()) as locked:
        assert locked.state.earlier_intent is None


def test_a_person_s_grant_reaches_what_it_gave(house: House) -> None:
    """A refresh without an answer leaves its intent: revoking the grant ends its tokens."""
    house.log_in()
    house.issuer.faults = [SILENT]
    with pytest.raises(IssuerError):
        house.get(is_fresh=True)
    assert unknown(house.revoker.revoke(PERSON, KEY)) == []


def test_a_backup_brings_it_along(house: House) -> None:
    """Each of them, under its own name: they have no values that could tell them apart."""
    fail(house, SILENT)
    fail(house, IssuerError("again"))
    archive, _ = backup(house.store, bytes(32), {"name": "none"})
    house.folder += "-restored"
    house.open()
    assert not restore(house.store, archive, lambda _: bytes(32)).refused
    assert len(revoke(house)) == 2


@pytest.mark.parametrize("names", [{"s"}, None])
def test_a_client_s_very_first_request_that_was_killed_is_found(
    house: House, names: set[str] | None
) -> None:
    """Nothing but its intent is there: the profile's own grant is looked at."""
    assert keys_of(house.store, house.profiles, names, None) == []
    with house.store.lock_grant(CLIENT, soon()) as locked:
        locked.intend(Intent(kind="issue", generation=0, at=time.time() - 5))
    assert (SERVICE, CLIENT) in keys_of(house.store, house.profiles, names, None)
    assert len(revoke(house)) == 1
    assert keys_of(house.store, house.profiles, {"other"}, None) == []


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_login_that_was_killed_is_told_of(house: House, *, is_stored: bool) -> None:
    """Unless its grant is on the disk, the issuer may have made one that nobody holds."""
    house.log_in()
    with house.store.lock_grant(KEY, soon()) as locked:
        ahead = 0 if is_stored else 1
        generation = locked.next_generation - 1 + ahead
        locked.intend(Intent(kind="login", generation=generation, at=time.time() - 5))
    endings = house.revoker.revoke(PERSON, KEY)
    told = [one for one in endings if one.reason.startswith(WHY_LOGIN)]
    assert [one.kind for one in told] == ([] if is_stored else ["refresh_token"])
    assert house.revoker.revoke(PERSON, KEY) == []  # told once


def killed_login(house: House, key: GrantKey = KEY) -> None:
    """Leave what a login leaves that is killed while it waits for its answer."""
    with house.store.lock_grant(key, soon()) as locked:
        locked.intend(Intent(kind="login", generation=locked.next_generation, at=time.time() - 5))


def told_logins(house: House) -> int:
    """Revoke, and count the grants of logins that nobody holds."""
    endings = house.revoker.revoke(PERSON, KEY)
    return sum(one.reason.startswith(WHY_LOGIN) for one in endings)


def log_in_again(house: House) -> None:
    """Log in as the next command does."""
    house.log_in()


def refresh(house: House) -> None:
    """Refresh as the next command does."""
    house.get(is_fresh=True)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("then", [log_in_again, refresh])
def test_what_comes_after_a_killed_login_does_not_hide_it(
    house: House, then: Callable[[House], None], *, is_first: bool
) -> None:
    """Its intent gives way to another; the grant that it may have brought is queued before."""
    if not is_first or then is refresh:
        house.log_in()
    killed_login(house)
    then(house)
    assert told_logins(house) == 1
    assert told_logins(house) == 0


def pending(code: str, status: int = 400) -> HttpResponse:
    """Return an answer to a poll (RFC 8628, 3.5)."""
    return HttpResponse(status=status, body=f'{{"error": "{code}"}}'.encode())


@pytest.mark.parametrize("end", [LoginNeededError("too late"), OAuthError("access_denied")])
@pytest.mark.parametrize(
    ("answers", "is_told"),
    [
        ([SILENT], True),
        ([SILENT, UnsentError("nobody listens")], True),
        ([SILENT, pending("invalid_grant")], True),
        ([SILENT, pending("expired_token")], True),
        ([SILENT, pending("slow_down", 429)], True),
        ([SILENT, pending("authorization_pending", 503)], True),
        ([SILENT, pending("authorization_pending")], False),
        ([SILENT, pending("slow_down")], False),
        ([pending("authorization_pending"), SILENT], True),
        ([UnsentError("nobody listens")], False),
        ([pending("expired_token")], False),
    ],
)
def test_a_poll_without_an_answer_is_told_of(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[HttpResponse | IssuerError],
    end: BrokerError,
    *,
    is_told: bool,
) -> None:
    """The person may have entered the code just then; only a later answer disproves it."""
    end.message = "it ends"
    replies = iter(answers)

    def answer(step: object) -> HttpResponse | None:
        if not isinstance(step, Send):
            return None
        reply = next(replies)
        if isinstance(reply, IssuerError):
            raise IssuerError(reply.message) if not isinstance(reply, UnsentError) else reply
        return reply

    def poll(_steps: object, desk: Any) -> NoReturn:  # noqa: ANN401 - the locked login
        for _ in answers:
            desk.do(Wait(seconds=1))
            with suppress(IssuerError):
                desk.do(Send(request=HttpRequest(method="POST", url=f"{URL}/token")))
        raise end

    monkeypatch.setattr(house, "do", answer)
    monkeypatch.setattr(house, "_run", poll)
    with pytest.raises(type(end)) as caught:
        house.log_in()
    assert ("may have made a grant" in caught.value.message) == is_told
    assert told_logins(house) == is_told


def test_who_gives_up_while_an_answer_is_missing_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control-C ends the login and not what the issuer may have made."""

    def give_up(_steps: object, desk: Any) -> NoReturn:  # noqa: ANN401 - as above
        with suppress(IssuerError):
            desk.do(Send(request=HttpRequest(method="POST", url=f"{URL}/token")))
        raise KeyboardInterrupt

    def say_nothing(_step: object) -> NoReturn:
        raise IssuerError("the issuer timed out")

    monkeypatch.setattr(house, "do", say_nothing)
    monkeypatch.setattr(house, "_run", give_up)
    with pytest.raises(KeyboardInterrupt):
        house.log_in()
    assert told_logins(house) == 1


@pytest.mark.parametrize("then", [log_in_again, refresh])
def test_a_login_that_was_killed_after_its_grant_was_stored_is_not_told_of(
    house: House, then: Callable[[House], None]
) -> None:
    """Its grant is held: a later intent that takes the place of its own hides nothing."""
    house.log_in()
    with house.store.lock_grant(KEY, soon()) as locked:
        at = locked.next_generation - 1
        locked.intend(Intent(kind="login", generation=at, at=time.time() - 5))
    then(house)
    assert told_logins(house) == 0
