"""The demo issuer passes oidc-provider's own suite, keeps its RFCs, and stays on loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from brokerctl.demo.serve import Server
from brokerctl.demo.state import Settings
from tests.idp.issuer import Answer
from tests.idp.issuer import DemoIssuer as Embedded

# The same tests as for oidc-provider: pytest gives them this file's fixtures.
from tests.idp.test_harness import (  # noqa: F401 - collected here a second time, on purpose
    callback,
    test_a_basic_secret_is_form_decoded,
    test_a_person_can_say_no,
    test_an_answer_that_is_lost,
    test_client_secrets_with_every_awkward_character,
    test_code_flow_by_forms,
    test_counts_by_grant_type,
    test_device_flow_by_the_complete_uri_and_denied,
    test_metadata_has_both_forms_and_promises_what_is_on,
    test_modes,
    test_pkce_is_required,
    test_revoking_the_grant_kills_its_access_tokens,
    test_rotation_and_reuse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode()[:-1]
REDIRECT = "http://127.0.0.1:1/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
AUTHORIZATION: dict[str, str | None] = {
    "response_type": "code",
    "client_id": "cli",
    "redirect_uri": REDIRECT,
    "scope": "openid read",
    "state": "s",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


class DemoIssuer(Embedded):
    """The embedded issuer with the harness's face: one suite runs against both."""

    def app(self, path: str, **form: str) -> Answer:
        """Post a form as the app `cli`."""
        return self.post(path, "cli", **form)

    def code(self, **changes: str | None) -> dict[str, str]:
        """Go through the authorization endpoint; return what the redirect carries."""
        query = {**AUTHORIZATION, **changes}
        kept = {name: value for name, value in query.items() if value is not None}
        status, headers = self.raw("GET", f"/auth?{urlencode(kept)}")
        assert status == 302
        return {k: v[0] for k, v in parse_qs(urlsplit(headers["Location"]).query).items()}

    def raw(self, method: str, path: str, body: str = "", **headers: str) -> Any:  # noqa: ANN401 - a pair
        """Send one request without following redirects; return status and headers."""
        link = http.client.HTTPConnection(self.url.partition("//")[2], timeout=10)
        with contextlib.closing(link):
            link.request(method, path, body, headers)
            reply = link.getresponse()
            reply.read()
            return reply.status, reply.headers

    def redeem(self, code: str, verifier: str = VERIFIER) -> Answer:
        """Redeem a code."""
        form = {"code": code, "redirect_uri": REDIRECT, "code_verifier": verifier}
        return self.app("/token", grant_type="authorization_code", **form)

    def login(self, **changes: str) -> dict[str, Any]:
        """Log in by code; return the token response."""
        return self.redeem(self.code(**changes)["code"]).json

    def refresh(self, token: str, **form: str) -> Answer:
        """Redeem a refresh token."""
        return self.app("/token", grant_type="refresh_token", refresh_token=token, **form)

    def settings(self, **changes: int | str | bool) -> None:
        """Change the issuer's settings until the next reset."""
        assert self.send("/__mode", json.dumps(changes).encode()).status == 200


@pytest.fixture(scope="module")
def demo_process(trace_dir: str) -> Iterator[DemoIssuer]:
    """One demo issuer, in a process of its own, for this file."""
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir), interval=0) as running:
        yield running


@pytest.fixture
def http_issuer(demo_process: DemoIssuer) -> DemoIssuer:
    """Stand for oidc-provider in the tests that are imported above."""
    demo_process.reset()
    return demo_process


@pytest.fixture
def issuer(http_issuer: DemoIssuer) -> DemoIssuer:
    """As above, for the tests that name it so."""
    return http_issuer


@pytest.fixture
def willing(http_issuer: DemoIssuer) -> DemoIssuer:
    """The issuer, approving everything without a form."""
    http_issuer.settings(auto_approve=True)
    return http_issuer


def test_code(willing: DemoIssuer) -> None:
    """The code flow ends in an opaque token, a refresh token and an ID token for the subject."""
    back = willing.code()
    assert (back["state"], back["iss"]) == ("s", willing.url)
    answer = willing.redeem(back["code"]).json
    claims = json.loads(base64.urlsafe_b64decode(answer["id_token"].split(".")[1] + "=="))
    assert (claims["sub"], claims["iss"], claims["aud"]) == ("alice", willing.url, ["cli"])
    assert answer["expires_in"] == 3600
    assert willing.is_active(answer["access_token"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "read nonsense"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"resource": "not-absolute"}, "invalid_target"),
    ],
)
def test_refused_authorization(willing: DemoIssuer, changes: dict[str, str], error: str) -> None:
    """A refusal goes back by redirect, with `iss` (RFC 9207, section 2)."""
    back = willing.code(**changes)
    assert (back["error"], back["iss"], back["state"]) == (error, willing.url, "s")


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://localhost:1/callback",
        "http://127.0.0.1:1/other",
        "http://a@127.0.0.1:1/callback",
    ],
)
def test_foreign_redirect(willing: DemoIssuer, uri: str) -> None:
    """Nothing is ever sent to an address that is not loopback's callback."""
    path = f"/auth?response_type=code&client_id=cli&redirect_uri={quote(uri)}"
    status, headers = willing.raw("GET", path)
    assert status == 400
    assert "Location" not in headers


