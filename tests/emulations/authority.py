"""Who signs identity tokens in the tests: an issuer's name, its key, its JWKS, and its forgeries.

The keys are made once a process, since making one takes a tenth of a second. What is noted for the
canary is the signature alone: claims are no secret, and without it they prove nothing.
"""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.idp.issuer import TRACE_DIR, note_file

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFETIME_S = 300
DAY_S = 86_400

# What a token has that must not be believed: changes of its claims, in seconds from now.
FORGERIES: dict[str, dict[str, Any]] = {
    "expired": {"iat": -2 * LIFETIME_S, "nbf": -2 * LIFETIME_S, "exp": -LIFETIME_S},
    "old": {"iat": -LIFETIME_S - 60, "nbf": -LIFETIME_S - 60, "exp": LIFETIME_S},
    "from tomorrow": {"iat": DAY_S, "nbf": DAY_S, "exp": DAY_S + LIFETIME_S},
    "without an end": {"exp": None},
    "another key": {},
    "alg none": {},
    "cut signature": {},
}


@cache
def rsa_key(number: int = 0) -> RSAKey:
    """Return this process's key of that number."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": f"test-{number}"})


@cache
def _notes() -> str | None:
    trace = os.environ.get(TRACE_DIR)
    return note_file(trace) if trace else None


def note_secret(kind: str, value: str) -> None:
    """Note a secret for the canary test, which searches all that the suite wrote for it."""
    path = _notes()
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "value": value}) + "\n")


class Authority:
    """One issuer of identity tokens: `Authority("https://gitlab.example").sign({"sub": "x"})`.

    `key` numbers its key: two authorities with one number sign with one key. `is_noted=False` is
    for tests that sign thousands of tokens, which would slow the canary's search.
    """

    def __init__(self, issuer: str, *, key: int = 0, is_noted: bool = True) -> None:
        self.issuer = issuer
        self.key = rsa_key(key)
        self._number = key
        self._is_noted = is_noted

    @property
    def jwks(self) -> dict[str, Any]:
        """The public keys, as a JWKS document."""
        return {"keys": [self.key.as_dict(private=False)]}

    def write_jwks(self, folder: str) -> str:
        """Write the JWKS into a folder and return the file's path."""
        path = os.path.join(folder, "jwks.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.jwks, file)
        return path

    def sign(
        self, claims: Mapping[str, Any], *, typ: str | None = "JWT", lifetime_s: float = LIFETIME_S
    ) -> str:
        """Return a signed token; iss, iat, nbf, exp and jti are as an issuer sets them.

        A claim given replaces that; None leaves it out.
        """
        now = int(time.time())
        usual = {"iss": self.issuer, "iat": now, "nbf": now, "exp": now + int(lifetime_s)}
        return self._encode({**usual, "jti": str(uuid.uuid4()), **claims}, typ, self.key)

    def forge(self, forgery: str, claims: Mapping[str, Any]) -> str:
        """Return a token with one fault, a name of FORGERIES, and everything else right."""
        now = int(time.time())
        times = FORGERIES[forgery]
        changed = {name: None if by is None else now + by for name, by in times.items()}
        if forgery == "another key":
            usual = {"iss": self.issuer, "iat": now, "exp": now + LIFETIME_S, "jti": "forged"}
            return self._encode({**usual, **claims}, "JWT", rsa_key(self._number + 1000))
        token = self.sign({**claims, **changed})
        head, body, signature = token.split(".")
        if forgery == "alg none":
            return f"{encode_part({'alg': 'none', 'typ': 'JWT'})}.{body}."
        if forgery == "cut signature":
            return f"{head}.{body}.{signature[:-8]}"
        return token

    def _encode(self, claims: Mapping[str, Any], typ: str | None, key: RSAKey) -> str:
        header = {"alg": "RS256", "kid": self.key.kid, **({"typ": typ} if typ else {})}
        kept = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(header, kept, key, algorithms=["RS256"])
        if self._is_noted:
            note_secret("identity_token", token.rpartition(".")[2])
        return token


def encode_part(members: Mapping[str, Any]) -> str:
    """Return one part of a JWT: JSON in base64url without padding."""
    data = json.dumps(members, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unverified_claims(token: str) -> dict[str, Any]:
    """Return a token's claims, believing nothing; ValueError where it is no JWT."""
    body = token.split(".")[1] if token.count(".") == 2 else ""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims
