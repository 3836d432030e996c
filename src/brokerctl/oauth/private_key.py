"""A client's private key, PEM or JWK, as the profile's reference resolved to it."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from brokerctl import jsonlite
from brokerctl.errors import UsageError, shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joserfc.jwk import Key

    from brokerctl.oauth.client_auth import FlowContext


def get_private_key(ctx: FlowContext) -> Key:
    """Return the profile's client_key; UsageError where there is none, or none that can sign."""
    pem = ctx.credentials.key_pem
    if not pem:
        raise UsageError(
            f"'{ctx.profile.name}' has no client_key",
            hint=f"run 'brokerctl profile edit {shell_word(ctx.profile.name)}'",
        )
    text = pem.reveal().strip()
    try:
        key = _import(text)
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise unusable(ctx) from error
    if not key.is_private:
        raise UsageError(f"the client_key of '{ctx.profile.name}' is a public key")
    return key


def _import(text: str) -> Key:
    if text.startswith("{"):
        jwk = jsonlite.loads(text.encode())
        if jwk.get("kty") == "oct":
            raise ValueError("a shared secret is no private key")
        from_jwk: Key = import_key(jwk)
        return from_jwk
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return kind.import_key(text)
        except (JoseError, ValueError, TypeError, UnsupportedAlgorithm):
            continue
    raise ValueError("no private key of a known kind")


def unusable(ctx: FlowContext) -> UsageError:
    """Return the error for a key that can't sign."""
    return UsageError(
        f"the client_key of '{ctx.profile.name}' can't sign",
        hint="it must be an RSA, P-256, P-384, P-521 or Ed25519 private key, as PEM or JWK",
    )
