"""The test issuer does what the tests rely on: all by raw HTTP, brokerctl has no part in it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from tests.idp import browser
from tests.idp.issuer import OidcProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

VERIFIER = "a-verifier-of-more-than-forty-three-characters"
OPAQUE = "https://api.example.com"
SIGNED = "https://jwt.example.com"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Callback(HTTPServer):
    """A client's loopback listener that remembers the last query."""

    query: dict[str, str]
    redirect_uri: str


class _Handler(BaseHTTPRequestHandler):
    server: Callback

    def do_GET(self) -> None:
        """Take the answer and thank the browser."""
        query = parse_qs(urlsplit(self.path).query)
        self.server.query = {name: values[0] for name, values in query.items()}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"thank you")

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def callback() -> Iterator[Callback]:
    """Listen on an ephemeral port, as a native client does."""
    with Callback(("127.0.0.1", 0), _Handler) as server:
        server.query = {}
        server.redirect_uri = f"http://127.0.0.1:{server.server_port}/callback"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def authorization_url(issuer: OidcProvider, callback: Callback, **more: str) -> str:
    """Build what a client would open in the browser."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest())
    query = {
        "client_id": "cli",
        "response_type": "code",
        "redirect_uri": callback.redirect_uri,
        "scope": "openid offline_access read",
        "prompt": "consent",
        "state": "s",
        "code_challenge": challenge.decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    return f"{issuer.url}/auth?{urlencode({**query, **more})}"


def redeem(issuer: OidcProvider, callback: Callback, **more: str) -> dict[str, Any]:
    """Exchange the code that the callback got for tokens."""
    answer = issuer.token(
        "cli",
        grant_type="authorization_code",
        code=callback.query["code"],
        redirect_uri=callback.redirect_uri,
        code_verifier=VERIFIER,
        **more,
    )
    assert answer.status == 200, answer
    return answer.json


def log_in(issuer: OidcProvider, callback: Callback) -> dict[str, Any]:
    """Log alice in for the opaque resource."""
    issuer.approve(authorization_url(issuer, callback, resource=OPAQUE))
    return redeem(issuer, callback, resource=OPAQUE)


def refresh(issuer: OidcProvider, tokens: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Use a refresh token for the opaque resource."""
    answer = issuer.token(
        "cli", grant_type="refresh_token", refresh_token=tokens["refresh_token"], resource=OPAQUE
    )
    return answer.status, answer.json


def test_metadata_has_both_forms_and_promises_what_is_on(issuer: OidcProvider) -> None:
    """Discovery names the issuer exactly, S256 alone, `iss` in answers, and no PAR."""
    metadata = issuer.metadata()
    assert issuer.get("/.well-known/oauth-authorization-server").json == metadata
    assert metadata["issuer"] == issuer.url
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert "pushed_authorization_request_endpoint" not in metadata
    assert {"device_authorization_endpoint", "revocation_endpoint"} <= metadata.keys()


def test_code_flow_by_forms(issuer: OidcProvider, callback: Callback) -> None:
    """A scripted browser logs in and consents, and the code gives an opaque token and a grant."""
    page = issuer.approve(authorization_url(issuer, callback, resource=OPAQUE), account="bob")
    assert page.text == "thank you"
    assert callback.query["iss"] == issuer.url
    assert callback.query["state"] == "s"
    tokens = redeem(issuer, callback, resource=OPAQUE)
    assert tokens["refresh_token"]
    used = issuer.use(tokens["access_token"], scope="read")
    assert used.json == {"sub": "bob", "client_id": "cli", "scope": "read", "aud": OPAQUE}
    assert issuer.use(tokens["access_token"], scope="admin").status == 403
    assert issuer.use("nonsense").status == 401


def test_a_person_can_say_no(http_issuer: OidcProvider, callback: Callback) -> None:
    """A denied consent comes back as access_denied, with the issuer's name."""
    http_issuer.approve(authorization_url(http_issuer, callback), deny=True)
    assert callback.query["error"] == "access_denied"
    assert callback.query["iss"] == http_issuer.url


def test_pkce_is_required(http_issuer: OidcProvider, callback: Callback) -> None:
    """Without a challenge there is no code, and with a wrong verifier no token."""
    http_issuer.approve(authorization_url(http_issuer, callback, code_challenge=""))
    assert callback.query["error"] == "invalid_request"
    http_issuer.approve(authorization_url(http_issuer, callback))
    code, uri = callback.query["code"], callback.redirect_uri
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": uri}
    assert http_issuer.token("cli", **form, code_verifier="another-" + VERIFIER).status == 400


