"""The demo issuer keeps the RFCs that it claims to keep, and stays on loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from brokerctl.demo.serve import Server
from brokerctl.demo.state import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode()[:-1]
REDIRECT = "http://127.0.0.1:1/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


class Caller:
    """Requests to one issuer, redirects not followed."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def call(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Send one request; return status, headers and the parsed or raw body."""
        link = http.client.HTTPConnection(self.server.host, timeout=10)
        with contextlib.closing(link):
            link.request(method, path, body, headers)
            reply = link.getresponse()
            text = reply.read().decode()
            is_json = reply.headers.get_content_type() == "application/json"
            return reply.status, dict(reply.headers), json.loads(text) if is_json else text

    def post(self, path: str, **form: Any) -> Any:  # noqa: ANN401 - JSON
        """Post a form as the app; return status and answer."""
        form = {"client_id": "demo-native", **form}
        status, _, answer = self.call("POST", path, urlencode(form, doseq=True))
        return status, answer

    def mode(self, **changes: Any) -> None:  # noqa: ANN401 - JSON
        """Change the issuer's settings."""
        assert self.call("POST", "/__mode", json.dumps(changes))[0] == 200

    def code(self, **changes: str | None) -> dict[str, str]:
        """Go through the authorization endpoint; return what the redirect carries."""
        query = {
            "response_type": "code",
            "client_id": "demo-native",
            "redirect_uri": REDIRECT,
            "scope": "openid read",
            "state": "s",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        query = {name: value for name, value in query.items() if value is not None}
        status, headers, _ = self.call("GET", f"/authorize?{urlencode(query)}")
        assert status == 302
        return {k: v[0] for k, v in parse_qs(urlsplit(headers["Location"]).query).items()}

    def login(self, **changes: str) -> dict[str, Any]:
        """Log in by code; return the token response."""
        status, answer = self.redeem(self.code(**changes)["code"])
        assert status == 200
        return dict(answer)

    def redeem(self, code: str, verifier: str = VERIFIER) -> Any:  # noqa: ANN401 - JSON
        """Redeem a code."""
        form = {"code": code, "redirect_uri": REDIRECT, "code_verifier": verifier}
        return self.post("/token", grant_type="authorization_code", **form)

    def refresh(self, token: str, **form: str) -> Any:  # noqa: ANN401 - JSON
        """Redeem a refresh token."""
        return self.post("/token", grant_type="refresh_token", refresh_token=token, **form)

    def is_active(self, token: str) -> bool:
        """Ask the introspection endpoint."""
        status, answer = self.post("/introspect", token=token)
        assert status == 200
        return bool(answer["active"])


@pytest.fixture
def issuer() -> Iterator[Caller]:
    """An issuer in a thread that approves everything."""
    with Server("127.0.0.1", 0, Settings(auto_approve=True, interval=0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Caller(server)
        server.state.settings.token = "ok"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("form", ["oauth-authorization-server", "openid-configuration"])
def test_metadata(issuer: Caller, form: str) -> None:
    """Both discovery forms name the identical issuer (RFC 8414, section 3.3)."""
    status, _, found = issuer.call("GET", f"/.well-known/{form}")
    assert status == 200
    assert found["issuer"] == issuer.server.issuer.url
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["authorization_response_iss_parameter_supported"] is True


def test_code(issuer: Caller) -> None:
    """The code flow ends in an opaque token, a refresh token and an ID token for the subject."""
    back = issuer.code()
    assert back["state"] == "s"
    assert back["iss"] == issuer.server.issuer.url
    _, answer = issuer.redeem(back["code"])
    claims = json.loads(base64.urlsafe_b64decode(answer["id_token"].split(".")[1] + "=="))
    assert claims["sub"] == "alice"
    assert claims["iss"] == back["iss"]
    assert answer["expires_in"] == 3600
    assert issuer.is_active(answer["access_token"])


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
def test_refused_authorization(issuer: Caller, changes: dict[str, str], error: str) -> None:
    """A refusal goes back by redirect, with `iss` (RFC 9207, section 2)."""
    back = issuer.code(**changes)
    assert (back["error"], back["iss"]) == (error, issuer.server.issuer.url)
    assert back["state"] == "s"


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
def test_foreign_redirect(issuer: Caller, uri: str) -> None:
    """Nothing is ever sent to an address that is not loopback's callback."""
    path = f"/authorize?response_type=code&client_id=demo-native&redirect_uri={quote(uri)}"
    status, headers, _ = issuer.call("GET", path)
    assert status == 400
    assert "Location" not in headers


def test_verifier(issuer: Caller) -> None:
    """A wrong or a missing verifier gets nothing (RFC 7636, section 4.6)."""
    code = issuer.code()["code"]
    assert issuer.redeem(code, "w" * 43)[1]["error"] == "invalid_grant"
    assert issuer.redeem(code, "")[1]["error"] == "invalid_request"


def test_code_reuse(issuer: Caller) -> None:
    """A code used twice kills what came from it (RFC 6749, section 4.1.2)."""
    code = issuer.code()["code"]
    _, first = issuer.redeem(code)
    assert issuer.redeem(code)[1]["error"] == "invalid_grant"
    assert not issuer.is_active(first["access_token"])
    assert issuer.refresh(first["refresh_token"])[1]["error"] == "invalid_grant"


def test_rotation(issuer: Caller) -> None:
    """Each refresh rotates; the old refresh token used again kills the whole family."""
    first = issuer.login(resource="https://api.example")
    status, second = issuer.refresh(first["refresh_token"], scope="read")
    assert (status, second["scope"]) == (200, "read")
    assert issuer.refresh(second["refresh_token"])[1]["scope"] == "openid read"
    assert issuer.refresh(first["refresh_token"])[1]["error"] == "invalid_grant"
    assert not issuer.is_active(second["access_token"])


def test_concurrent_reuse(issuer: Caller) -> None:
    """Of many refreshes at once with the same token exactly one succeeds."""
    token = issuer.login()["refresh_token"]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(issuer.refresh(token)[0]))
        for _ in range(64)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 63


def test_revocation(issuer: Caller) -> None:
    """Revoking an access token kills it alone, a refresh token its family; unknown ones are 200."""
    answer = issuer.login()
    assert issuer.post("/revoke", token=answer["access_token"])[0] == 200
    assert not issuer.is_active(answer["access_token"])
    _, second = issuer.refresh(answer["refresh_token"])
    assert issuer.post("/revoke", token=second["refresh_token"])[0] == 200
    assert not issuer.is_active(second["access_token"])
    assert issuer.post("/revoke", token="unknown")[0] == 200


def test_service(issuer: Caller) -> None:
    """Client credentials work by header, encoded as RFC 6749 says, and by body; by nothing else."""
    secret = issuer.server.state.clients["demo-service"].client_secret or ""
    body = urlencode({"grant_type": "client_credentials", "scope": "read"})
    encoded = base64.b64encode(f"demo-service:{quote(secret, safe='')}".encode()).decode()
    status, _, answer = issuer.call("POST", "/token", body, Authorization=f"Basic {encoded}")
    assert status == 200
    assert "refresh_token" not in answer
    form = {"grant_type": "client_credentials", "client_id": "demo-service"}
    assert issuer.post("/token", **form, client_secret=secret)[0] == 200
    assert issuer.post("/token", **form, client_secret="wrong")[1]["error"] == "invalid_client"
    assert issuer.post("/token", **form)[1]["error"] == "invalid_client"


def test_device(issuer: Caller) -> None:
    """The device flow waits, slows down who polls too fast, and gives the grant once."""
    _, made = issuer.post("/device_authorization", scope="read")
    poll = {"grant_type": DEVICE, "device_code": made["device_code"]}
    assert issuer.post("/token", **poll)[1]["error"] == "authorization_pending"
    issuer.mode(interval=5)
    assert issuer.post("/token", **poll)[1]["error"] == "slow_down"
    page = urlsplit(made["verification_uri_complete"])
    assert issuer.call("GET", f"{page.path}?{page.query}")[0] == 200
    status, answer = issuer.post("/token", **poll)
    assert (status, answer["scope"]) == (200, "read")
    assert issuer.post("/token", **poll)[1]["error"] == "expired_token"


def test_device_denied(issuer: Caller) -> None:
    """A refusal at the device page is `access_denied`."""
    _, made = issuer.post("/device_authorization")
    issuer.post("/device", user_code=made["user_code"].lower(), decision="deny")
    poll = {"grant_type": DEVICE, "device_code": made["device_code"]}
    assert issuer.post("/token", **poll)[1]["error"] == "access_denied"


def test_consent(issuer: Caller) -> None:
    """Without automatic approval a form asks, and a refusal is `access_denied`."""
    issuer.mode(auto_approve=False)
    query = {
        "response_type": "code",
        "client_id": "demo-native",
        "redirect_uri": REDIRECT,
        "state": "<s>",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    _, _, text = issuer.call("GET", f"/authorize?{urlencode(query)}")
    assert "&lt;s&gt;" in text
    assert "<s>" not in text
    form = urlencode({**query, "login": "bob"})
    _, headers, _ = issuer.call("POST", "/authorize", form)
    assert "code=" in headers["Location"]
    _, headers, _ = issuer.call("POST", "/authorize", form + "&decision=deny")
    assert "error=access_denied" in headers["Location"]


def test_controls(issuer: Caller) -> None:
    """Counts, modes and the reset are what tests build on."""
    issuer.login()
    issuer.mode(token="503")
    assert issuer.refresh("x")[0] == 503
    issuer.mode(token="slow:1")
    assert issuer.refresh("x")[0] == 400
    counts = issuer.call("GET", "/__counts")[2]
    assert (counts["authorization_code"], counts["refresh_token"]) == (1, 2)
    assert issuer.call("POST", "/__mode", '{"token": "nonsense"}')[0] == 400
    assert issuer.call("POST", "/__reset", "")[0] == 200
    assert issuer.call("GET", "/__counts")[2] == {}


def test_frame(issuer: Caller) -> None:
    """A foreign Host, a huge body, an unknown path and bad encodings are refused, not crashes."""
    assert issuer.call("GET", "/__counts", Host="evil.example")[0] == 421
    assert issuer.call("POST", "/token", "x" * 70000)[0] == 413
    assert issuer.call("GET", "/nowhere")[0] == 404
    assert issuer.call("POST", "/token", "a=b", Authorization="Basic /////w==")[0] == 400
    assert issuer.call("POST", "/token", "&".join(["a=b"] * 200))[0] == 400
    assert issuer.call("GET", "/authorize?client_id=demo-native&redirect_uri=%22%FF")[0] == 400


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "localhost"])
def test_loopback_alone(address: str) -> None:
    """Any other address is refused before anything is bound."""
    with pytest.raises(ValueError, match=address):
        Server(address, 0, Settings())


def test_process() -> None:
    """The process says where it is in one line and ends with its stdin."""
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "brokerctl.demo.serve", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert ready["issuer"].startswith("http://127.0.0.1:")
        process.stdin.close()  # type: ignore[union-attr]  # a pipe, as asked
        assert process.wait(10) == 0
