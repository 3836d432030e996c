"""The demo issuer's endpoints for tests: `/__counts`, `/__reset`, `/__mode` and `/__resource`.

The oidc-provider in our own tests has the same four, so one suite runs against both.
`POST /__mode` takes an endpoint's mode, `{"token": "503*2"}`, or a setting, `{"access_ttl": 2}`.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from typing import TYPE_CHECKING, Any

from brokerctl.demo.pages import Reply, json_reply

if TYPE_CHECKING:
    from brokerctl.demo.state import Settings, State

ENDPOINTS = ("token", "revocation", "introspection", "device", "metadata")
_MODE = re.compile(r"(ok|hang|held|lost|[1-5]\d\d|slow:\d{1,6})(?:\*(\d{1,6}))?")


class Mode:
    """How one endpoint misbehaves, and how many times more; -1: always."""

    def __init__(self, word: str, times: int) -> None:
        self.word = word
        self.times = times


class Control:
    """Counts of requests and of issued tokens, and the modes in force."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.changed = threading.Event()  # ends the wait of requests in the mode `hang`
        self._lock = threading.Lock()
        self._settings = copy.copy(state.settings)
        self.reset()

    def reset(self) -> None:
        """Forget counts and modes and put the settings back; what was issued stays."""
        with self._lock:
            self.counts: dict[str, dict[str, int]] = {"grants": {}, "issued": {}, "paths": {}}
            self.modes: dict[str, Mode] = {}
            vars(self.state.settings).update(vars(self._settings))
            self._wake()

    def count(self, table: str, name: str) -> None:
        """Count one."""
        with self._lock:
            found = self.counts[table]
            found[name] = found.get(name, 0) + 1

    def take_mode(self, endpoint: str | None) -> tuple[str, threading.Event]:
        """Return how this request to an endpoint is to be treated, and what ends a `hang`."""
        with self._lock:
            mode = self.modes.get(endpoint or "")
            if mode is None or mode.times == 0:
                return "ok", self.changed
            mode.times -= 1
            return mode.word, self.changed

    def answer(self, method: str, path: str, body: str, headers: dict[str, str]) -> Reply:
        """Answer a request to one of the four."""
        if (method, path) == ("GET", "/__counts"):
            with self._lock:
                return json_reply(self.counts)
        if (method, path) == ("POST", "/__reset"):
            self.reset()
            return json_reply({})
        if (method, path) == ("POST", "/__mode"):
            try:
                self._change(json.loads(body))
            except (ValueError, TypeError, AttributeError) as error:
                return json_reply({"error": str(error)}, 400)
            return json_reply({})
        if (method, path.partition("?")[0]) == ("GET", "/__resource"):
            return self._resource(path.partition("?scope=")[2], headers.get("Authorization", ""))
        return json_reply({"error": "not_found"}, 404)

    def _change(self, changes: dict[str, Any]) -> None:
        settings, modes = copy.copy(self.state.settings), dict(self.modes)
        for name, value in changes.items():
            if name in ENDPOINTS:
                modes[name] = _parse_mode(value)
            else:
                _change_setting(settings, name, value)
        with self._lock:
            self.modes = modes
            vars(self.state.settings).update(vars(settings))
            self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = threading.Event()

    def _resource(self, scope: str, authorization: str) -> Reply:
        """Stand for a resource server: 401 for a bad token, 403 for a scope that it lacks."""
        with self.state.lock:
            token = self.state.find_token(authorization.removeprefix("Bearer "), "access_token")
        if token is None or token.is_expired() or token.is_revoked():
            reply = json_reply({"error": "invalid_token"}, 401)
            reply.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
            return reply
        # OpenID's own scopes are for the issuer, not for a resource.
        seen = [name for name in token.scope.split() if name not in {"openid", "offline_access"}]
        if scope and scope not in seen:
            return json_reply({"error": "insufficient_scope"}, 403)
        audience = token.resource[0] if len(token.resource) == 1 else list(token.resource) or None
        claims = {"sub": token.subject, "client_id": token.client_id, "scope": " ".join(seen)}
        return json_reply({**claims, "aud": audience})


def _parse_mode(text: str) -> Mode:
    found = _MODE.fullmatch(text)
    if found is None:
        raise ValueError(f"no mode {text}")
    word, times = found.groups()
    return Mode(word, -1 if times is None else int(times))


def _change_setting(settings: Settings, name: str, value: object) -> None:
    if type(value) is not type(getattr(settings, name)):
        raise ValueError(f"{name} has another type")
    setattr(settings, name, value)
