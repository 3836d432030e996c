"""Reads what the browser brought back: RFC 6749, 4.1.2 and the table of RFC 9207.

| `iss` promised | `iss` there | |
|---|---|---|
| yes | yes | compared |
| yes | no | refused |
| no | yes | compared |
| no | no | goes on |

The table holds for error answers too, and before anything in them is acted on or shown.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from brokerctl.errors import IssuerError
from brokerctl.oauth.message import host_of
from brokerctl.oauth.tokens import parse_error
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.oauth.metadata import Metadata

MAX_QUERY = 65536
MAX_PARAMETERS = 50
_QUERY = re.compile(r"[\x21-\x7e]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CODE = re.compile(r"[\x20-\x7e]+")
_FOUND = 302


def parse_query(query: str) -> dict[str, str]:
    """Return the parameters, or IssuerError where one is doubled or the form encoding is wrong."""
    if len(query) > MAX_QUERY or not _QUERY.fullmatch(query) or _BAD_ESCAPE.search(query):
        raise IssuerError("the answer of the browser can't be read")
    found: dict[str, str] = {}
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise IssuerError("the answer of the browser has too many parameters")
    for key, _, value in pairs:
        try:
            name, text = unquote_plus(key, errors="strict"), unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            raise IssuerError("the answer of the browser can't be read") from None
        if name in found:  # RFC 6749, 3.1; Security: two readers would pick different ones
            raise IssuerError("the answer of the browser has a parameter twice")
        found[name] = text
    return found


def is_ours(query: str, state: Secret) -> bool:
    """Say whether a callback carries exactly our `state`, once; all else is somebody else's."""
    values = [
        unquote_plus(value)
        for key, _, value in (pair.partition("=") for pair in query[:MAX_QUERY].split("&"))
        if unquote_plus(key) == "state"
    ]
    return len(values) == 1 and Secret(values[0]) == state


def parse_callback(query: str, state: Secret, metadata: Metadata) -> Secret:
    """Return the authorization code; OAuthError where the issuer said no, else IssuerError."""
    found = parse_query(query)
    if Secret(found.get("state", "")) != state:
        raise IssuerError("the answer of the browser belongs to another login")
    host = host_of(metadata.issuer)
    _check_issuer(found.get("iss"), metadata, host)
    if "error" in found:
        raise parse_error(dict(found), _FOUND, host)
    code = found.get("code", "")
    if not _CODE.fullmatch(code):
        raise IssuerError(f"the answer of {host} holds no code")
    return Secret(code)


def _check_issuer(iss: str | None, metadata: Metadata, host: str) -> None:
    if iss is None:
        if metadata.iss_in_callback:
            raise IssuerError(
                f"the answer does not say that it comes from {host}, which promised to"
            )
    elif iss != metadata.issuer:  # letter by letter (RFC 9207, 2.4)
        raise IssuerError(f"the answer comes from another issuer than {host}")
