"""An issuer that keeps its RFCs, but for the endpoint that a mode has taken over.

It is strict: a refresh token is good for one refresh, a code for one exchange with its verifier.
So whatever works against it afterwards proves that nothing was lost and nothing stale was kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_plus, urlencode

from tests.idp.hostile.wire import Answer, Request, Wire
from tests.idp.issuer import TRACE_DIR, note_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLIENT = "hostile-client"
SCOPES = "offline_access openid read"
GRANT_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
PATHS = {
    "/.well-known/oauth-authorization-server": "metadata",
    "/.well-known/openid-configuration": "metadata",
    "/auth": "auth",
    "/token": "token",
    "/device": "device",
    "/revoke": "revoke",
    "/introspect": "introspect",
}


class Issuer:
    """A running issuer, and beside it a trap: another origin, to which nothing may ever go."""

    def __init__(self) -> None:
        trace = os.environ.get(TRACE_DIR)
        self._notes = note_file(trace) if trace else None
        self._good: dict[str, Callable[[Request], Answer]] = {
            "metadata": lambda _: self._metadata(),
            "auth": self._auth,
            "token": self._token,
            "device": self._device,
            "revoke": self._revoke,
            "introspect": lambda request: as_json({"active": self._is_live(request)}),
        }
        self._bad: dict[str, list[Answer | None]] = {}
        self.asked: Counter[str] = Counter()
        self.trapped: list[str] = []
        self.secrets: dict[str, str] = {}  # each with its kind
        self.refresh_tokens: set[str] = set()
        self.access_tokens: set[str] = set()
        self._codes: dict[str, str] = {}  # each with its challenge
        self._kept: tuple[set[str], set[str]] = (set(), set())
        self.client_secret = self._mint("client_secret", "%41+:&")
        self._trap = Wire(self._spring)
        self._wire = Wire(self._answer)
        self.url, self.trap_url = self._wire.url, self._trap.url

    def close(self) -> None:
        """Stop it and the trap."""
        self._wire.close()
        self._trap.close()

    def keep(self) -> None:
        """Remember what is alive now."""
        self._kept = (set(self.refresh_tokens), set(self.access_tokens))

    def restore(self) -> None:
        """Bring back what was alive at `keep`, and behave well."""
        self.refresh_tokens, self.access_tokens = map(set, self._kept)
        self._codes = {}
        self.trapped = []
        self.behave()

    def behave(self) -> None:
        """Keep the RFCs everywhere, and count from nought."""
        self._bad = {}
        self.asked = Counter()

    def misbehave(self, endpoint: str, answers: Sequence[Answer | None]) -> None:
        """Answer so at one endpoint, in this order, the last one for ever; None is as it should."""
        self._bad[endpoint] = list(answers)

    def _metadata(self) -> Answer:
        body = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "revocation_endpoint": f"{self.url}/revoke",
            "introspection_endpoint": f"{self.url}/introspect",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return as_json(body)._replace(headers=("cache-control: no-cache",))  # so it is asked again

    def _spring(self, request: Request) -> Answer:
        self.trapped.append(request.text)
        return as_json({"error": "invalid_grant"}, 400)

    def _answer(self, request: Request) -> Answer:
        endpoint = PATHS.get(request.path)
        if endpoint is None:
            return Answer(status=404)
        self.asked[endpoint] += 1
        if "code_verifier" in request.form:
            self._note("code_verifier", request.form["code_verifier"])
        queue = self._bad.get(endpoint, [None])
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        return self._good[endpoint](request) if answer is None else self._filled(answer, request)

    def _filled(self, answer: Answer, request: Request) -> Answer:
        """Put what only this run knows in place of the words that stand for it."""
        words: dict[str, Callable[[], str]] = {
            "{origin}": lambda: self.url,
            "{ORIGIN}": self.url.upper,
            "{trap}": lambda: self.trap_url,
            "{at}": self._new_access_token,
            "{rt}": lambda: self._new_refresh_token(request),
            "{code}": lambda: self._new_code(request),
            "{sent}": lambda: _sent(request),
            "{dc}": lambda: self._mint("device_code"),
            "{state}": lambda: request.query.get("state", ""),
            "{callback}": lambda: request.query.get("redirect_uri", ""),
            "{iss}": lambda: quote(self.url, safe=""),
        }
        body, headers = answer.body, "\n".join(answer.headers)
        for word, make in words.items():
            if word.encode() in body or word in headers:
                value = make()
                body = body.replace(word.encode(), value.encode())
                headers = headers.replace(word, value)
        return answer._replace(body=body, headers=tuple(headers.split("\n")) if headers else ())

    def _auth(self, request: Request) -> Answer:
        back = {"code": self._new_code(request), "state": request.query["state"], "iss": self.url}
        return to(f"{request.query['redirect_uri']}?{urlencode(back)}")

    def _token(self, request: Request) -> Answer:
        form = request.form
        kind = form.get("grant_type", "")
        if kind == "client_credentials":
            if _basic(request) != (CLIENT, self.client_secret):
                return as_json({"error": "invalid_client"}, 401)
            return as_json(self._issued(scope="read"))
        if kind == "authorization_code":
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            is_good = self._codes.pop(form.get("code", ""), None) == challenge
        elif kind == "refresh_token":
            is_good = form.get("refresh_token") in self.refresh_tokens
        else:
            is_good = kind == GRANT_DEVICE and form.get("device_code", "") in self.secrets
        if not is_good:
            return as_json({"error": "invalid_grant"}, 400)
        claims = base64.urlsafe_b64encode(b'{"sub":"alice"}').decode().rstrip("=")
        extra = {"refresh_token": self._new_refresh_token(request), "id_token": f"e30.{claims}.x"}
        return as_json(self._issued(scope=SCOPES, **extra))

    def _issued(self, **more: str) -> dict[str, Any]:
        token = self._new_access_token()
        return {"access_token": token, "token_type": "Bearer", "expires_in": 3600, **more}

    def _device(self, _: Request) -> Answer:
        return as_json(
            {
                "device_code": self._mint("device_code"),
                "user_code": "WDJB-MJHT",
                "verification_uri": f"{self.url}/device",
                "expires_in": 10,
                "interval": 1,
            }
        )

    def _revoke(self, request: Request) -> Answer:
        self.refresh_tokens.discard(request.form.get("token", ""))
        self.access_tokens.discard(request.form.get("token", ""))
        return Answer()

    def _is_live(self, request: Request) -> bool:
        return request.form.get("token") in self.refresh_tokens | self.access_tokens

    def _new_code(self, request: Request) -> str:
        code = self._mint("code")
        self._codes[code] = request.query.get("code_challenge", "")
        return code

    def _new_access_token(self) -> str:
        token = self._mint("access_token")
        self.access_tokens.add(token)
        return token

    def _new_refresh_token(self, request: Request) -> str:
        """Rotate: the one that was sent is dead from now on."""
        token = self._mint("refresh_token")
        self.refresh_tokens.discard(request.form.get("refresh_token", ""))
        self.refresh_tokens.add(token)
        return token

    def _mint(self, kind: str, more: str = "") -> str:
        value = f"{kind.replace('_', '-')}{more}-{secrets.token_urlsafe(18)}"
        self._note(kind, value)
        return value

    def _note(self, kind: str, value: str) -> None:
        """Note a secret, for this test and for the canary."""
        self.secrets[value] = kind
        if self._notes and kind != "code":
            with open(self._notes, "a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, "value": value}) + "\n")


def as_json(body: object, status: int = 200) -> Answer:
    """Return a JSON answer."""
    return Answer(json.dumps(body).encode(), status, ("content-type: application/json",))


def to(location: str, status: int = 302) -> Answer:
    """Return a redirect."""
    return Answer(status=status, headers=(f"location: {location}",))


def _sent(request: Request) -> str:
    """Return the secret that came with a request."""
    names = ("refresh_token", "code_verifier", "device_code", "token")
    return next((request.form[name] for name in names if name in request.form), _basic(request)[-1])


def _basic(request: Request) -> tuple[str, ...]:
    """Return id and secret as RFC 6749, 2.3.1 wants them: form-encoded, then Basic."""
    found = re.search(r"(?i)\r\nauthorization: basic (\S+)\r\n", request.text)
    pair = base64.b64decode(found[1]).decode() if found else ""
    return tuple(unquote_plus(part) for part in pair.split(":"))
