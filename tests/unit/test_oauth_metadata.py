"""Discovery: both forms, the issuer letter by letter, and endpoints that can be trusted."""

from __future__ import annotations

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from brokerctl.errors import IssuerError, UnsentError, UsageError
from brokerctl.oauth import metadata as md
from brokerctl.oauth.message import BrokenError, HttpResponse
from tests.flows import ISSUER, NOW, answer, metadata, play, profile

DOCUMENT = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token"}
MAX_AGE = (("cache-control", "max-age=60"),)
FORMS = [
    f"{ISSUER}/.well-known/oauth-authorization-server",
    f"{ISSUER}/.well-known/openid-configuration",
]


@pytest.mark.parametrize(
    ("issuer", "inserted", "appended"),
    [
        ("https://a.b", "https://a.b/.well-known/o", "https://a.b/.well-known/c"),
        ("https://a.b/", "https://a.b/.well-known/o", "https://a.b/.well-known/c"),
        ("https://a.b/t/1", "https://a.b/.well-known/o/t/1", "https://a.b/t/1/.well-known/c"),
        ("https://a.b/t/", "https://a.b/.well-known/o/t", "https://a.b/t/.well-known/c"),
        ("http://[::1]:8/t", "http://[::1]:8/.well-known/o/t", "http://[::1]:8/t/.well-known/c"),
    ],
)
def test_both_addresses_of_an_issuer(issuer: str, inserted: str, appended: str) -> None:
    """RFC 8414 inserts, OpenID appends; one slash at the end goes, no other."""
    assert md.well_known(issuer) == (
        inserted.replace("/o", "/oauth-authorization-server", 1),
        appended.replace("/c", "/openid-configuration", 1),
    )


@pytest.mark.parametrize("issuer", ["http://a.b", "https://a.b?x", "https://a.b#x", "a.b", ""])
def test_an_issuer_that_can_not_be_asked(issuer: str) -> None:
    """Plain http, a query or a fragment are the configuration's fault."""
    with pytest.raises(UsageError):
        md.well_known(issuer)


@pytest.mark.parametrize("first", [answer(b"", 404), answer(b"<html>"), answer(b"", 301)])
def test_the_second_form_is_tried(first: object) -> None:
    """An issuer is found by either form, in order; a redirect is not followed."""
    played = play(md.discover(profile()), first, answer(DOCUMENT))  # type: ignore[arg-type]  # an answer
    assert [request.url for request in played.requests] == FORMS
    assert played.value.token_endpoint == f"{ISSUER}/token"
    assert played.value.fetched_at == NOW


