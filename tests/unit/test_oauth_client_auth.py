"""How the client says who it is, and what an assertion may be used for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.oauth import load
from brokerctl.oauth.client_auth import METHODS, authenticated_form
from brokerctl.oauth.flows.refresh import refresh
from brokerctl.secret import Secret
from tests.flows import ISSUER, NOW, answer, context, form_of, issued, metadata, play, profile

if TYPE_CHECKING:
    from joserfc.jwk import Key

    from brokerctl.oauth.message import HttpRequest

SECRET = "se%41+:& ä"
URL = f"{ISSUER}/token"
LONG = "a-secret-of-at-least-thirty-two-bytes"


def assertion(request: HttpRequest, key: Key, alg: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of the assertion, its signature checked."""
    token = jwt.decode(form_of(request)["client_assertion"][0], key, algorithms=[alg])
    return token.header, token.claims


def test_a_public_client_names_itself() -> None:
    """No secret, no header."""
    made = authenticated_form(context(), URL, [("a", "b")])
    assert form_of(made) == {"a": ["b"], "client_id": ["cli"]}


def test_basic_is_form_encoded_first() -> None:
    """RFC 6749, 2.3.1: colon, percent, plus and space survive; nothing of it is in the form."""
    of = profile(client_id="c:l%i", client_auth="client_secret_basic")
    made = authenticated_form(context(of, secret=SECRET), URL, [("a", "b")])
    value = dict(made.headers)["authorization"]
    assert isinstance(value, Secret)
    pair = base64.b64decode(value.reveal().removeprefix("Basic ")).decode()
    client_id, _, secret = pair.partition(":")
    assert (unquote_plus(client_id), unquote_plus(secret)) == ("c:l%i", SECRET)
    assert form_of(made) == {"a": ["b"]}
    assert value.reveal() not in repr(made)


def test_post_puts_the_secret_into_the_form() -> None:
    """As it is, form-encoded once."""
    of = profile(client_auth="client_secret_post")
    made = authenticated_form(context(of, secret=SECRET), URL, [])
    assert form_of(made) == {"client_id": ["cli"], "client_secret": [SECRET]}
    assert SECRET not in repr(made)


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (RSAKey.generate_key(2048), "RS256"),
        (ECKey.generate_key("P-256"), "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (ECKey.generate_key("P-521"), "ES512"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the checking side of joserfc
def test_the_algorithm_follows_from_the_key(key: RSAKey | ECKey | OKPKey, alg: str) -> None:
    """Each kind of key signs in its own way; the audience is the issuer, one string."""
    of = profile(client_auth="private_key_jwt")
    made = authenticated_form(context(of, key_pem=key.as_pem(private=True).decode()), URL, [])
    header, claims = assertion(made, key, alg)
    assert header == {"alg": alg, "typ": "JWT"}
    jti = claims.pop("jti")
    assert len(jti) >= 22
    assert claims == {
        "iss": "cli",
        "sub": "cli",
        "aud": ISSUER,
        "iat": int(NOW),
        "exp": int(NOW) + 180,
    }
    assert set(form_of(made)) == {"client_id", "client_assertion", "client_assertion_type"}


def test_a_jwk_brings_its_own_key_id() -> None:
    """A key in JWK form is named in the header, which some issuers want."""
    key = ECKey.generate_key("P-256", {"kid": "k-1"})
    text = jsonlite.dumps(key.as_dict(private=True))
    of = profile(client_auth="private_key_jwt")
    header, _ = assertion(authenticated_form(context(of, key_pem=text), URL, []), key, "ES256")
    assert header["kid"] == "k-1"


def test_rsa_signs_with_pss_where_only_that_is_offered() -> None:
    """The issuer's list chooses between the two ways of an RSA key, and nothing else."""
    key = RSAKey.generate_key(2048)
    about = metadata(token_endpoint_auth_signing_alg_values_supported=("none", "HS256", "PS256"))
    ctx = context(
        profile(client_auth="private_key_jwt"),
        about=about,
        key_pem=key.as_pem(private=True).decode(),
    )
    assertion(authenticated_form(ctx, URL, []), key, "PS256")


def test_hostile_metadata_does_not_change_the_audience() -> None:
    """A token endpoint of somebody else's gets an assertion made out to our issuer."""
    about = metadata(token_endpoint="https://victim.example.com/token")
    of = profile(client_auth="client_secret_jwt")
    made = authenticated_form(context(of, about=about, secret=LONG), URL, [])
    _, claims = assertion(made, OctKey.import_key(LONG), "HS256")
    assert claims["aud"] == ISSUER


def test_the_audience_can_be_the_token_endpoint() -> None:
    """For issuers that accept nothing else, if the profile says so."""
    of = profile(client_auth="client_secret_jwt", assertion_audience="token_endpoint")
    made = authenticated_form(context(of, secret=LONG), URL, [])
    assert assertion(made, OctKey.import_key(LONG), "HS256")[1]["aud"] == URL


def test_the_second_try_has_an_assertion_of_its_own() -> None:
    """A `jti` is used once, on a retry too."""
    ctx = context(profile(client_auth="client_secret_jwt"), secret=LONG)
    first, second = play(refresh(ctx, Secret("rt")), answer(b"", 503), issued()).requests
    ids = {assertion(made, OctKey.import_key(LONG), "HS256")[1]["jti"] for made in (first, second)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "nonsense",
        "{}",
        "{",
        '{"kty":"oct","k":"AAAA"}',
        ECKey.generate_key("P-256").as_pem(private=False).decode(),
        OKPKey.generate_key("X25519").as_pem(private=True).decode(),
        # Of a kind that the library never heard of: Ed25519's number with one digit changed.
        OKPKey.generate_key("Ed25519").as_pem(private=True).decode().replace("DK2Vw", "DK0Vw"),
    ],
)
def test_a_key_that_can_not_sign_is_the_profiles_fault(pem: str) -> None:
    """Exit 2 with a hint, and no traceback of a library."""
    ctx = context(profile(client_auth="private_key_jwt"), key_pem=pem)
    with pytest.raises(UsageError) as caught:
        authenticated_form(ctx, URL, [])
    assert "AAAA" not in caught.value.message


@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_a_missing_secret_is_the_profiles_fault(auth: str) -> None:
    """The hint names the command that stores one."""
    with pytest.raises(UsageError, match="no client secret"):
        authenticated_form(context(profile(client_auth=auth)), URL, [])


def test_methods_of_a_later_version_are_refused() -> None:
    """Mutual TLS is not silently left out."""
    with pytest.raises(UsageError, match="not in this version"):
        authenticated_form(context(profile(client_auth="tls_client_auth")), URL, [])


def test_an_unsigned_assertion_is_never_made() -> None:
    """`alg: none` can't come out of any list of the issuer's."""
    key = ECKey.generate_key("P-256")
    about = metadata(token_endpoint_auth_signing_alg_values_supported=("none",))
    ctx = context(
        profile(client_auth="private_key_jwt"),
        about=about,
        key_pem=key.as_pem(private=True).decode(),
    )
    token = form_of(authenticated_form(ctx, URL, []))["client_assertion"][0]
    assert jws.extract_compact(token.encode()).headers()["alg"] == "ES256"


@pytest.mark.parametrize("entry", METHODS.values())
def test_an_entry_of_the_table_resolves(entry: str) -> None:
    """Each method is a function of this room: import-linter can't see into strings."""
    assert entry.startswith("brokerctl.oauth.")
    assert callable(load(entry))
