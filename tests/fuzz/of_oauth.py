"""What issuers, browsers and people who paste send: answers, callbacks, headers, keys."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from brokerctl.config.references import resolve
from brokerctl.effects.loopback import read_callback, read_pasted
from brokerctl.errors import IssuerError
from brokerctl.model import Reference
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.flows.code import is_ours, parse_callback
from brokerctl.oauth.flows.device import parse_device_response
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.metadata import Metadata, endpoints_moved, max_age, parse, parse_metadata
from brokerctl.oauth.metadata import render as render_metadata
from brokerctl.oauth.revocation import parse_active, parse_revocation
from brokerctl.oauth.tokens import parse_token_response
from brokerctl.oauth.unverified_claims import find_unverified_sub
from brokerctl.secret import Secret
from tests.flows import ISSUER, REDIRECT_URI, context, metadata, profile
from tests.fuzz import driving as some
from tests.fuzz.driving import Target, bent, mutated

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = Secret("s" * 43)
SUB = base64.urlsafe_b64encode(b'{"sub":"248289761001","aud":"c"}').decode().rstrip("=")
TOKEN = {
    "access_token": "2YotnFZFEjr1zCsicMWpAA",
    "token_type": "Bearer",
    "expires_in": 3600,
    "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
    "scope": "a b",
    "id_token": f"eyJhbGciOiJub25lIn0.{SUB}.c2ln",
}
DEVICE = {
    "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/device",
    "verification_uri_complete": f"{ISSUER}/device?user_code=WDJB-MJHT",
    "expires_in": 1800,
    "interval": 5,
}
ERROR = {"error": "invalid_grant", "error_description": "it has ended", "error_uri": ISSUER}
ABOUT: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "device_authorization_endpoint": f"{ISSUER}/device",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "introspection_endpoint": "http://127.0.0.1:8080/introspect",
    "scopes_supported": ["a", "b"],
    "code_challenge_methods_supported": ["S256", "plain"],
    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    "authorization_response_iss_parameter_supported": True,
}
KEY = ec.derive_private_key(7, ec.SECP256R1())  # 7 is no secret
PEMS = [
    made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for made in (KEY, ed25519.Ed25519PrivateKey.from_private_bytes(b"\7" * 32))
]
JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    "kid": "1",
    "use": "sig",
}


def answers(*valid: object) -> some.Maker[HttpResponse]:
    """Make answers of any status with nearly valid bodies."""
    names = some.among(["retry-after", "cache-control", "content-type"])
    known = some.among(["7", "max-age=60", "max-age=" + "9" * 5000, "\x00", "²"])
    headers = some.lists(some.tuples(names, some.one_of(known, some.any_text)), 2)
    statuses = some.among([200] * 9 + [204, 302, 400, 401, 403, 404, 429, 500, 503])
    bodies = some.one_of(bent(*valid, ERROR), bent(*valid), some.odd_bytes, some.nested)
    return some.mapped(
        some.tuples(statuses, bodies, headers),
        lambda made: HttpResponse(status=made[0], body=made[1], headers=tuple(made[2])),
    )


def said(read: Callable[[], object]) -> None:
    """Read an answer; what a refusal says can be shown on one line."""
    message = ""
    try:
        read()
    except IssuerError as error:
        message = error.message
    assert message.isprintable()
    assert len(message) < 400


def read_metadata(response: HttpResponse) -> None:
    """Read metadata, keep it, read it back, and hold it against what was known."""
    found = parse_metadata(response, ISSUER)
    assert parse(render_metadata(found)) == found
    endpoints_moved(metadata(), found)


def read_answer(response: HttpResponse) -> None:
    """Read a token endpoint's answer; a token that passes can go into a header."""
    found = parse_token_response(response, ("a",), host="h")
    assert all("!" <= char <= "~" for char in found.access_token.reveal())
    assert found.expires_in is None or 0 <= found.expires_in <= 365 * 86400


def accepts(query: str) -> bool:
    """Return whether a callback is this login's."""
    return is_ours(query, STATE)


