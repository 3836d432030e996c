"""The client authenticates with a signed statement instead of a secret (RFC 7521, 7523).

Authlib signs it. Security: `aud` is the issuer alone, as one string, whatever its metadata says: an
assertion for a list, or for an endpoint that a hostile issuer named, would be accepted by another
issuer (CVE-2025-27370).
"""

from __future__ import annotations

from binascii import b2a_base64
from warnings import catch_warnings

from authlib.oauth2.rfc7523 import private_key_jwt_sign
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from brokerctl.oauth.client_auth import get_secret
from brokerctl.oauth.flows import get_endpoint
from brokerctl.oauth.private_key import get_private_key, unusable
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joserfc.jwk import Key

    from brokerctl.oauth.client_auth import FlowContext, Proof

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME_S = 180
JTI_BYTES = 24
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


def client_secret_jwt(ctx: FlowContext) -> Proof:
    """Sign with the client secret (HS256)."""
    secret = get_secret(ctx)
    with catch_warnings(action="ignore", category=SecurityWarning):  # the issuer chose its length
        key = OctKey.import_key(secret.reveal().encode())
    return _proof(ctx, key, "HS256")


def private_key_jwt(ctx: FlowContext) -> Proof:
    """Sign with the client's key, PEM or JWK; the algorithm follows from the key."""
    key = get_private_key(ctx)
    return _proof(ctx, key, _algorithm(ctx, key))


def _proof(ctx: FlowContext, key: Key, algorithm: str) -> Proof:
    issued_at = int(ctx.now())
    by_endpoint = ctx.profile.assertion_audience == "token_endpoint"
    audience = get_endpoint(ctx, "token_endpoint") if by_endpoint else ctx.profile.issuer
    header = {"typ": "JWT"}
    if key.kid is not None:
        header["kid"] = key.kid
    try:
        with catch_warnings(action="ignore", category=SecurityWarning):  # EdDSA's name has a heir
            assertion = private_key_jwt_sign(
                key,
                ctx.profile.client_id,
                audience,
                algorithm,
                {"jti": b2a_base64(ctx.random(JTI_BYTES), newline=False).decode()},
                header=header,
                issued_at=issued_at,
                expires_at=issued_at + LIFETIME_S,
            )
    except (JoseError, ValueError, TypeError) as error:
        raise unusable(ctx) from error
    return (), [
        ("client_id", ctx.profile.client_id),
        ("client_assertion_type", TYPE),
        ("client_assertion", Secret(assertion)),
    ]


def _algorithm(ctx: FlowContext, key: Key) -> str:
    if isinstance(key, ECKey) and key.curve_name in _CURVES:
        return _CURVES[key.curve_name]
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        return _choose(ctx, "EdDSA", "Ed25519")  # the second since RFC 9864
    if isinstance(key, RSAKey):
        return _choose(ctx, "RS256", "PS256")
    raise unusable(ctx)


def _choose(ctx: FlowContext, usual: str, other: str) -> str:
    """Return the usual name, unless the issuer offers the other one only."""
    offered = ctx.metadata.token_endpoint_auth_signing_alg_values_supported or (usual,)
    return other if usual not in offered and other in offered else usual
