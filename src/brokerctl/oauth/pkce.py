"""Proof key for code exchange (RFC 7636): S256, always, and new for each login."""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256

from brokerctl.errors import IssuerError
from brokerctl.oauth.message import host_of
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.model import Profile
    from brokerctl.oauth.metadata import Metadata

RANDOM_BYTES = 32
METHOD = "S256"


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7636, appendix A)."""
    return b2a_base64(data, newline=False).decode().rstrip("=").translate({43: "-", 47: "_"})


def make_secret(random: Callable[[int], bytes]) -> Secret:
    """Return 256 random bits in 43 characters: a verifier or a state."""
    return Secret(base64url(random(RANDOM_BYTES)))


def challenge(verifier: Secret) -> str:
    """Return the S256 challenge of a verifier."""
    return base64url(sha256(verifier.reveal().encode("ascii")).digest())


def require(metadata: Metadata, profile: Profile) -> None:
    """Raise IssuerError unless the issuer says S256, or says nothing and the profile vouches."""
    methods = metadata.code_challenge_methods_supported
    if METHOD in (methods or ()) or (methods is None and profile.pkce_support == "assumed"):
        return
    said = "says nothing of PKCE" if methods is None else f"does not offer PKCE with {METHOD}"
    hint = 'set pkce_support = "assumed" if you know that it has it' if methods is None else None
    raise IssuerError(f"{host_of(profile.issuer)} {said}", hint=hint)
