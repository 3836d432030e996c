"""Every flow of ours against the certified issuer, over http and over TLS with a private CA."""

from __future__ import annotations

import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from joserfc.jwk import ECKey

from brokerctl.effects.http import Http
from brokerctl.effects.loopback import Loopback
from brokerctl.errors import IssuerError, LoginNeededError, OAuthError
from brokerctl.model import Profile
from brokerctl.oauth import metadata as about
from brokerctl.oauth.flows import find_flow
from brokerctl.oauth.flows.refresh import refresh
from brokerctl.oauth.message import BrokenError, HttpRequest
from brokerctl.oauth.revocation import introspect, revoke
from brokerctl.oauth.steps import Listen, Send, ShowUserCode, Visit
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from tests.flows import context, drive
from tests.idp.issuer import OidcProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.tokens import TokenAnswer

OPAQUE = "https://api.example.com"
SIGNED = "https://jwt.example.com"
SCOPES = ("offline_access", "openid", "read")


def http_of(issuer: OidcProvider) -> Http:
    """Return a sender that trusts the issuer's CA."""
    return Http(issuer.ca_file)


def context_of(
    issuer: OidcProvider,
    client_id: str = "cli",
    auth: str = "none",
    *,
    key_pem: str | None = None,
    **fields: Any,  # noqa: ANN401 - fields of Profile
) -> FlowContext:
    """Return a context with the issuer's real metadata; the opaque resource unless said."""
    chosen: dict[str, Any] = {"scopes": SCOPES, "resource": (OPAQUE,), "flow": "code", **fields}
    profile = Profile(name="p", issuer=issuer.url, client_id=client_id, client_auth=auth, **chosen)
    found = drive(about.discover(profile), http_of(issuer))
    secret = issuer.secrets.get(client_id)
    return context(profile, about=found, secret=secret, key_pem=key_pem, now=time.time)


class Person:
    """Whoever sits in front of the browser: carries out the steps that need one."""

    def __init__(self, issuer: OidcProvider, **how: Any) -> None:  # noqa: ANN401 - as approve()
        self.issuer = issuer
        self.how = how
        self.loopback: Loopback | None = None

    def __call__(self, step: object) -> str | None:
        """Listen, visit in a browser of another thread, or type in a user code."""
        if isinstance(step, Listen):
            self.loopback = Loopback(step.port)
            return self.loopback.redirect_uri
        if isinstance(step, ShowUserCode):
            self.issuer.approve_device(step.user_code, step.verification_uri, **self.how)
            return None
        assert isinstance(step, Visit)
        assert self.loopback is not None
        browser = threading.Thread(target=self.issuer.approve, args=(step.url,), kwargs=self.how)
        browser.start()
        try:
            return self.loopback.wait(step.accept, 20)
        finally:
            browser.join()
            self.loopback.close()


def log_in(ctx: FlowContext, issuer: OidcProvider, **how: Any) -> TokenAnswer:  # noqa: ANN401 - as approve()
    """Run the profile's flow to its end."""
    flow = find_flow(ctx.profile.flow)
    got: TokenAnswer = drive(flow.obtain(ctx), http_of(issuer), Person(issuer, **how))
    return got


@pytest.fixture(scope="module")
def key() -> ECKey:
    """Return the key of the client `key-jwt`."""
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"})


@pytest.fixture(scope="module", params=[False, True], ids=["http", "tls"])
def key_issuer(
    request: pytest.FixtureRequest, issuer_folder: str, key: ECKey
) -> Iterator[OidcProvider]:
    """Start an issuer that knows the key of `key-jwt`."""
    folder = tempfile.mkdtemp(dir=issuer_folder)
    jwks = {"keys": [key.as_dict(private=False)]}
    with OidcProvider(folder, tls=request.param, jwks=jwks) as running:
        yield running


