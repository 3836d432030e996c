"""The authorization code flow: PKCE, state, RFC 9207's table, and what goes where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from authlib.oauth2 import rfc7636

from brokerctl.errors import IssuerError, OAuthError, UsageError
from brokerctl.oauth.flows import code, find_flow
from brokerctl.oauth.flows.code import is_ours, parse_callback
from brokerctl.oauth.steps import Visit
from brokerctl.oauth.tokens import UnusableAnswerError
from brokerctl.secret import Secret
from tests.flows import ISSUER, REDIRECT_URI, context, issued, metadata, play, profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.tokens import TokenAnswer
    from tests.flows import Played

STATE = Secret("s" * 43)
NONCE, MISSING = code.base64url(bytes(32)), object()


def come_back(**more: str) -> Callable[[Visit], str]:
    """Return a browser that brings back a code and the right state."""

    def visit(step: Visit) -> str:
        query = urlencode({"code": "c-1", "state": step.state.reveal(), **more})
        assert step.accept(query)
        return query

    return visit


def log_in(ctx: FlowContext) -> Played:
    """Run the flow to its end."""
    return play(find_flow("code").obtain(ctx), issued(refresh_token="rt-1"), callback=come_back())


def sent(played: Played) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the parameters at the authorization and at the token endpoint."""
    (visit,) = played.of(Visit)
    (request,) = played.requests
    assert request.body is not None
    return parse_qs(urlsplit(visit.url).query), parse_qs(request.body.reveal())


def test_the_whole_way() -> None:
    """Challenge and state go out by the browser, code and verifier by ourselves."""
    of = profile(scopes=("a", "b"), resource=("https://r1", "https://r2"), extra='{"x":"1"}')
    played = log_in(context(of))
    front, back = sent(played)
    (state,), (challenge,), (verifier,) = (
        front.pop("state"),
        front.pop("code_challenge"),
        back.pop("code_verifier"),
    )
    assert front == {
        "response_type": ["code"],
        "client_id": ["cli"],
        "redirect_uri": [REDIRECT_URI],
        "code_challenge_method": ["S256"],
        "scope": ["a b"],
        "resource": ["https://r1", "https://r2"],
        "x": ["1"],
    }
    assert back == {
        "grant_type": ["authorization_code"],
        "code": ["c-1"],
        "redirect_uri": [REDIRECT_URI],
        "resource": ["https://r1", "https://r2"],
        "x": ["1"],
        "client_id": ["cli"],
    }
    assert challenge == rfc7636.create_s256_code_challenge(verifier)  # type: ignore[no-untyped-call]  # theirs
    assert len(state) == len(verifier) == 43
    assert state != verifier
    assert played.value.refresh_token == Secret("rt-1")


def test_the_challenge_of_the_rfc() -> None:
    """RFC 7636, appendix B."""
    verifier = Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert code.challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_each_login_has_its_own_state_and_challenge() -> None:
    """Nothing is used twice."""
    (first, _), (second, _) = sent(log_in(context())), sent(log_in(context()))
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]


def test_resource_is_left_out_where_the_issuer_refuses_it() -> None:
    """`send_resource = false` holds at both endpoints."""
    front, back = sent(log_in(context(profile(resource=("https://r",), send_resource=False))))
    assert "resource" not in front
    assert "resource" not in back


def test_offline_access_asks_for_consent() -> None:
    """Without prompt=consent there is no refresh token; a prompt of the profile's own stays."""
    front, _ = sent(log_in(context(profile(scopes=("offline_access",)))))
    assert front["prompt"] == ["consent"]
    own = profile(scopes=("offline_access",), extra='{"prompt":"login consent"}')
    front, _ = sent(log_in(context(own)))
    assert front["prompt"] == ["login consent"]


def _with_nonce(found: object) -> TokenAnswer:
    """Log in with `openid` where all random bytes are equal; the ID token says this nonce."""
    claims = {"sub": "al"} | ({} if found is MISSING else {"nonce": found})
    part = code.base64url(json.dumps(claims).encode())
    ctx = context(profile(scopes=("openid",)), random=bytes)
    answer = issued(refresh_token="rt-1", id_token=f"e30.{part}.x")
    played = play(find_flow("code").obtain(ctx), answer, callback=come_back())
    assert sent(played)[0]["nonce"] == [NONCE]
    got: TokenAnswer = played.value
    return got


@pytest.mark.parametrize("found", [NONCE, MISSING, None], ids=["ours", "missing", "null"])
def test_a_nonce_that_came_back_is_ours(found: object) -> None:
    """Some issuers refuse `openid` without one, others forget it: PKCE does its work already."""
    assert _with_nonce(found).id_sub == "al"


@pytest.mark.parametrize("found", ["", "x", NONCE.lower(), NONCE[:-1], 5, [NONCE], False])
def test_an_id_token_of_another_login_is_refused(found: object) -> None:
    """And the refresh token that came with it is not forgotten: the login queues it."""
    with pytest.raises(UnusableAnswerError, match="the ID token of another login") as caught:
        _with_nonce(found)
    assert caught.value.refresh_token == Secret("rt-1")


def test_a_nonce_goes_with_openid_alone() -> None:
    """Each login has its own; nothing else of OpenID is sent to an issuer that was not asked."""
    (first, _), (second, _) = (sent(log_in(context(profile(scopes=("openid",))))) for _ in "12")
    assert first["nonce"] != second["nonce"]
    assert first["nonce"] != first["state"]
    assert "nonce" not in sent(log_in(context(profile(scopes=("read",)))))[0]


