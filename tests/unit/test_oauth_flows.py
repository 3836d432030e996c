"""Client credentials, refresh, device, revocation and introspection on canned answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import IssuerError, LoginNeededError, OAuthError, UsageError
from brokerctl.model import FLOWS
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.flows.device import parse_device_response
from brokerctl.oauth.flows.refresh import refresh
from brokerctl.oauth.message import BrokenError
from brokerctl.oauth.revocation import introspect, parse_active, parse_revocation, revoke
from brokerctl.oauth.steps import ShowUserCode, Wait
from brokerctl.secret import Secret
from tests.flows import ISSUER, NOW, answer, context, form_of, issued, metadata, play, profile

if TYPE_CHECKING:
    from brokerctl.oauth.message import HttpResponse
    from tests.flows import Played

RT = Secret("rt-1")
BROKE = BrokenError("the connection broke")
LATE = IssuerError("did not answer in time")
CODES = {
    "device_code": "dc-1",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/device",
    "verification_uri_complete": f"{ISSUER}/device?c=1",
    "expires_in": 600,
}
PENDING = answer({"error": "authorization_pending"}, 400)
SLOW_DOWN = answer({"error": "slow_down"}, 400)


def test_client_credentials_ask_for_what_was_decided() -> None:
    """Scopes, each resource and extra go out; a refresh token that comes back is dropped."""
    of = profile(
        scopes=("a",), resource=("https://r1", "https://r2"), extra='{"l":["1","2"],"n":3}'
    )
    flow = find_flow("client_credentials")
    played = play(flow.obtain(context(of)), issued(refresh_token="rt"))
    assert form_of(played.requests[0]) == {
        "grant_type": ["client_credentials"],
        "scope": ["a"],
        "resource": ["https://r1", "https://r2"],
        "l": ["1", "2"],
        "n": ["3"],
        "client_id": ["cli"],
    }
    assert played.value.refresh_token is None


def test_every_flow_of_the_table_exists() -> None:
    """Each entry loads; a flow of a later version is refused."""
    assert {traits.needs_person for traits in FLOWS.values()} == {True, False}
    with pytest.raises(UsageError, match="not in this version"):
        find_flow("static")


def test_a_refresh_repeats_no_scope() -> None:
    """Scopes are sent only where the request is narrower than the profile."""
    of = profile(scopes=("a", "b"), resource=("https://r",))
    whole = play(refresh(context(of), RT), issued())
    assert form_of(whole.requests[0]) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["rt-1"],
        "resource": ["https://r"],
        "client_id": ["cli"],
    }
    assert whole.value.scopes == ("a", "b")
    narrow = play(refresh(context(of, scopes=("a",)), RT, granted=("a", "b")), issued())
    assert form_of(narrow.requests[0])["scope"] == ["a"]
    assert narrow.value.scopes == ("a",)
    assert play(refresh(context(of), RT, granted=("b",)), issued()).value.scopes == ("b",)


@pytest.mark.parametrize("first", [answer(b"", 500), answer(b"<html>", 503), BROKE])
def test_a_refresh_is_tried_once_more_at_once(first: HttpResponse | BaseException) -> None:
    """A 5xx or a broken connection costs one more request and no wait."""
    played = play(refresh(context(), RT), first, issued())
    assert len(played.steps) == 2
    with pytest.raises(IssuerError):
        play(refresh(context(), RT), first, answer(b"", 503))


@pytest.mark.parametrize(
    "first", [LATE, answer(b"", 400), answer(b"", 429), answer({"error": "invalid_grant"}, 400)]
)
def test_a_refresh_is_not_repeated_otherwise(first: HttpResponse | BaseException) -> None:
    """A time-out may still be under way, and a no is a no."""
    with pytest.raises(IssuerError):
        play(refresh(context(), RT), first)


def test_an_issuer_without_the_endpoint_is_named() -> None:
    """The hint says which key helps."""
    ctx = context(about=metadata(token_endpoint=None))
    with pytest.raises(IssuerError, match="names no token_endpoint") as caught:
        play(refresh(ctx, RT))
    assert caught.value.hint is not None
    assert "token_endpoint" in caught.value.hint


class Clock:
    """A clock that the waits of a flow move."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def __call__(self) -> float:
        """Return the time after all waits so far."""
        return NOW + sum(step.seconds for step in self.steps if isinstance(step, Wait))


def device(*answers: HttpResponse | BaseException, **changes: object) -> Played:
    """Run the device flow on a clock that the waits move."""
    clock = Clock()
    flow = find_flow("device").obtain(context(profile(flow="device"), now=clock))
    return play(flow, answer(CODES | changes), *answers, steps=clock.steps)


def waits(played: Played) -> list[float]:
    """Return how long each wait was."""
    return [step.seconds for step in played.of(Wait)]


def test_device_shows_the_code_and_polls() -> None:
    """No interval means five seconds; the device code goes to the token endpoint alone."""
    played = device(PENDING, PENDING, issued(refresh_token="rt"))
    (shown,) = played.of(ShowUserCode)
    assert (shown.user_code, shown.verification_uri) == ("WDJB-MJHT", f"{ISSUER}/device")
    assert (shown.complete, shown.expires_at) == (f"{ISSUER}/device?c=1", NOW + 600)
    assert waits(played) == [5, 5, 5]
    assert form_of(played.requests[-1])["device_code"] == ["dc-1"]
    assert played.value.refresh_token == Secret("rt")
    assert "dc-1" not in repr(played.steps)


def test_slow_down_counts_from_then_on() -> None:
    """Five seconds more, for this and all later polls (RFC 8628, 3.5)."""
    assert waits(device(SLOW_DOWN, PENDING, SLOW_DOWN, issued(), interval=2)) == [2, 7, 7, 12]


def test_a_poll_without_an_answer_is_repeated_more_slowly() -> None:
    """Time-outs, broken connections and 5xx back off; an answer ends that."""
    got = device(LATE, BROKE, answer(b"", 503), PENDING, issued())
    assert waits(got) == [5, 10, 20, 40, 5]


@pytest.mark.parametrize(
    ("interval", "wait"), [(None, 5), (0, 1), (-1, 1), (True, 5), ("7", 7), (10**9, 300)]
)
def test_the_interval_has_limits(interval: object, wait: int) -> None:
    """Neither a storm nor an endless silence."""
    assert waits(device(issued(), interval=interval)) == [wait]


def test_a_code_that_ran_out_needs_a_person() -> None:
    """Polling stops before `expires_in`, or when the issuer says so."""
    with pytest.raises(LoginNeededError, match="in time"):
        device(PENDING, PENDING, expires_in=12)
    with pytest.raises(LoginNeededError, match="in time"):
        device(answer({"error": "expired_token"}, 400))


@pytest.mark.parametrize("error", ["access_denied", "invalid_grant", "invalid_client"])
def test_any_other_error_ends_the_polling(error: str) -> None:
    """A no is passed on."""
    with pytest.raises(OAuthError, match=error):
        device(answer({"error": error}, 400))


@pytest.mark.parametrize("key", ["verification_uri", "verification_uri_complete"])
@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://issuer.example.com/",
        "http://127.0.0.1/",
        "data:text/html,x",
        "",
        5,
        "https://issuer.example.com/\x1b[2J",
    ],
)
def test_nobody_is_sent_to_an_unsafe_address(key: str, uri: object) -> None:
    """Only https, for the address and the one with the code in it."""
    with pytest.raises(IssuerError, match="not https"):
        parse_device_response(answer(CODES | {key: uri}), ISSUER, "h")


@pytest.mark.parametrize(
    "changes",
    [
        {"device_code": None},
        {"device_code": ""},
        {"user_code": None},
        {"user_code": "A" * 65},
        {"user_code": "A\x1b[2J"},
        {"user_code": "A\nB"},
    ],
)
def test_a_device_answer_without_usable_codes_is_refused(changes: dict[str, object]) -> None:
    """A user code is shown as it is, so it must be something that can be shown."""
    with pytest.raises(IssuerError):
        parse_device_response(answer(CODES | changes), ISSUER, "h")


