"""Reads what a signed token says, by the word of the connection that it came by.

No signature is looked at: it is for the one that the token is made out to.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from brokerctl import jsonlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.secret import Secret

MAX_TOKEN_CHARS = 65536
_SUB_CHARS = 255


def find_unverified_end(id_token: Secret) -> float | None:
    """Return when a token says that it is over (RFC 7519, 4.1.4); None where it does not say."""
    end = read_unverified_claims(id_token.reveal()).get("exp")
    return end if isinstance(end, int | float) and not isinstance(end, bool) else None


def find_unverified_sub(id_token: object) -> str | None:
    """Return the `sub` of an ID token, or None."""
    sub = read_unverified_claims(id_token).get("sub")
    return sub if isinstance(sub, str) and 0 < len(sub) <= _SUB_CHARS else None


def read_unverified_claims(id_token: object) -> dict[str, Any]:
    """Return the claims of an ID token without looking at its signature; none where it is none.

    The token came straight from the token endpoint over TLS, which OpenID Connect Core, 3.1.3.7
    lets stand for the signature; its `sub` is only compared with the one of an earlier login.
    """
    if not isinstance(id_token, str) or len(id_token) > MAX_TOKEN_CHARS:
        return {}
    parts = id_token.split(".")
    if len(parts) != 3 or not parts[1].isascii():  # noqa: PLR2004 - a compact JWS has three
        return {}
    text = parts[1].replace("-", "+").replace("_", "/")
    try:
        claims = jsonlite.loads(a2b_base64(text + "=" * (-len(text) % 4)))
    except (Base64Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
