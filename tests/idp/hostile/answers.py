"""The words of the table: answers that are wrong in one way each.

`{origin}`, `{trap}`, `{sent}`, `{at}`, `{rt}`, `{code}`, `{dc}`, `{state}`, `{callback}`, `{iss}`
in them stand for what only a running issuer knows: `{at}` and `{rt}` issue an access and a refresh
token, `{sent}` is the secret that came with the request.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

from tests.idp.hostile.wire import Answer

JSON = "content-type: application/json"
MIB = 1 << 20
GOOD = None  # as it should be
MISSING: Any = object()  # for a member that is not there

# What a terminal, a log or rich markup would act on.
NASTY = "\x1b[2J\x1b]8;;https://evil.example\x07[red]go\u202e\u200b\x00\r\n"
SHOWN = "\\x1b[2J\\x1b]8;;https://evil.example\\x07[red]go\\u202e\\u200b\\x00\\x0d\\x0a"

HANG, DRIP, DRIP_HEAD = Answer(how="hang"), Answer(how="drip"), Answer(how="drip head")
POUR, POUR_HEAD, POUR_1XX = Answer(how="pour"), Answer(how="pour head"), Answer(how="pour 1xx")
RESET, CLOSE, NONSENSE = Answer(how="reset"), Answer(how="raw"), Answer(b"hello\r\n\r\n", how="raw")
TWO_LENGTHS = Answer(
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", how="raw"
)
EMPTY, HTML = Answer(), Answer(b"<!doctype html><h1>Log in</h1>", 200, ("content-type: text/html",))
BOMB = Answer(gzip.compress(bytes(8 * MIB)), 200, (JSON, "content-encoding: gzip"))
BROTLI = Answer(b"\x8b", 200, (JSON, "content-encoding: br"))
HUGE = Answer(b" " * (MIB + 1), 200, (JSON,))
DEEP = Answer(b"[" * 100_000, 200, (JSON,))


def status(code: int, *headers: str, body: bytes = b"") -> Answer:
    """Return an answer that is little but a status."""
    return Answer(body, code, headers)


def page(code: int) -> Answer:
    """Return a web page with this status."""
    return HTML._replace(status=code)


def redirect(location: str, code: int = 302) -> Answer:
    """Return a redirect."""
    return status(code, f"location: {location}")


def text(body: str | bytes, code: int = 200) -> Answer:
    """Return these characters and call them JSON; a lone surrogate is not UTF-8."""
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return Answer(data, code, (JSON,))


def metadata(**changes: object) -> Answer:
    """Return the issuer's metadata with some members changed."""
    return _object(
        {
            "issuer": "{origin}",
            "authorization_endpoint": "{origin}/auth",
            "token_endpoint": "{origin}/token",
            "device_authorization_endpoint": "{origin}/device",
            "revocation_endpoint": "{origin}/revoke",
            "introspection_endpoint": "{origin}/introspect",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        },
        changes,
    )


def token(**changes: object) -> Answer:
    """Return a token response with some members changed; without a refresh token."""
    return _object({"access_token": "{at}", "token_type": "Bearer", "expires_in": 3600}, changes)


def lasting(expires_in: str) -> Answer:
    """Return a token response with these very characters as its lifetime."""
    whole = token(expires_in=0)
    return whole._replace(body=whole.body.replace(b": 0", f": {expires_in}".encode()))


def device(**changes: object) -> Answer:
    """Return a device authorization response with some members changed."""
    return _object(
        {
            "device_code": "{dc}",
            "user_code": "WDJB-MJHT",
            "verification_uri": "{origin}/device",
            "expires_in": 10,
            "interval": 1,
        },
        changes,
    )


def error(code: object, description: object = MISSING, status_code: int = 400) -> Answer:
    """Return an error response (RFC 6749, 5.2)."""
    return _object({"error": code}, {"error_description": description})._replace(status=status_code)


def callback(query: str) -> Answer:
    """Return the redirect to the client with this query."""
    return redirect("{callback}?" + query)


def cut(answer: Answer) -> Answer:
    """Return an answer whose last byte never comes."""
    return answer._replace(how="cut")


def _object(members: dict[str, object], changes: dict[str, object]) -> Answer:
    kept = {name: value for name, value in {**members, **changes}.items() if value is not MISSING}
    return text(json.dumps(kept))