def test_client_credentials_with_each_authentication(key_issuer: OidcProvider, key: ECKey) -> None:
    """All four ways get a token that the resource accepts; `%41+:&` in the secrets survives."""
    ways = {
        "basic": "client_secret_basic",
        "post": "client_secret_post",
        "secret-jwt": "client_secret_jwt",
        "key-jwt": "private_key_jwt",
    }
    for client_id, auth in ways.items():
        ctx = context_of(
            key_issuer,
            client_id,
            auth,
            key_pem=key.as_pem(private=True).decode(),
            flow="client_credentials",
            scopes=("read",),
        )
        got = log_in(ctx, key_issuer)
        used = key_issuer.use(got.access_token.reveal(), scope="read")
        assert used.json["client_id"] == client_id
        assert used.json["aud"] == OPAQUE
        assert got.expires_in
        assert got.refresh_token is None


def test_the_token_endpoint_as_audience_is_accepted_too(key_issuer: OidcProvider) -> None:
    """`assertion_audience = "token_endpoint"` is for issuers that want it; this one takes both."""
    ctx = context_of(
        key_issuer,
        "secret-jwt",
        "client_secret_jwt",
        flow="client_credentials",
        assertion_audience="token_endpoint",
    )
    assert log_in(ctx, key_issuer).access_token


@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
def test_a_wrong_secret_is_said(http_issuer: OidcProvider, auth: str) -> None:
    """invalid_client is the issuer's error, and no other."""
    ctx = context_of(http_issuer, auth.rpartition("_")[2], auth, flow="client_credentials")
    wrong = ctx.replace(credentials=ctx.credentials.replace(secret=Secret("wrong")))
    with pytest.raises(OAuthError) as caught:
        log_in(wrong, http_issuer)
    assert caught.value.error == "invalid_client"


def test_both_discovery_forms_say_the_same(issuer: OidcProvider) -> None:
    """RFC 8414's address and OpenID's."""
    found = []
    for url in about.well_known(issuer.url):
        response = http_of(issuer).send(HttpRequest(method="GET", url=url))
        found.append(about.parse_metadata(response, issuer.url).replace(fetched_at=0.0))
        with pytest.raises(IssuerError, match="another issuer"):
            about.parse_metadata(response, f"{issuer.url}/")
    assert found[0] == found[1]
    assert found[0].iss_in_callback
    assert found[0].token_endpoint == f"{issuer.url}/token"


def test_a_login_by_code_and_what_follows(issuer: OidcProvider) -> None:
    """Log in, use, refresh with rotation, revoke, and introspection says that it is over."""
    ctx = context_of(issuer)
    first = log_in(ctx, issuer, account="bob")
    assert first.id_sub == "bob"
    assert first.refresh_token is not None
    assert issuer.use(first.access_token.reveal(), scope="read").json["sub"] == "bob"
    second = drive(refresh(ctx, first.refresh_token), http_of(issuer))
    assert second.refresh_token is not None
    assert second.refresh_token != first.refresh_token
    assert issuer.use(second.access_token.reveal()).json["aud"] == OPAQUE
    assert drive(introspect(ctx, second.access_token), http_of(issuer)) is True
    ended = drive(revoke(ctx, second.refresh_token, "refresh_token"), http_of(issuer))
    assert ended.outcome == "revoked"
    assert drive(introspect(ctx, second.access_token), http_of(issuer)) is False
    with pytest.raises(OAuthError) as caught:
        drive(refresh(ctx, second.refresh_token), http_of(issuer))
    assert caught.value.error == "invalid_grant"


def test_a_refresh_can_narrow(http_issuer: OidcProvider) -> None:
    """A narrower request gets a token with less; the grant keeps the rest."""
    ctx = context_of(http_issuer, scopes=("offline_access", "openid", "read", "write"))
    first = log_in(ctx, http_issuer)
    assert first.refresh_token is not None
    narrow = drive(refresh(ctx.replace(scopes=("read",)), first.refresh_token), Http())
    assert http_issuer.use(narrow.access_token.reveal(), scope="write").status == 403
    wide = drive(refresh(ctx, narrow.refresh_token), Http())
    assert http_issuer.use(wide.access_token.reveal(), scope="write").status == 200