def test_device_flow(issuer: OidcProvider) -> None:
    """A device's code is pending until the person has entered it, then gives a grant."""
    started = issuer.post("/device/auth", "device", scope="openid offline_access")
    assert "interval" not in started.json
    code = {"grant_type": DEVICE, "device_code": started.json["device_code"]}
    assert issuer.token("device", **code).json["error"] == "authorization_pending"
    issuer.approve_device(started.json["user_code"], started.json["verification_uri"])
    tokens = issuer.token("device", **code).json
    assert tokens["refresh_token"]
    assert tokens["access_token"]


def test_device_flow_by_the_complete_uri_and_denied(http_issuer: OidcProvider) -> None:
    """The URI that holds the code works too, and so does saying no."""
    started = http_issuer.post("/device/auth", "device", scope="openid").json
    http_issuer.approve_device("", started["verification_uri_complete"], deny=True)
    answer = http_issuer.token("device", grant_type=DEVICE, device_code=started["device_code"])
    assert answer.json["error"] == "access_denied"


def test_rotation_and_reuse(http_issuer: OidcProvider, callback: Callback) -> None:
    """Each refresh gives a new refresh token, and using an old one kills the family."""
    first = log_in(http_issuer, callback)
    status, second = refresh(http_issuer, first)
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert refresh(http_issuer, first)[1]["error"] == "invalid_grant"
    assert refresh(http_issuer, second)[1]["error"] == "invalid_grant"
    assert not http_issuer.is_active(second["access_token"])


def test_revoking_the_grant_kills_its_access_tokens(
    issuer: OidcProvider, callback: Callback
) -> None:
    """A revoked refresh token takes its access tokens along, and introspection says so."""
    tokens = log_in(issuer, callback)
    assert issuer.is_active(tokens["access_token"])
    revoked = issuer.post("/token/revocation", "cli", token=tokens["refresh_token"])
    assert revoked.status == 200
    assert not issuer.is_active(tokens["access_token"])
    assert refresh(issuer, tokens)[1]["error"] == "invalid_grant"


def test_revoking_an_access_token_kills_the_grant(
    http_issuer: OidcProvider, callback: Callback
) -> None:
    """A quirk of this issuer that `revoke_at_exit` is there for."""
    tokens = log_in(http_issuer, callback)
    http_issuer.post("/token/revocation", "cli", token=tokens["access_token"])
    assert refresh(http_issuer, tokens)[1]["error"] == "invalid_grant"


@pytest.mark.parametrize("client", ["basic", "post"])
def test_client_secrets_with_every_awkward_character(issuer: OidcProvider, client: str) -> None:
    """Both ways of sending a secret work with one that holds %, + , : and &."""
    secret = issuer.secrets[client]
    assert secret
    assert "%41+:&" in secret
    answer = issuer.token(client, grant_type="client_credentials", scope="read", resource=OPAQUE)
    assert issuer.use(answer.json["access_token"]).json["client_id"] == client