def test_verifier(willing: DemoIssuer) -> None:
    """A wrong or a missing verifier gets nothing (RFC 7636, section 4.6)."""
    code = willing.code()["code"]
    assert willing.redeem(code, "w" * 43).json["error"] == "invalid_grant"
    assert willing.redeem(code, "").json["error"] == "invalid_request"


def test_code_reuse(willing: DemoIssuer) -> None:
    """A code used twice kills what came from it (RFC 6749, section 4.1.2)."""
    code = willing.code()["code"]
    first = willing.redeem(code).json
    assert willing.redeem(code).json["error"] == "invalid_grant"
    assert not willing.is_active(first["access_token"])
    assert willing.refresh(first["refresh_token"]).json["error"] == "invalid_grant"


def test_narrowed_refresh(willing: DemoIssuer) -> None:
    """A refresh can narrow one access token; the grant stays as wide (RFC 6749, section 6)."""
    first = willing.login(resource="https://api.example")
    second = willing.refresh(first["refresh_token"], scope="read").json
    assert second["scope"] == "read"
    assert willing.use(second["access_token"]).json["aud"] == "https://api.example"
    assert willing.refresh(second["refresh_token"]).json["scope"] == "openid read"


def test_concurrent_reuse(willing: DemoIssuer) -> None:
    """Of many refreshes at once with the same token exactly one succeeds."""
    token = willing.login()["refresh_token"]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(willing.refresh(token).status))
        for _ in range(64)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 63


def test_revocation(willing: DemoIssuer) -> None:
    """Revoking an access token kills it alone; revoking an unknown one is no error."""
    answer = willing.login()
    assert willing.app("/token/revocation", token=answer["access_token"]).status == 200
    assert not willing.is_active(answer["access_token"])
    assert willing.refresh(answer["refresh_token"]).status == 200
    assert willing.app("/token/revocation", token="unknown").status == 200


def test_introspection_by_an_app(willing: DemoIssuer) -> None:
    """A public client is told of its own tokens alone."""
    theirs = willing.token("post", grant_type="client_credentials").json["access_token"]
    assert willing.is_active(theirs)
    assert willing.app("/token/introspection", token=theirs).json == {"active": False}


def test_wrong_client_authentication(willing: DemoIssuer) -> None:
    """A wrong secret, none, and a secret sent the other way are `invalid_client`."""
    secret = willing.secrets["basic"] or ""
    for more in ({}, {"client_secret": "wrong"}, {"client_secret": secret}):
        form = {"grant_type": "client_credentials", "client_id": "basic", **more}
        assert willing.send("/token", urlencode(form).encode()).json["error"] == "invalid_client"


def test_device(willing: DemoIssuer) -> None:
    """The device flow waits, slows down who polls too fast, and gives the grant once."""
    made = willing.app("/device/auth", scope="read").json
    poll = {"grant_type": DEVICE, "device_code": made["device_code"]}
    assert willing.app("/token", **poll).json["error"] == "authorization_pending"
    willing.settings(interval=5)
    assert willing.app("/token", **poll).json["error"] == "slow_down"
    willing.approve_device(made["user_code"].lower(), made["verification_uri"])
    assert willing.app("/token", **poll).json["scope"] == "read"
    assert willing.app("/token", **poll).json["error"] == "expired_token"


def test_pages_escape(http_issuer: DemoIssuer) -> None:
    """What a request brings is escaped in the page that repeats it."""
    query = urlencode({**AUTHORIZATION, "state": "<s>"})
    with urllib.request.urlopen(f"{http_issuer.url}/auth?{query}") as link:
        text = link.read().decode()
    assert "&lt;s&gt;" in text
    assert "<s>" not in text


def test_frame(willing: DemoIssuer) -> None:
    """A foreign Host, a huge body, an unknown path and bad encodings are refused, not crashes."""
    assert willing.raw("GET", "/__counts", Host="evil.example")[0] == 421
    assert willing.raw("POST", "/token", "x" * 70000)[0] == 413
    assert willing.raw("GET", "/nowhere")[0] == 404
    assert willing.raw("POST", "/token", "a=b", Authorization="Basic /////w==")[0] == 400
    assert willing.raw("POST", "/token", "&".join(["a=b"] * 200))[0] == 400
    assert willing.raw("GET", "/auth?client_id=cli&redirect_uri=%22%FF")[0] == 400
    assert willing.send("/__mode", b'{"token": "nonsense"}').status == 400
    assert willing.send("/__mode", b'{"nonsense": 1}').status == 400


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "localhost"])
def test_loopback_alone(address: str) -> None:
    """Any other address is refused before anything is bound."""
    with pytest.raises(ValueError, match=address):
        Server(address, 0, Settings())


def test_it_ends_with_its_standard_input(trace_dir: str) -> None:
    """The process does not outlive whoever started it."""
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir)) as running:
        assert running.metadata()
    with pytest.raises(urllib.error.URLError):
        running.metadata()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_signal(number: int) -> None:
    """Served by hand, it ends in order with Ctrl-C or SIGTERM."""
    argv = [sys.executable, "-I", "-m", "brokerctl.demo.serve"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert b"issuer" in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == 0