ENDS = {f"{name}_endpoint": f"{ISSUER}/{name}" for name in ("revocation", "introspection")}
WHOLE = (
    DOCUMENT
    | ENDS
    | {
        "authorization_endpoint": f"{ISSUER}/auth",
        "device_authorization_endpoint": f"{ISSUER}/device",
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
)


@pytest.mark.parametrize("flow", ["code", "device", "client_credentials"])
@pytest.mark.parametrize("lacking", sorted({*WHOLE} - {"issuer"}))
def test_the_second_document_has_what_the_first_lacks(flow: str, lacking: str) -> None:
    """Some issuers keep PKCE's line, or an endpoint, in one of the two alone."""
    first = {key: value for key, value in WHOLE.items() if key != lacking}
    both = (answer(first), answer(WHOLE))
    try:
        found = play(md.discover(profile(flow=flow)), *both).value
    except AssertionError:  # the second was not asked for: this flow does not need it
        found = play(md.discover(profile(flow=flow)), both[0]).value
        needed = {
            "authorization_endpoint" if flow == "code" else "",
            "device_authorization_endpoint" if flow == "device" else "",
            "token_endpoint",
            *ENDS,
            *(["code_challenge_methods_supported"] * (flow == "code")),
        }
        assert lacking not in needed
        return
    assert found.replace(iss_in_callback=True) == md.parse_metadata(answer(WHOLE), ISSUER)


LOST = IssuerError("a.example did not answer in time")


@pytest.mark.parametrize("other", [LOST, BrokenError("broke"), answer(b"", 503), answer(b"<html>")])
@pytest.mark.parametrize("is_first", [True, False])
def test_one_document_is_enough(other: HttpResponse | IssuerError, *, is_first: bool) -> None:
    """What a firewall resets or swallows, or is broken, is no reason to do without the other."""
    good = answer(DOCUMENT)
    played = play(md.discover(profile()), *((other, good) if is_first else (good, other)))
    assert played.value.token_endpoint == f"{ISSUER}/token"
    assert [step.share for step in played.steps] == [1 / 3, 1 / 2], "time is left for the other"


def test_what_the_first_document_says_counts() -> None:
    """The second adds and changes nothing; what holds for a shorter time bounds both."""
    other = WHOLE | {"token_endpoint": f"{ISSUER}/other", "code_challenge_methods_supported": []}
    first, second = answer(WHOLE | {"revocation_endpoint": ""}), answer(other)
    found = play(md.discover(profile()), first, second.replace(headers=MAX_AGE)).value
    assert found == md.parse_metadata(answer(WHOLE), ISSUER).replace(max_age_s=60)


def test_a_promise_of_either_document_holds() -> None:
    """Security: an answer without `iss` is refused where any of the two promises one (RFC 9207)."""
    promise = WHOLE | {"revocation_endpoint": None}
    silent = promise | {"authorization_response_iss_parameter_supported": False}
    for both in ((promise, silent), (silent, promise)):
        found = play(md.discover(profile()), *map(answer, both)).value
        assert found.iss_in_callback


def test_an_issuer_that_is_not_there_is_asked_once() -> None:
    """Where there is no connection, the other address of the same host has none either."""
    with pytest.raises(UnsentError):
        play(md.discover(profile()), UnsentError("a.example can't be reached"))


def test_another_issuers_second_document_adds_nothing() -> None:
    """Security: each document must name the issuer, whatever the other said."""
    wrong = answer(WHOLE | {"issuer": "https://evil.example"})
    found = play(md.discover(profile()), answer(DOCUMENT), wrong).value
    assert found == md.parse_metadata(answer(DOCUMENT), ISSUER)


@pytest.mark.parametrize("url", ["", None])
@pytest.mark.parametrize("name", md.ENDPOINTS[2:])
def test_an_empty_optional_endpoint_is_none(name: str, url: str | None) -> None:
    """So some issuers write what they do not have."""
    found = md.parse_metadata(answer(DOCUMENT | {name: url}), ISSUER)
    assert getattr(found, name) is None


@pytest.mark.parametrize("url", ["/userinfo", "http://issuer.example.com/userinfo", 5])
def test_an_endpoint_that_is_never_used_spoils_nothing(url: object) -> None:
    """A userinfo endpoint is neither asked nor believed."""
    found = md.parse_metadata(answer(DOCUMENT | {"userinfo_endpoint": url}), ISSUER)
    assert found.userinfo_endpoint is None


@pytest.mark.parametrize("named", [f"{ISSUER}/", ISSUER.upper(), f"{ISSUER}:443", None, 5])
def test_another_issuer_in_the_document_is_refused(named: object) -> None:
    """The issuer is compared letter by letter (RFC 8414, 3.3)."""
    wrong = answer(DOCUMENT | {"issuer": named})
    with pytest.raises(IssuerError, match="another issuer"):
        play(md.discover(profile()), wrong, answer(b"", 404))


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/token",
        "http://127.0.0.1:8080/token",
        "https://u:p@issuer.example.com/token",
        "https://issuer.example.com\t.evil.com/",
        "https://issuer.example.com\\@evil.com/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//issuer.example.com/token",
        "https://issuer.example.com/token#x",
        "",
        5,
    ],
)
def test_an_endpoint_that_is_not_https_is_refused(url: object) -> None:
    """A remote issuer can name neither plain http nor a port of this machine."""
    with pytest.raises(IssuerError, match="not an https URL"):
        md.parse_metadata(answer(DOCUMENT | {"token_endpoint": url}), ISSUER)


INNER = ("10.0.0.1", "192.168.1.1", "127.0.0.1:8443", "[::1]", "[fd00::1]", "localhost", "0.0.0.0")
LINK_LOCAL = ("169.254.169.254", "[fe80::1]")


@pytest.mark.parametrize("host", [*INNER, *LINK_LOCAL])
def test_a_public_issuer_names_no_inner_address(host: str) -> None:
    """Security: what it names is asked from here, where the machines around us trust us."""
    document = DOCUMENT | {"token_endpoint": f"https://{host}/token"}
    with pytest.raises(IssuerError, match="is an inner address"):
        md.parse_metadata(answer(document), ISSUER)


@pytest.mark.parametrize(
    ("host", "is_refused"),
    [*((host, "no") for host in INNER), *((host, "yes") for host in LINK_LOCAL)],
)
def test_an_inner_issuer_may_name_its_neighbours(host: str, is_refused: str) -> None:
    """But never the address where a cloud hands out its own credentials."""
    issuer = "https://10.1.2.3"
    document = DOCUMENT | {"issuer": issuer, "token_endpoint": f"https://{host}/token"}
    try:
        md.parse_metadata(answer(document), issuer)
        found = "no"
    except IssuerError:
        found = "yes"
    assert found == is_refused


def test_the_issuer_that_was_found_is_named() -> None:
    """Who left a slash away sees what to write; what it would make a terminal do is escaped."""
    with pytest.raises(IssuerError) as caught:
        md.parse_metadata(answer(DOCUMENT | {"issuer": f"{ISSUER}/\x1b[2J"}), ISSUER)
    assert caught.value.message.endswith(f"another issuer: {ISSUER}/\\x1b[2J")


def test_an_issuer_on_loopback_may_name_plain_http() -> None:
    """Test issuers and emulators run without certificates."""
    issuer = "http://127.0.0.1:8"
    body = {"issuer": issuer, "token_endpoint": f"{issuer}/t"}
    assert md.parse_metadata(answer(body), issuer).token_endpoint == f"{issuer}/t"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 86400),
        ("max-age=60", 60),
        ("public, max-age=60, x=1", 60),
        ("no-store", 0),
        ("max-age=99999999", 7 * 86400),
        ("s-max-age=5", 86400),
        ("max-age=-1", 86400),
    ],
)
def test_how_long_metadata_holds(header: str | None, seconds: int) -> None:
    """A day, or as Cache-Control says, and never longer than a week."""
    assert md.max_age(header) == seconds


def test_configured_endpoints_come_first() -> None:
    """A profile's endpoint replaces the issuer's; with all that are needed nothing is sent."""
    own = "https://other.example.com/token"
    device = play(
        md.discover(profile(flow="device", endpoints=(("token_endpoint", own),))), answer(WHOLE)
    )
    assert device.value.token_endpoint == own
    client = profile(flow="client_credentials", endpoints=(("token_endpoint", own),))
    played = play(md.discover(client, NOW))
    assert played.value.token_endpoint == own
    assert played.value.is_current(NOW)


def test_a_configured_endpoint_must_be_safe_too() -> None:
    """Plain http stays on loopback whoever writes it."""
    bad = profile(flow="client_credentials", endpoints=(("token_endpoint", "http://a.b/t"),))
    with pytest.raises(UsageError):
        play(md.discover(bad))


def test_an_endpoint_on_another_origin_stops_everything() -> None:
    """Path changes pass; another host, port or scheme needs a login."""
    old = metadata()
    assert md.endpoints_moved(old, metadata(token_endpoint=f"{ISSUER}/v2/token")) is None
    moved = metadata(revocation_endpoint="https://evil.example.com/revoke")
    assert md.endpoints_moved(old, moved) == "revocation_endpoint"
    with pytest.raises(IssuerError, match=r"moved to https://evil\.example\.com") as caught:
        md.refuse_moved(old, moved, "p")
    assert caught.value.hint == "if that is right, run 'brokerctl login p'"