def test_a_person_who_says_no(http_issuer: OidcProvider) -> None:
    """access_denied comes back with `iss`, and is believed."""
    with pytest.raises(OAuthError, match="access_denied"):
        log_in(context_of(http_issuer), http_issuer, deny=True)


def test_a_login_by_device(issuer: OidcProvider) -> None:
    """The code is shown, entered and traded; the issuer names no interval."""
    ctx = context_of(issuer, "device", flow="device")
    got = log_in(ctx, issuer, account="carol")
    assert got.refresh_token is not None
    assert issuer.use(got.access_token.reveal(), scope="read").json["sub"] == "carol"


def test_a_device_login_that_is_denied(http_issuer: OidcProvider) -> None:
    """Saying no ends the polling."""
    with pytest.raises((OAuthError, LoginNeededError), match="access_denied"):
        log_in(context_of(http_issuer, "device", flow="device"), http_issuer, deny=True)


def test_signed_tokens_can_only_end_here(http_issuer: OidcProvider) -> None:
    """This issuer refuses to revoke or introspect a JWT: said as it is."""
    ctx = context_of(
        http_issuer, "post", "client_secret_post", flow="client_credentials", resource=(SIGNED,)
    )
    got = log_in(ctx, http_issuer)
    assert drive(revoke(ctx, got.access_token, "access_token"), Http()).outcome == "local_only"
    assert drive(introspect(ctx, got.access_token), Http()) is None


def test_what_is_told_of_an_issuer_in_trouble(http_issuer: OidcProvider) -> None:
    """A 503 is tried twice on a refresh; revocation stays unknown; introspection says nothing."""
    ctx = context_of(http_issuer)
    first = log_in(ctx, http_issuer)
    assert first.refresh_token is not None
    http_issuer.mode(token="503*1", revocation="503", introspection="503")
    second = drive(refresh(ctx, first.refresh_token), Http())
    assert second.refresh_token is not None
    ended = drive(revoke(ctx, second.refresh_token, "refresh_token"), Http())
    assert (ended.outcome, ended.reason) == ("unknown", "127.0.0.1 answered 503")
    assert drive(introspect(ctx, second.access_token), Http()) is None
    http_issuer.mode(token="503")
    with pytest.raises(IssuerError, match="503"):
        drive(refresh(ctx, second.refresh_token), Http())
    http_issuer.mode(token="ok")
    assert drive(refresh(ctx, second.refresh_token), Http()).access_token


def test_a_lost_answer_is_a_broken_connection(http_issuer: OidcProvider) -> None:
    """What was carried out and never answered is told apart from a time-out."""
    ctx = context_of(http_issuer, "post", "client_secret_post", flow="client_credentials")
    http_issuer.mode(token="lost*2")
    with pytest.raises(BrokenError):
        log_in(ctx, http_issuer)
    http_issuer.mode(token="hang")
    step = next(find_flow("client_credentials").obtain(ctx))
    assert isinstance(step, Send)
    with pytest.raises(IssuerError, match="in time") as caught:
        Http().send(step.request, work_time() + 0.5)
    assert not isinstance(caught.value, BrokenError)


def test_a_refused_resource(http_issuer: OidcProvider) -> None:
    """invalid_target goes away with `send_resource = false`."""
    refused: dict[str, Any] = {
        "flow": "client_credentials",
        "resource": ("https://refused.example.com",),
    }
    ctx = context_of(http_issuer, "post", "client_secret_post", scopes=(), **refused)
    with pytest.raises(OAuthError, match="invalid_target"):
        log_in(ctx, http_issuer)
    quiet = ctx.replace(profile=ctx.profile.replace(send_resource=False))
    assert log_in(quiet, http_issuer).access_token
