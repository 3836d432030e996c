"""What a party that relies on identity tokens checks: signature, issuer, audience, time, replay.

One strict way for all emulated services; each says in its own words what was wrong.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError

from tests.emulations.authority import Authority, unverified_claims

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MALFORMED, ISSUER, SIGNATURE = "malformed", "issuer", "signature"
AUDIENCE, EXPIRED, TOO_EARLY, REUSED = "audience", "expired", "too early", "reused"


class NotBelieved(Exception):
    """A token that is not believed; `why` is one of the words above."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Verifier:
    """Believes some authorities, for one audience or several: `Verifier([gitlab]).verify(…)`."""

    def __init__(self, authorities: Iterable[Authority], *, leeway_s: float = 0) -> None:
        self._authorities = {authority.issuer: authority for authority in authorities}
        self._leeway_s = leeway_s
        self._used: set[tuple[str, str]] = set()

    def verify(
        self, token: str, audiences: Sequence[str], *, once: bool = False, now: float | None = None
    ) -> dict[str, Any]:
        """Return a token's claims, or raise NotBelieved. `once` refuses a jti seen before."""
        claims = self._verify_signature(token)
        self._check_times(claims, time.time() if now is None else now)
        named = claims.get("aud")
        if (named[0] if isinstance(named, list) and len(named) == 1 else named) not in audiences:
            raise NotBelieved(AUDIENCE)  # a list of several as well
        if once:
            self._use(claims)
        return claims

    def _verify_signature(self, token: str) -> dict[str, Any]:
        try:
            issuer = unverified_claims(token)["iss"]
        except (ValueError, KeyError, TypeError):
            raise NotBelieved(MALFORMED) from None
        authority = self._authorities.get(issuer)
        if authority is None:
            raise NotBelieved(ISSUER)
        try:
            found = jwt.decode(token, authority.key, algorithms=["RS256"])
        except (JoseError, ValueError):
            raise NotBelieved(SIGNATURE) from None
        if found.header.get("kid") != authority.key.kid:
            raise NotBelieved(SIGNATURE)
        return found.claims

    def _check_times(self, claims: dict[str, Any], now: float) -> None:
        times = [claims.get(name) for name in ("iat", "exp")]
        if not all(isinstance(value, int) for value in times):
            raise NotBelieved(MALFORMED)
        if claims["exp"] + self._leeway_s <= now:
            raise NotBelieved(EXPIRED)
        if max(claims["iat"], claims.get("nbf", 0)) - max(self._leeway_s, 1) > now:
            raise NotBelieved(TOO_EARLY)

    def _use(self, claims: dict[str, Any]) -> None:
        """Note the token as used. One without jti, as CircleCI's, has no name to note."""
        name = (claims["iss"], claims.get("jti", ""))
        if name[1] and name in self._used:
            raise NotBelieved(REUSED)
        self._used.add(name)