def test_a_new_endpoint_must_be_where_the_issuer_is() -> None:
    """One that was not there before can't lead to an origin that nobody has seen."""
    old = metadata(revocation_endpoint=None, token_endpoint="https://tokens.example.com/t")
    for url in (f"{ISSUER}/revoke", "https://tokens.example.com/revoke"):
        new = old.replace(revocation_endpoint=url)
        assert md.endpoints_moved(old, new) is None
    new = old.replace(revocation_endpoint="https://evil.example.com/revoke")
    assert md.endpoints_moved(old, new) == "revocation_endpoint"
    assert md.endpoints_moved(new, old) is None


def test_metadata_comes_back_from_the_store() -> None:
    """Rendering and parsing keep every field."""
    kept = metadata(fetched_at=5.5, max_age_s=60, iss_in_callback=True, scopes_supported=("a",))
    assert md.parse(md.render(kept)) == kept
    assert kept.is_current(65.4)
    assert not kept.is_current(65.5)
    assert not kept.is_current(5.4)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"v":2}', b'{"v":1}', b'{"v":1,"x":1}'])
def test_metadata_of_another_version_is_none(data: bytes) -> None:
    """What this version did not write is fetched anew."""
    assert md.parse(data) is None


COMPLETE = DOCUMENT | {
    "authorization_endpoint": f"{ISSUER}/auth",
    "response_types_supported": ["code"],
}
METHODS = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}
REFUSED, ACCEPTED = "refused", "accepted"


@pytest.mark.parametrize(
    ("changes", "ours", "theirs"),
    [
        ({}, ACCEPTED, ACCEPTED),
        # Issuers that work: some write their own metadata so, and one member decides nothing here.
        ({"response_types_supported": None}, ACCEPTED, REFUSED),
        ({"authorization_endpoint": None}, ACCEPTED, REFUSED),
        (METHODS, ACCEPTED, REFUSED),
        ({"ui_locales_supported": ["en_US"]}, ACCEPTED, REFUSED),
        # Where a grant must not go.
        ({"token_endpoint": "https://u:p@issuer.example.com/token"}, REFUSED, ACCEPTED),
        ({"token_endpoint": "https://issuer.example.com\\@evil.com/"}, REFUSED, ACCEPTED),
        ({"token_endpoint": "https://169.254.169.254/token"}, REFUSED, ACCEPTED),
        ({"token_endpoint": "http://127.0.0.1/token"}, REFUSED, ACCEPTED),
        ({"device_authorization_endpoint": "http://evil.example/"}, REFUSED, ACCEPTED),
        # What is no metadata at all.
        ({"token_endpoint": 5}, REFUSED, "AttributeError"),
        ({"grant_types_supported": 7}, ACCEPTED, "TypeError"),
    ],
    ids=str,
)
def test_why_authlib_does_not_check_it(changes: dict[str, object], ours: str, theirs: str) -> None:
    """docs/dependencies.md gives the reason: whoever changes it has it here to be tried again."""
    document = {name: value for name, value in (COMPLETE | changes).items() if value is not None}
    try:
        md.parse_metadata(answer(document), ISSUER)
        found = ACCEPTED
    except IssuerError:
        found = REFUSED
    try:
        AuthorizationServerMetadata(document).validate()
        by_authlib = ACCEPTED
    except (ValueError, AttributeError, TypeError) as error:
        by_authlib = REFUSED if type(error) is ValueError else type(error).__name__
    assert (found, by_authlib) == (ours, theirs)


def test_a_variable_would_switch_authlibs_check_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Security: whoever can set it would choose where a refresh token goes; here it is nothing."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    document = COMPLETE | {"token_endpoint": "http://evil.example/token"}
    AuthorizationServerMetadata(document).validate()
    with pytest.raises(IssuerError, match="not an https URL"):
        md.parse_metadata(answer(document), ISSUER)