def test_a_basic_secret_is_form_decoded(http_issuer: OidcProvider) -> None:
    """A client that does not encode its secret first (RFC 6749, 2.3.1) is refused."""
    raw = base64.b64encode(f"basic:{http_issuer.secrets['basic']}".encode()).decode()
    headers = {
        "Authorization": f"Basic {raw}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = http_issuer.send("/token", b"grant_type=client_credentials", **headers)
    assert answer.status == 401


def test_client_assertions(trace_dir: str) -> None:
    """client_secret_jwt and private_key_jwt work, the latter with keys given at the start."""
    key = ECKey.generate_key("P-256", {"kid": "k", "use": "sig", "alg": "ES256"})
    folder = os.path.join(trace_dir, "assertions")
    os.makedirs(folder, exist_ok=True)
    public = {"keys": [key.as_dict(private=False)]}
    with OidcProvider(folder, jwks=public) as issuer:
        secret = OctKey.import_key(issuer.secrets["secret-jwt"] or "")
        for client, signer, alg in (("key-jwt", key, "ES256"), ("secret-jwt", secret, "HS256")):
            claims = {"iss": client, "sub": client, "aud": issuer.url, "jti": client}
            header = {"alg": alg}
            signed = jwt.encode(header, {**claims, "exp": int(time.time()) + 60}, signer)
            proof = {"client_assertion": signed, "client_assertion_type": ASSERTION}
            answer = issuer.token(client, grant_type="client_credentials", **proof)
            assert answer.status == 200, (client, answer)


def test_signed_tokens_and_refused_resources(http_issuer: OidcProvider) -> None:
    """The resource's URL chooses: a signed token, which revocation refuses, or invalid_target."""
    form = {"grant_type": "client_credentials", "scope": "read"}
    token = http_issuer.token("post", **form, resource=SIGNED).json["access_token"]
    assert token.count(".") == 2
    assert http_issuer.use(token, scope="read").json["aud"] == SIGNED
    assert http_issuer.post("/token/revocation", "post", token=token).status == 400
    refused = http_issuer.token("post", **form, resource="https://refused.example.com")
    assert refused.json["error"] == "invalid_target"


def test_short_lives_and_a_server_that_approves(trace_dir: str, callback: Callback) -> None:
    """With --auto-approve no form is shown, and with --access-ttl a token is soon over."""
    folder = os.path.join(trace_dir, "short")
    os.makedirs(folder, exist_ok=True)
    with OidcProvider(folder, auto_approve=True, access_ttl=1) as issuer:
        tokens = log_in(issuer, callback)
        assert tokens["expires_in"] == 1
        assert tokens["refresh_token"]
        time.sleep(1.2)
        assert not issuer.is_active(tokens["access_token"])
        assert issuer.use(tokens["access_token"]).status == 401
        assert refresh(issuer, tokens)[0] == 200


def test_counts_by_grant_type(http_issuer: OidcProvider) -> None:
    """Requests are counted as asked and as issued, and a reset forgets them."""
    http_issuer.token("post", grant_type="client_credentials")
    http_issuer.token("cli", grant_type="refresh_token", refresh_token="none")
    counts = http_issuer.counts()
    assert counts["grants"] == {"client_credentials": 1, "refresh_token": 1}
    assert counts["issued"] == {"client_credentials": 1}
    assert counts["paths"] == {"/token": 2}
    http_issuer.reset()
    assert http_issuer.counts() == {"grants": {}, "issued": {}, "paths": {}}


def test_modes(http_issuer: OidcProvider) -> None:
    """The token endpoint can be down for a while, slow, or silent; requests are still counted."""
    form = {"grant_type": "client_credentials"}
    http_issuer.mode(token="503*1")
    assert http_issuer.token("post", **form).status == 503
    assert http_issuer.token("post", **form).status == 200
    http_issuer.mode(token="slow:300")
    before = time.monotonic()
    assert http_issuer.token("post", **form).status == 200
    assert time.monotonic() - before > 0.3
    http_issuer.mode(token="hang")
    with socket_to(http_issuer) as (stream, request):
        stream.sendall(request)
        stream.settimeout(0.5)
        with pytest.raises(TimeoutError):
            stream.recv(1)
    assert http_issuer.counts()["grants"] == {"client_credentials": 4}


def test_an_answer_that_is_lost(http_issuer: OidcProvider, callback: Callback) -> None:
    """In mode `lost` a refresh token is spent although its client never hears of it."""
    tokens = log_in(http_issuer, callback)
    http_issuer.mode(token="lost*1")
    with pytest.raises(OSError, match=r"closed connection|reset by peer"):
        refresh(http_issuer, tokens)
    assert refresh(http_issuer, tokens)[1]["error"] == "invalid_grant"


@contextlib.contextmanager
def socket_to(issuer: OidcProvider) -> Iterator[tuple[socket.socket, bytes]]:
    """Open a plain connection; also give the bytes of a token request."""
    address = urlsplit(issuer.url)
    body = b"grant_type=client_credentials"
    head = f"POST /token HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as stream:
        yield stream, head.encode() + body


def test_browser_as_a_program(tls_issuer: OidcProvider, callback: Callback) -> None:
    """BROWSER="python tests/idp/browser.py %s" logs in, with the CA in SSL_CERT_FILE."""
    url = authorization_url(tls_issuer, callback)
    assert tls_issuer.ca_file
    env = {"SSL_CERT_FILE": tls_issuer.ca_file}
    subprocess.run([sys.executable, "-I", browser.__file__, url], env=env, check=True, timeout=60)
    assert redeem(tls_issuer, callback)["refresh_token"]


def test_it_ends_with_its_standard_input(trace_dir: str) -> None:
    """The server does not outlive the test that started it, whatever becomes of that."""
    folder = os.path.join(trace_dir, "ends")
    os.makedirs(folder, exist_ok=True)
    with OidcProvider(folder) as issuer:
        assert json.dumps(issuer.metadata())
    with pytest.raises(urllib.error.URLError):
        issuer.metadata()
