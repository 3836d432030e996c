"""Whatever an issuer or a browser sends: the parsers return a value, or raise IssuerError."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from hypothesis import example, given
from hypothesis import strategies as st

from brokerctl import jsonlite
from brokerctl.config.hosts import parse_url
from brokerctl.errors import IssuerError
from brokerctl.oauth import parameters
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.flows.code import is_ours, parse_callback
from brokerctl.oauth.flows.device import parse_device_response
from brokerctl.oauth.message import HttpResponse, is_endpoint
from brokerctl.oauth.metadata import (
    ENDPOINTS,
    Metadata,
    max_age,
    parse,
    parse_metadata,
    render,
)
from brokerctl.oauth.revocation import parse_active, parse_revocation
from brokerctl.oauth.tokens import parse_token_response
from brokerctl.oauth.unverified_claims import find_unverified_sub
from brokerctl.secret import Secret
from tests.flows import ISSUER, context, form_of, metadata, profile

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = Secret("s" * 43)
STATUS = st.sampled_from([200, 200, 200, 204, 302, 400, 401, 403, 404, 429, 500, 503])
WORDS = st.sampled_from(
    [
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
        "id_token",
        "error",
        "error_description",
        "device_code",
        "user_code",
        "verification_uri",
        "interval",
        "active",
        "verification_uri_complete",
        "issuer",
        "scopes_supported",
        *ENDPOINTS,
        "code_challenge_methods_supported",
        "authorization_response_iss_parameter_supported",
    ]
)  # fmt: skip - one name a line would fill a page
LIKELY = st.sampled_from(["Bearer", ISSUER, f"{ISSUER}/x", "invalid_grant", "a.b.c", "S256", "60"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | LIKELY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=12,
)
RAW = st.binary(max_size=200)


def _render(value: object) -> bytes:
    """Write NaN and lone surrogates too, which our own writer refuses."""
    return json.dumps(value).encode()


BODIES = RAW | st.dictionaries(WORDS, JSON, max_size=10).map(_render)
HEADERS = st.sampled_from([(), (("retry-after", "7"),), (("retry-after", "\x00"),)])
ANSWERS = st.builds(HttpResponse, status=STATUS, body=BODIES, headers=HEADERS)


def refusal(read: Callable[[], object]) -> str:
    """Return what a parser says when it refuses, "" where it does not."""
    try:
        read()
    except IssuerError as error:
        return error.message
    return ""


@given(ANSWERS)
@example(HttpResponse(status=200, body=b"[" * 100_000))
@example(
    HttpResponse(status=200, body=b'{"access_token":"a","token_type":"Bearer","scope":"\\ud800"}')
)
@example(HttpResponse(status=200, body=b'{"x":' + b"[" * 2000 + b'"' + b'\\"' * 400_000))
@example(HttpResponse(status=200, body=b'{"x":' + b"[" * 2000 + b'"\\' * 300_000))
@example(HttpResponse(status=200, body=(b'{"x":' + b"[" * 2000 + b"]" * 2000 + b",") * 200))
@example(HttpResponse(status=200, body=b"a=" + b"b=" * 400_000))
@example(HttpResponse(status=400, body=b'{"error":"' + b"9" * 5000 + b'"}'))
def test_no_answer_breaks_a_parser(response: HttpResponse) -> None:
    """Token, device, metadata, introspection and revocation answers: a value or IssuerError."""
    for read in (
        lambda: parse_token_response(response, ("a",)),
        lambda: parse_device_response(response, ISSUER, "h"),
        lambda: parse_metadata(response, ISSUER),
        lambda: parse_active(response, "h"),
    ):
        message = refusal(read)
        assert not message or message.isprintable()
        assert len(message) < 300
    assert parse_revocation(response, "h", is_public=True).reason.isprintable()


@given(ANSWERS)
def test_what_passes_is_sane(response: HttpResponse) -> None:
    """A token that passed can go into a header, and its lifetime and scopes mean something."""
    try:
        got = parse_token_response(response)
    except IssuerError:
        return
    assert all("!" <= char <= "~" for char in got.access_token.reveal())
    assert got.expires_in is None or 0 <= got.expires_in <= 365 * 86400
    assert all(scope and " " not in scope for scope in got.scopes)


@given(st.dictionaries(st.sampled_from(ENDPOINTS), JSON | st.text().map("https://".__add__)))
def test_every_endpoint_that_passes_is_safe(body: dict[str, object]) -> None:
    """Nothing but https on a host that has one reading comes out of a remote issuer's metadata."""
    response = HttpResponse(status=200, body=_render(body | {"issuer": ISSUER}))
    try:
        got = parse_metadata(response, ISSUER)
    except IssuerError:
        return
    for name in ENDPOINTS:
        url = getattr(got, name)
        assert url is None or (is_endpoint(url) and parse_url(url).scheme == "https")


