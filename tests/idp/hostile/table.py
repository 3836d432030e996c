"""The modes of the hostile issuer: what it answers, how the program must end, what must still hold.

Each row: name, the answers in order (the last for ever), exit code, what the error's first line
says (the output, where the exit code is 0 or 9), how often the endpoint is asked, and afterwards:

WORKS   against the well-behaved issuer the next `get --fresh` hands out a token
ENDED   the next `get` ends with exit 3 and asks the issuer nothing
KILLED  what is queued dies at the issuer with the next `revoke`
LEFT    gone here, alive at the issuer, and nothing is queued
DEAD    gone, here and at the issuer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.idp.hostile.answers import (
    BOMB,
    BROTLI,
    CLOSE,
    DEEP,
    DRIP,
    DRIP_HEAD,
    EMPTY,
    GOOD,
    HANG,
    HTML,
    HUGE,
    MIB,
    MISSING,
    NASTY,
    NONSENSE,
    POUR,
    POUR_1XX,
    POUR_HEAD,
    RESET,
    SHOWN,
    TWO_LENGTHS,
    callback,
    cut,
    device,
    error,
    lasting,
    metadata,
    page,
    redirect,
    status,
    text,
    token,
)  # fmt: skip - one name a line would fill the first page
from tests.idp.hostile.wire import ENDLESS, Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKS, ENDED, KILLED, LEFT, DEAD = "works", "ended", "killed", "left", "dead"


class Scene(NamedTuple):
    """A command, the endpoint that misbehaves meanwhile, and the store that it starts with."""

    name: str
    endpoint: str
    words: str
    is_bare: bool = False  # no grant and no metadata yet


class Mode(NamedTuple):
    """One row of the table, in its scene."""

    scene: Scene
    name: str
    answers: tuple[Answer | None, ...]
    code: int
    says: str
    asked: int = 1
    then: str = WORKS
    slow: str = ""

    @property
    def is_endless(self) -> bool:
        """Whether only a deadline ends it: then the profile with the short one is used."""
        return any(answer is not None and answer.how in ENDLESS for answer in self.answers)


DISCOVERY = Scene("discovery", "metadata", "get service", is_bare=True)
PINNED = Scene("pinned", "metadata", "get service")
KEPT = Scene("kept", "metadata", "get person --fresh")
ANEW = Scene("anew", "metadata", "login person")
AGAIN = Scene("again", "metadata", "login service")
SERVICE = Scene("service", "token", "get service")
REFRESH = Scene("refresh", "token", "get person --fresh")
NARROW = Scene("narrow", "token", "get person --fresh --scope read")
CODE = Scene("code", "token", "login person")
CALLBACK = Scene("callback", "auth", "login person")
DEVICE = Scene("device", "device", "login person --flow device")
POLL = Scene("poll", "token", "login person --flow device")
REVOKE = Scene("revoke", "revoke", "revoke person")
PROVE = Scene("prove", "introspect", "revoke person --verify")

NO_METADATA = "answered with no metadata that can be read"
IN_TIME, BROKE, TOO_BIG = "did not answer in time", "the connection to 127.0.0.1 broke", "1 MiB"
NO_JSON = "did not answer in JSON"
OTHER_ISSUER, NOT_HTTPS = "names another issuer", "is not an https URL"

# A table is read by its rows.
# fmt: off
TABLE: dict[Scene, tuple[tuple[object, ...], ...]] = {
    DISCOVERY: (
        ("empty", (EMPTY,), 5, NO_METADATA, 2),
        ("a web page", (HTML,), 5, NO_METADATA, 2),
        ("a forbidden page", (page(403),), 5, "answered 403 when asked for its metadata", 2),
        ("503", (status(503),), 5, "answered 503 when asked", 2),
        ("503 once", (status(503), GOOD), 0, "", 2),
        ("the first form is a page", (HTML, GOOD), 0, "", 2),
        ("the first form is reset", (RESET, GOOD), 0, "", 2),
        ("the first form is swallowed", (HANG, GOOD), 0, "", 2),
        ("the first form has no token endpoint", (metadata(token_endpoint=None), GOOD), 0, "", 2),
        ("the second form is swallowed", (metadata(revocation_endpoint=""), HANG), 0, "", 2),
        ("a relative endpoint that nobody needs", (metadata(userinfo_endpoint="/me"),), 0, ""),
        ("redirect to itself", (redirect("{origin}/.well-known/openid-configuration", 301),), 5,
         "answered 301 when asked", 2),
        ("redirect elsewhere", (redirect("{trap}/metadata"),), 5, "answered 302 when asked", 2),
        ("redirect to inside", (redirect("http://169.254.169.254/", 308),), 5, "answered 308", 2),
        ("a list", (text("[]"),), 5, NO_METADATA, 2),
        ("NaN", (metadata(x=float("nan")),), 5, NO_METADATA, 2),
        ("issuer twice", (text('{"issuer":"{trap}","issuer":"{origin}"}'),), 5, NO_METADATA, 2),
        ("nested deep", (DEEP,), 5, NO_METADATA, 2),
        ("not UTF-8", (text(b'{"issuer":"\xff"}'),), 5, NO_METADATA, 2),
        ("a lone surrogate", (metadata(x="\ud800"),), 5, NO_METADATA, 2),
        ("a BOM", (text("\ufeff{}"),), 5, NO_METADATA, 2),
        ("huge", (HUGE,), 5, TOO_BIG, 2),
        ("a bomb", (BOMB,), 5, TOO_BIG, 2),
        ("an unknown coding", (BROTLI,), 5, "in a coding that was not asked for", 2),
        ("endless body", (POUR,), 5, TOO_BIG, 2),
        ("endless head", (POUR_HEAD,), 5, BROKE, 2),
        ("endless 1xx", (POUR_1XX,), 5, IN_TIME, 2),
        ("many headers", (status(200, *["x: y"] * 300),), 5, "too many headers", 2),
        ("dripping body", (DRIP,), 5, IN_TIME, 2),
        ("dripping head", (DRIP_HEAD,), 5, IN_TIME, 2),
        ("silence", (HANG,), 5, IN_TIME, 2),
        ("closed", (CLOSE,), 5, BROKE, 2),
        ("reset", (RESET,), 5, BROKE, 2),
        ("cut", (cut(metadata()),), 5, BROKE, 2),
        ("two lengths", (TWO_LENGTHS,), 5, BROKE, 2),
        ("not HTTP", (NONSENSE,), 5, BROKE, 2),
        ("a slash more", (metadata(issuer="{origin}/"),), 5, OTHER_ISSUER, 2),
        ("another case", (metadata(issuer="{ORIGIN}"),), 5, OTHER_ISSUER, 2),
        ("a number as issuer", (metadata(issuer=5),), 5, OTHER_ISSUER, 2),
        ("a nasty issuer", (metadata(issuer=NASTY),), 5, f"another issuer: {SHOWN}", 2),
        ("no token endpoint", (metadata(token_endpoint=None),), 5, "names no token_endpoint", 2),
        ("plain http", (metadata(token_endpoint="http://a.example/"),), 5, NOT_HTTPS, 2),
        ("metadata service", (metadata(token_endpoint="http://169.254.169.254/"),), 5,
         NOT_HTTPS, 2),
        ("an inner address", (metadata(token_endpoint="http://10.0.0.1/"),), 5, NOT_HTTPS, 2),
        ("metadata service by TLS", (metadata(token_endpoint="https://169.254.169.254/"),), 5,
         "is an inner address", 2),
        ("a file", (metadata(token_endpoint="file:///etc/passwd"),), 5, NOT_HTTPS, 2),
        ("a script", (metadata(token_endpoint="javascript:alert(1)"),), 5, NOT_HTTPS, 2),
        ("a fragment", (metadata(token_endpoint="{origin}/token#x"),), 5, NOT_HTTPS, 2),
        ("a split host", (metadata(token_endpoint="https://a\t.example/"),), 5, NOT_HTTPS, 2),
        ("a number as endpoint", (metadata(token_endpoint=5),), 5, NOT_HTTPS, 2),
        ("a script to revoke", (metadata(revocation_endpoint="javascript:x"),), 5, NOT_HTTPS, 2),
        ("lists that are none", (metadata(scopes_supported=5, token_endpoint_auth_methods_supported
                                          ={}),), 0, ""),
    ),
    PINNED: (
        ("moved elsewhere", (metadata(token_endpoint="{trap}/token"),), 5, "moved to http://127.0.0.1:"),
        ("moved inside", (metadata(token_endpoint="https://10.0.0.1/"),), 5, "moved to https://10.0.0.1"),
        ("moved to the metadata service", (metadata(token_endpoint="https://169.254.169.254/"),),
         0, "", 2),
        ("revocation moved", (metadata(revocation_endpoint="{trap}/"),), 5,
         "the revocation_endpoint of 127.0.0.1 moved"),
        ("gone", (status(404),), 0, "", 2),
        ("another issuer", (metadata(issuer="{trap}"),), 0, "", 2),
    ),
    KEPT: (("not asked on a refresh", (metadata(token_endpoint="{trap}/token"),), 0, "", 0),),
    ANEW: (
        ("no PKCE", (metadata(code_challenge_methods_supported=MISSING),), 5,
         "says nothing of PKCE", 2),
        ("PKCE in the second form", (metadata(code_challenge_methods_supported=MISSING), GOOD),
         0, "", 2),
        ("plain PKCE", (metadata(code_challenge_methods_supported=["plain"]),), 5,
         "does not offer PKCE with S256"),
        ("PKCE as a string", (metadata(code_challenge_methods_supported="S256"),), 5,
         "says nothing of PKCE", 2),
        ("a script to visit", (metadata(authorization_endpoint="javascript:alert(1)"),), 5,
         "the authorization_endpoint", 2),
        ("nothing to visit", (metadata(authorization_endpoint=None),), 5,
         "names no authorization_endpoint", 2),
        ("moved, and the login fails", (metadata(token_endpoint="{trap}/token"),), 5,
         "the issuer answered invalid_grant"),
    ),
    AGAIN: (
        ("moved, and the login fails", (metadata(token_endpoint="{trap}/token"),), 5,
         "answered invalid_grant"),
    ),
    SERVICE: (
        ("repeats the client's secret", (error("invalid_request", "no {sent}!"),), 5,
         "answered invalid_request"),
        ("invalid_client", (error("invalid_client", status_code=401),),
         5, "answered invalid_client"),
        ("unknown error", (error("purple"),), 5, "answered purple"),
        ("error in a 200", (error("invalid_scope", status_code=200),), 5, "answered invalid_scope"),
        ("an error that is a number", (error(5),), 5, "unreadable error"),
        ("an error that is too long", (error("x" * 81),), 5, "unreadable error"),
        ("a nasty error", (error(NASTY),), 5, "unreadable error"),
        ("a nasty description", (error("invalid_request", NASTY),), 5, SHOWN),
        ("a long description", (error("invalid_request", "x" * MIB),), 5, TOO_BIG),
        ("a description that is a list", (error("invalid_request", []),), 5, "invalid_request"),
        ("markup", (error("invalid_request", "[bold]hi[/bold]"),), 5, "[bold]hi[/bold]"),
        ("wait for ever", (status(429, "retry-after: 9999999999"),), 5, "answered 429"),
        ("503 once", (status(503), GOOD), 0, "", 2),
        ("reset once", (RESET, GOOD), 0, "", 2),
        ("cut once", (cut(token()), GOOD), 0, "", 2),
        ("no token type", (token(token_type=MISSING),), 0, ""),
        ("token type N_A", (token(token_type="N_A"),), 5, "a token of type N_A"),
        ("token type DPoP", (token(token_type="DPoP"),), 5, "a token of type DPoP"),
        ("a nasty token type", (token(token_type=NASTY),), 5, "a token of type \\x1b[2J"),
        ("a member that nobody knows", (token(purple={"a": [1]}),), 0, ""),
        ("bearer in small letters", (token(token_type="bearer"),), 0, ""),
        ("no token", (token(access_token=MISSING),), 5, "without a usable access token"),
        ("an empty token", (token(access_token=""),), 5, "without a usable access token"),
        ("a token of two lines", (token(access_token="{at}\nx: y"),), 5, "that no token has"),
        ("a token with NUL", (token(access_token="{at}\0"),), 5, "that no token has"),
        ("a token beyond ASCII", (token(access_token="{at}\xe9"),), 5, "that no token has"),
        ("half a character", (token(access_token="{at}\ud800"),), 5, "that no token has"),
        ("a token of a megabyte", (token(access_token="x" * (MIB - 200)),), 5,
         "usable access token"),
        ("two tokens", (text('{"access_token":"{at}","access_token":"b"}'),), 0, ""),
        ("expires_in missing", (token(expires_in=MISSING),), 0, ""),
        ("expires_in absurd", (token(expires_in=10**15),), 0, ""),
        ("expires_in beyond numbers", (lasting("1e400"),), 0, ""),
        ("expires_in NaN", (token(expires_in=float("nan")),), 0, ""),
        ("expires_in too many digits", (lasting("9" * 5000),), 0, ""),
        ("expires_in negative", (token(expires_in=-1),), 5, "a token that is over"),
        ("expires_in zero", (token(expires_in=0),), 5, "a token that is over"),
        ("expires_in true", (token(expires_in=True),), 0, ""),
        ("expires_in in a string", (token(expires_in="3600"),), 0, ""),
        ("a broader scope", (token(scope="read admin"),), 0, ""),
        ("a nasty scope", (token(scope=NASTY),), 0, ""),
        ("scope in a list", (token(scope=["read"]),), 0, ""),
        ("a refresh token that is not for it", (token(refresh_token="{rt}"),), 0, ""),
    ),
    REFRESH: (
        ("repeats what it was sent", (error("invalid_request", "no {sent}!"),), 5,
         "answered invalid_request"),
        ("an error that was sent to it", (error("{sent}"),), 5, "answer"),
        ("a token type that was sent to it", (token(token_type="{sent}"),), 5, "a token of type"),
        ("a scope that was sent to it", (token(scope="read {sent}", refresh_token="{rt}"),), 5,
         "a secret among its scopes"),
        ("a scope that is the token", (token(scope="x{at}"),), 5, "a secret among its scopes"),
        ("a token type that is the token", (token(token_type="x{at}"),), 5, "of type x****,"),
        ("invalid_grant", (error("invalid_grant"),), 3, "has ended", 1, ENDED),
        ("invalid_grant in a 401", (error("invalid_grant", status_code=401),), 3,
         "has ended", 1, ENDED),
        ("invalid_grant in a 500", (error("invalid_grant", status_code=500),), 5,
         "answered 500", 2),
        ("another case", (error("Invalid_Grant"),), 5, "answered Invalid_Grant"),
        ("a list of errors", (error(["invalid_grant"]),), 5, "unreadable error"),
        ("an empty 400", (status(400),), 5, "answered 400"),
        ("a forbidden page", (page(403),), 5, "answered 403"),
        ("a page", (HTML,), 5, NO_JSON),
        ("invalid_client", (error("invalid_client", status_code=401),), 5,
         "answered invalid_client"),
        ("slow_down", (error("slow_down"),), 5, "answered slow_down"),
        ("500 once", (status(500), GOOD), 0, "", 2),
        ("500 always", (status(500),), 5, "answered 500", 2),
        ("reset once", (RESET, GOOD), 0, "", 2),
        ("closed always", (CLOSE,), 5, BROKE, 2),
        ("cut before it rotated", (cut(token()), GOOD), 0, "", 2),
        ("cut after it rotated", (cut(token(refresh_token="{rt}")), GOOD), 0, ""),
        ("silence", (HANG,), 5, IN_TIME),
        ("dripping body", (DRIP,), 5, IN_TIME),
        ("endless body", (POUR,), 5, TOO_BIG),
        ("huge", (HUGE,), 5, TOO_BIG),
        ("a bomb", (BOMB,), 5, TOO_BIG),
        ("redirect 301", (redirect("{origin}/token", 301),), 5, "answered 301"),
        ("redirect 302", (redirect("{trap}/token", 302),), 5, "answered 302"),
        ("redirect 307", (redirect("{trap}/token", 307),), 5, "answered 307"),
        ("redirect 308", (redirect("http://10.0.0.1/token", 308),), 5, "answered 308"),
        ("rotated to the same", (token(refresh_token=MISSING, scope="read"),), 0, ""),
        ("rotated to nothing", (token(refresh_token=""),), 0, ""),
        ("rotated to null", (token(refresh_token=None),), 0, ""),
        ("rotated to two lines", (token(refresh_token="a\nb"),), 0, ""),
        ("rotated, no token type", (token(token_type=MISSING, refresh_token="{rt}"),), 0, ""),
        ("rotated, token type N_A", (token(token_type="N_A", refresh_token="{rt}"),), 5,
         "type N_A"),
        ("rotated, a bad token", (token(access_token="\n", refresh_token="{rt}"),), 5,
         "that no token has"),
        ("rotated, already over", (token(expires_in=0, refresh_token="{rt}"),), 5, "is over"),
        ("rotated, a nasty scope", (token(scope=NASTY, refresh_token="{rt}"),), 0, ""),
    ),
    NARROW: (
        ("a broader scope", (token(scope="admin read", refresh_token="{rt}"),), 4,
         "gave admin too"),
        ("a word of OpenID", (token(scope="openid read", refresh_token="{rt}"),), 0, ""),
    ),
    CODE: (
        ("an error that was sent to it", (error("{sent}"),), 5, "answer"),
        ("invalid_grant", (error("invalid_grant"),), 5, "answered invalid_grant"),
        ("a forbidden page", (page(403),), 5, "answered 403"),
        ("503, for a code is sent once", (status(503),), 5, "answered 503"),
        ("reset, for a code is sent once", (RESET,), 5, BROKE),
        ("silence", (HANG,), 5, IN_TIME),
        ("redirect 307", (redirect("{trap}/token", 307),), 5, "answered 307"),
        ("token type N_A", (token(token_type="N_A", refresh_token="{rt}"),), 5, "type N_A"),
        ("an id token that is none", (token(refresh_token="{rt}", id_token="x.!!!.y"),), 0, ""),
        ("somebody else", (token(refresh_token="{rt}", id_token="e30.eyJzdWIiOiJib2IifQ.x"),), 4,
         "as somebody else"),
    ),
    CALLBACK: (
        ("iss wrong", (callback("code={code}&state={state}&iss=https%3A%2F%2Fevil.example"),), 5,
         "comes from another issuer"),
        ("iss with a slash", (callback("code={code}&state={state}&iss={iss}%2F"),), 5,
         "comes from another issuer"),
        ("iss promised and missing", (callback("code={code}&state={state}"),), 5,
         "does not say that it comes from"),
        ("iss twice", (callback("code={code}&state={state}&iss={iss}&iss={iss}"),), 5,
         "has a parameter twice"),
        ("error from another issuer", (callback("error=access_denied&state={state}&iss=x"),), 5,
         "comes from another issuer"),
        ("error from nobody", (callback("error=access_denied&state={state}"),), 5,
         "does not say that it comes from"),
        ("access_denied", (callback("error=access_denied&state={state}&iss={iss}"),), 5,
         "answered access_denied"),
        ("a nasty error", (callback("error=%1b%5b2J%0d%0a&state={state}&iss={iss}"),), 5,
         "unreadable error"),
        ("an error and a code", (callback("error=x&code={code}&state={state}&iss={iss}"),), 5,
         "answered x"),
        ("code twice", (callback("code={code}&code=x&state={state}&iss={iss}"),), 5,
         "has a parameter twice"),
        ("no code", (callback("state={state}&iss={iss}"),), 5, "holds no code"),
        ("code of two lines", (callback("code=a%0ab&state={state}&iss={iss}"),), 5,
         "holds no code"),
        ("not UTF-8", (callback("code=%ff&state={state}&iss={iss}"),), 5, "can't be read"),
        ("a bad escape", (callback("code=%zz&state={state}&iss={iss}"),), 5, "can't be read"),
        ("sixty parameters", (callback("a=1&" * 60 + "state={state}&iss={iss}"),), 5,
         "too many parameters"),
        ("state wrong, then right", (callback("code=x&state=y&iss={iss}"), GOOD), 0, "", 2),
        ("state missing, then right", (callback("code=x&iss={iss}"), GOOD), 0, "", 2),
        ("state twice, then right", (callback("code=x&state={state}&state={state}"), GOOD), 0,
         "", 2),
        ("a fragment, then right", (redirect("{callback}#access_token=x&state={state}"), GOOD), 0,
         "", 2),
        ("a form, then right", (Answer(b'<form method=post action="{callback}">'
         b'<input name=code value=x><input name=state value="{state}"></form>'), GOOD), 0, "", 2),
        ("a huge code, then right", (callback("code=" + "x" * 20_000 + "&state={state}"), GOOD), 0,
         "", 2),
        ("replayed", (GOOD, callback("code=x&state={state}&iss={iss}")), 0, "", 2),
    ),
    DEVICE: (
        ("redirect 307", (redirect("{trap}/device", 307),), 5, "answered 307"),
        ("503", (status(503),), 5, "answered 503"),
        ("silence", (HANG,), 5, IN_TIME),
        ("NaN", (device(interval=float("nan")),), 0, "enter the code"),
        ("unauthorized_client", (error("unauthorized_client", NASTY),), 5, "unauthorized_client"),
        ("no device code", (device(device_code=MISSING),), 5, "without a device code"),
        ("a huge device code", (device(device_code="x" * 70_000),), 5, "without a device code"),
        ("no user code", (device(user_code=MISSING),), 5, "without a user code"),
        ("a nasty user code", (device(user_code=NASTY),), 5, "that can't be shown"),
        ("a long user code", (device(user_code="x" * 65),), 5, "without a user code"),
        ("a user code with markup", (device(user_code="[red]A[/red]"),), 0,
         "the code [red]A[/red]"),
        ("nowhere to go", (device(verification_uri=MISSING),), 5, "not https"),
        ("a script to visit", (device(verification_uri="javascript:alert(1)"),), 5, "not https"),
        ("plain http to visit", (device(verification_uri="http://a.example/"),), 5, "not https"),
        ("a nasty address", (device(verification_uri="https://a.example/" + NASTY),), 5,
         "not https"),
        ("a script for the QR code", (device(verification_uri_complete="javascript:x"),), 5,
         "not https"),
        ("already over", (device(expires_in=0),), 3, "nobody entered the code in time"),
        ("an absurd interval", (device(interval=10**9),), 3, "nobody entered the code in time"),
    ),
    POLL: (
        ("an error that was sent to it", (error("{sent}"),), 5, "answer"),
        ("pending, then yes", (error("authorization_pending"), GOOD), 0, "", 2),
        ("access_denied", (error("access_denied", NASTY),), 5, "answered access_denied"),
        ("expired_token", (error("expired_token"),), 3, "nobody entered the code in time"),
        ("a forbidden page", (page(403),), 5, "answered 403"),
        ("redirect 307", (redirect("{trap}/token", 307),), 5, "answered 307"),
        ("503, then yes", (status(503), GOOD), 0, "", 2),
        ("reset, then yes", (RESET, GOOD), 0, "", 2),
        ("a token of two lines", (token(access_token="a\nb", refresh_token="{rt}"),), 5,
         "that no token has"),
        ("slow_down for ever", (error("slow_down"),), 3,
         "nobody entered the code in time", 2, WORKS,
         "each answer makes the next wait five seconds longer, until the code is over"),
    ),
    REVOKE: (
        ("an error that was sent to it", (error("{sent}"),), 9, "local only", 2, LEFT),
        ("a page", (HTML,), 0, ": revoked", 2, LEFT),
        ("a no in a 200", (error("invalid_request", status_code=200),), 9, "local only", 2, LEFT),
        ("unsupported_token_type", (error("unsupported_token_type"),), 9, "of this kind", 2, LEFT),
        ("invalid_client for a public client", (error("invalid_client", status_code=401),), 9,
         "refused: 401 invalid_client", 2, LEFT),
        ("a nasty error", (error(NASTY),), 9, "refused: 400", 2, LEFT),
        ("503", (status(503, "retry-after: 5"),), 9, "unknown, queued", 2, KILLED),
        ("429", (status(429),), 9, "unknown, queued", 2, KILLED),
        ("not found", (status(404),), 9, "unknown, queued", 2, KILLED),
        ("redirect 307", (redirect("{trap}/revoke", 307),), 9, "unknown, queued", 2, KILLED),
        ("reset", (RESET,), 9, "unknown, queued", 2, KILLED),
        ("cut", (cut(EMPTY),), 9, "unknown, queued", 2, KILLED),
        ("silence", (HANG,), 9, "unknown, queued", 1, KILLED),
    ),
    PROVE: (
        ("still active", (text('{"active":true}'),), 9, "still calls it active", 2, DEAD),
        ("active in a string", (text('{"active":"true"}'),), 0, ": revoked", 2, DEAD),
        ("active a number", (text('{"active":1}'),), 0, ": revoked", 2, DEAD),
        ("active twice", (text('{"active":true,"active":false}'),), 0, ": revoked", 2, DEAD),
        ("nothing", (text("{}"),), 0, ": revoked", 2, DEAD),
        ("a forbidden page", (page(403),), 0, ": revoked", 2, DEAD),
        ("503", (status(503),), 0, ": revoked", 2, DEAD),
        ("redirect 307", (redirect("{trap}/", 307),), 0, ": revoked", 2, DEAD),
        ("a bomb", (BOMB,), 0, ": revoked", 2, DEAD),
        ("silence", (HANG,), 0, "access token", 1, DEAD),
    ),
}
# fmt: on


def modes() -> Iterator[Mode]:
    """Return every mode of the table."""
    for scene, rows in TABLE.items():
        for row in rows:
            yield Mode(scene, *row)  # type: ignore[arg-type]  # rows are checked by running them