def test_the_endpoints_own_query_stays() -> None:
    """RFC 6749, 3.1."""
    about = metadata(authorization_endpoint=f"{ISSUER}/auth?tenant=1")
    (visit,) = log_in(context(about=about)).of(Visit)
    assert visit.url.startswith(f"{ISSUER}/auth?tenant=1&response_type=code&")


@pytest.mark.parametrize(
    "name", ["state", "redirect_uri", "code_challenge_method", "client_secret"]
)
def test_extra_can_not_change_the_protocol(name: str) -> None:
    """A project's configuration can't turn PKCE into `plain`."""
    with pytest.raises(UsageError, match=name):
        log_in(context(profile(extra=f'{{"{name}":"plain"}}')))


@pytest.mark.parametrize(
    ("methods", "support", "goes_on"),
    [
        (("S256",), "required", True),
        (("plain", "S256"), "required", True),
        (None, "assumed", True),
        (None, "required", False),
        ((), "required", False),
        (("plain",), "required", False),
        (("plain",), "assumed", False),
    ],
)
def test_pkce_must_be_known_to_be_there(
    methods: tuple[str, ...] | None, support: str, *, goes_on: bool
) -> None:
    """`assumed` stands for an issuer's silence, not for its no."""
    about = metadata(code_challenge_methods_supported=methods)
    ctx = context(profile(pkce_support=support), about=about)
    if goes_on:
        log_in(ctx)
    else:
        with pytest.raises(IssuerError, match="PKCE"):
            log_in(ctx)


@pytest.mark.parametrize("is_error", [False, True])
@pytest.mark.parametrize(
    ("promised", "iss", "goes_on"),
    [
        (True, ISSUER, True),
        (True, None, False),
        (True, "https://evil.example.com", False),
        (False, ISSUER, True),
        (False, "https://evil.example.com", False),
        (False, None, True),
        (True, f"{ISSUER}/", False),
        (False, f"{ISSUER}/", False),
        (False, f"{ISSUER}:443", False),
        (False, ISSUER.upper(), False),
        (False, ISSUER.replace("issuer", "%69ssuer"), False),
        (False, "", False),
    ],
)
def test_the_table_of_rfc_9207(
    promised: bool,  # noqa: FBT001 - a column
    iss: str | None,
    goes_on: bool,  # noqa: FBT001 - a column
    is_error: bool,  # noqa: FBT001 - a column
) -> None:
    """The table's four rows, for codes and errors alike; a mismatch shows nothing of an error."""
    query = {"state": STATE.reveal(), **({} if iss is None else {"iss": iss})}
    query |= {"error": "e-shown", "error_description": "d"} if is_error else {"code": "c-1"}
    about = metadata(iss_in_callback=promised)
    if goes_on and not is_error:
        assert parse_callback(urlencode(query), STATE, about).reveal() == "c-1"
        return
    with pytest.raises(IssuerError) as caught:
        parse_callback(urlencode(query), STATE, about)
    assert isinstance(caught.value, OAuthError) == goes_on
    assert ("e-shown" in caught.value.message) == goes_on


def test_iss_is_compared_after_form_decoding() -> None:
    """What arrives percent-encoded is decoded once, as every parameter."""
    query = f"code=c&state={STATE.reveal()}&iss={ISSUER.replace(':', '%3a').replace('i', '%69')}"
    assert parse_callback(query, STATE, metadata()).reveal() == "c"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "state=",
        "state=x",
        "code=c&state={s}&state={s}",
        "state=x&state={s}",
        "sTate={s}",
    ],
)
def test_an_answer_without_our_state_is_somebody_elses(query: str) -> None:
    """It is not ours, and it is refused if it should come through all the same."""
    query = query.format(s=STATE.reveal())
    assert not is_ours(query, STATE)
    with pytest.raises(IssuerError):
        parse_callback(query, STATE, metadata())


@pytest.mark.parametrize(
    "more",
    [
        "&code=d",
        "&iss=a&iss=a",
        "&error=a",
        "&%63ode=d",
        "&x=%zz",
        "&x=%ff",
        "&x=\x00",
        "&x= ",
        "&x=ä",
        "".join(f"&p{number}=1" for number in range(60)),
        "&x=" + "a" * 65536,
    ],
)
def test_an_ambiguous_answer_is_refused(more: str) -> None:
    """Doubled parameters, broken escapes and endless queries end the login."""
    with pytest.raises(IssuerError):
        parse_callback(f"code=c&state={STATE.reveal()}{more}", STATE, metadata())


def test_a_code_is_sent_once() -> None:
    """A 503 on the exchange is not tried again: the code may be used up."""
    ctx = context()
    with pytest.raises(IssuerError):
        play(find_flow("code").obtain(ctx), issued().replace(status=503), callback=come_back())


def test_no_secret_is_seen_in_the_steps() -> None:
    """Code and verifier are in no printed step."""
    played = log_in(context())
    _, back = sent(played)
    shown = repr(played.steps)
    assert back["code_verifier"][0] not in shown
    assert "c-1" not in shown
    assert dict(parse_qsl(urlsplit(played.of(Visit)[0].url).query))["client_id"] == "cli"