@given(st.text() | RAW.map(lambda data: data.decode("latin-1")))
@example("&" * 100_000)
@example("state=" * 10_000)
def test_no_callback_breaks_the_parser(query: str) -> None:
    """A query that is not ours never yields a code."""
    assert not is_ours(query, STATE)
    message = refusal(lambda: parse_callback(query, STATE, metadata()))
    assert message
    assert message.isprintable()


@given(
    st.dictionaries(st.sampled_from(["code", "iss", "error", "error_description", "x"]), st.text())
)
def test_a_callback_with_our_state_gives_a_code_or_an_error(found: dict[str, str]) -> None:
    """With the right state: the code as sent, or IssuerError."""
    query = urlencode(found | {"state": STATE.reveal()})
    assert is_ours(query, STATE)
    try:
        code = parse_callback(query, STATE, metadata())
    except IssuerError:
        return
    assert code.reveal() == found["code"]
    assert found.get("iss", ISSUER) == ISSUER
    assert "error" not in found


@given(st.text(max_size=60))
def test_a_header_never_breaks_max_age(header: str) -> None:
    """Any Cache-Control gives seconds within the limits."""
    assert 0 <= max_age(header) <= 7 * 86400


@given(RAW | st.dictionaries(WORDS, JSON).map(lambda body: _render(body | {"v": 1})))
def test_a_damaged_cache_entry_is_no_metadata(data: bytes) -> None:
    """What comes back from the cache is either whole or None."""
    found = parse(data)
    assert found is None or isinstance(found, Metadata)


@given(
    st.builds(
        metadata,
        fetched_at=st.floats(0, 1e10),
        max_age_s=st.integers(0, 10**6),
        iss_in_callback=st.booleans(),
        scopes_supported=st.none() | st.lists(st.text()).map(tuple),
        revocation_endpoint=st.none() | st.just(f"{ISSUER}/r"),
    )
)
def test_rendered_metadata_is_parsed_back(kept: Metadata) -> None:
    """The cache loses nothing."""
    assert parse(render(kept)) == kept


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_id_and_secret_arrive(client_id: str, secret: str) -> None:
    """Basic and post carry any text of a configuration to the issuer unchanged."""
    of = profile(client_id=client_id, client_auth="client_secret_post")
    got = form_of(authenticated_form(context(of, secret=secret), f"{ISSUER}/token", []))
    assert got == {"client_id": [client_id], "client_secret": [secret]}
    basic = of.replace(client_auth="client_secret_basic")
    made = authenticated_form(context(basic, secret=secret), f"{ISSUER}/token", [])
    value = dict(made.headers)["authorization"]
    assert isinstance(value, Secret)
    pair = base64.b64decode(value.reveal().removeprefix("Basic "))
    assert pair.count(b":") == 1


@given(st.text() | JSON)
def test_no_id_token_breaks_the_reader(id_token: object) -> None:
    """An ID token is noise until it has a `sub`."""
    found = find_unverified_sub(id_token)
    assert found is None or 0 < len(found) <= 255


def test_extra_of_every_kind_is_sent() -> None:
    """Numbers and booleans are written as in JSON."""
    of = profile(extra=jsonlite.dumps({"a": 1, "b": True, "c": ["x", "y"]}))
    ctx = context(of)
    assert parameters.shared(ctx) == [("a", "1"), ("b", "true"), ("c", "x"), ("c", "y")]