def come_back(head: bytes) -> None:
    """Bring an answer back as a browser's request, and read the code in it."""
    status, query = read_callback(head, "127.0.0.1:4242", accepts)
    assert (query is not None) == (status == 200)
    if query is not None:
        parse_callback(query, STATE, metadata())


def paste(data: bytes) -> None:
    """Paste a line into the terminal, and read the code in it."""
    query = read_pasted(data.decode("utf-8", "replace"), REDIRECT_URI, accepts)
    if query is not None:
        parse_callback(query, STATE, metadata())


def sign(key: bytes) -> None:
    """Make a client assertion with any key file."""
    of = profile(client_auth="private_key_jwt")
    text = key.decode("utf-8", "replace")
    authenticated_form(context(of, key_pem=text), f"{ISSUER}/token", [])


def no_secret(_name: str) -> str | None:
    """Find no stored secret."""
    return None


def use_secret(value: str) -> None:
    """Find a client secret in a variable, and authenticate with it in each way."""
    found = resolve(Reference(kind="env", target=("X",)), {"X": value}, no_secret).reveal()
    for auth in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
        ctx = context(profile(client_auth=auth), secret=found)
        authenticated_form(ctx, f"{ISSUER}/token", [("a", "b")])


def keep(data: bytes) -> None:
    """Read a cached metadata entry."""
    found = parse(data)
    assert found is None or isinstance(found, Metadata)


def tell(response: HttpResponse) -> None:
    """Read what an issuer says to a revocation; it never raises."""
    assert parse_revocation(response, "h", is_public=True).reason.isprintable()


def cache(value: str) -> None:
    """Read Cache-Control."""
    assert 0 <= max_age(value) <= 7 * 86400


CALLBACK = f"/callback?code=SplxlOBeZQQYbYS6WxSbIA&state={'s' * 43}&iss={ISSUER}".encode()
HEADS = [
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:4242\r\nAccept: */*\r\n\r\n" % CALLBACK,
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:4242\r\n\r\n"
    % CALLBACK.replace(b"code=SplxlOBeZQQYbYS6WxSbIA", b"error=access_denied&error_description=x"),
]
FORM = (b"&", b"=", b"%2", b"%zz", b"%ff", b"state=", b"&state=s", b"+", b"#", b"code", b"error=")
KEPT = json.loads(render_metadata(metadata()))


def latin(data: bytes) -> str:
    """Return bytes as a header or a request has them."""
    return data.decode("latin-1")


def middle(data: bytes) -> str:
    """Return an ID token that says this."""
    return f"a.{base64.urlsafe_b64encode(data).decode().rstrip('=')}.b"


ID_TOKENS = some.one_of(
    some.mapped(mutated([str(TOKEN["id_token"]).encode()]), latin),
    some.mapped(some.one_of(bent({"sub": "2482", "aud": ["c"]}), some.nested), middle),
)
TARGETS: dict[str, Target] = {
    "token answers": Target(answers(TOKEN), lambda got: said(lambda: read_answer(got))),
    "device answers": Target(
        answers(DEVICE), lambda got: said(lambda: parse_device_response(got, ISSUER, "h"))
    ),
    "metadata": Target(answers(ABOUT), lambda got: said(lambda: read_metadata(got))),
    "introspection": Target(
        answers({"active": True}), lambda got: said(lambda: parse_active(got, "h"))
    ),
    "revocation": Target(answers({}), tell),
    "cached metadata": Target(bent(KEPT), keep),
    "ID tokens": Target(ID_TOKENS, find_unverified_sub),
    "Cache-Control": Target(some.mapped(mutated([b"public, max-age=60, no-store"]), latin), cache),
    "callbacks": Target(mutated(HEADS, FORM), come_back),
    "pasted lines": Target(mutated([REDIRECT_URI.encode() + CALLBACK[9:]], FORM), paste),
    "client secrets": Target(some.mapped(mutated([b"s3cr3t-_.~"]), some.as_text), use_secret),
    "client keys": Target(some.one_of(mutated(PEMS), bent(JWK), some.odd_bytes), sign),
}