@pytest.mark.parametrize(
    ("got", "auth", "outcome"),
    [
        (answer(b""), "none", "revoked"),
        (answer(b"", 204), "none", "revoked"),
        (answer(b"", 503, [("retry-after", "7")]), "none", "unknown"),
        (answer(b"", 429), "none", "unknown"),
        (LATE, "none", "unknown"),
        (BROKE, "none", "unknown"),
        (answer({"error": "unsupported_token_type"}, 400), "client_secret_post", "local_only"),
        (answer({"error": "invalid_request"}, 400), "client_secret_post", "local_only"),
        (answer(b"", 401), "none", "local_only"),
        (answer({"error": "invalid_client"}, 401), "none", "local_only"),
        (answer(b"", 401), "client_secret_post", "unknown"),
        (answer({"error": "invalid_client"}, 400), "client_secret_post", "unknown"),
        (answer(b"", 404), "none", "unknown"),
        (answer(b"", 302), "none", "unknown"),
        (answer(b"<html>", 403), "client_secret_post", "unknown"),
        (answer(b"revoked"), "none", "revoked"),
        (answer({"error": "unsupported_token_type"}), "none", "local_only"),
        (answer({"error": "invalid_client"}), "client_secret_post", "unknown"),
        (answer({"error": "temporarily_unavailable"}), "none", "local_only"),
    ],
)
def test_what_a_revocation_means(
    got: HttpResponse | BaseException, auth: str, outcome: str
) -> None:
    """`revoked` is said by the issuer alone; what may work later stays `unknown`."""
    ctx = context(profile(client_auth=auth), secret="s")
    played = play(revoke(ctx, Secret("at-1"), "access_token"), got)
    assert played.value.outcome == outcome
    assert form_of(played.requests[0])["token_type_hint"] == ["access_token"]
    assert "at-1" not in repr(played.value)
    if outcome != "revoked":
        assert played.value.reason


def test_revocation_says_when_to_come_back() -> None:
    """Retry-After is passed on."""
    got = answer(b"", 503, [("retry-after", "7")])
    assert play(revoke(context(), RT, "refresh_token"), got).value.retry_after_s == 7


def test_without_a_revocation_endpoint_nothing_is_sent() -> None:
    """The token goes to no other endpoint."""
    ctx = context(about=metadata(revocation_endpoint=None))
    played = play(revoke(ctx, RT, "refresh_token"))
    assert (played.value.outcome, played.steps) == ("local_only", [])


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (answer({"active": True}), True),
        (answer({"active": False}), False),
        (answer({"active": "true"}), None),
        (answer({}), None),
        (answer({"error": "invalid_client"}, 401), None),
        (answer(b"", 400), None),
        (LATE, None),
    ],
)
def test_introspection_says_yes_no_or_nothing(
    got: HttpResponse | BaseException,
    expected: bool | None,  # noqa: FBT001 - a column
) -> None:
    """Only a boolean of a 200 is an answer."""
    assert play(introspect(context(), RT), got).value is expected


def test_without_an_introspection_endpoint_nothing_is_sent() -> None:
    """Unknown is not an error."""
    ctx = context(about=metadata(introspection_endpoint=None))
    assert play(introspect(ctx, RT)).value is None


@pytest.mark.parametrize("status", [200, 201, 206])
@pytest.mark.parametrize("error", [None, "", False, [], {}])
def test_an_empty_error_is_none(error: object, status: int) -> None:
    """At every endpoint: a code is shown, a token is active, a revocation is one."""
    code = {"device_code": "d", "user_code": "U", "verification_uri": "https://v", "error": error}
    assert parse_device_response(answer(code, status), ISSUER, "h").user_code == "U"
    assert parse_active(answer({"active": True, "error": error}, status), "h") is True
    said = parse_revocation(answer({"error": error}), "h", is_public=False)
    assert said.outcome == "revoked"
