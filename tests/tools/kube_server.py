"""An API server on loopback, behind TLS: as much of Kubernetes as clients want to see.

Whoever sends a bearer token that the issuer's introspection calls active is let in.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.tools.serving import Serving

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider

NAMESPACE = "shop"
PAGES: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "namespaces",
                "singularName": "namespace",
                "namespaced": False,
                "kind": "Namespace",
                "verbs": ["get", "list"],
            }
        ],
    },
    "/api/v1/namespaces": {
        "kind": "NamespaceList",
        "apiVersion": "v1",
        "metadata": {},
        "items": [{"metadata": {"name": NAMESPACE}}],
    },
}


class Seen(NamedTuple):
    """One request: its path, the token that came with it, and what it got."""

    path: str
    token: str | None
    status: int


class KubeServer(Serving):
    """A running API server; `seen` has each request."""

    def __init__(self, folder: str, issuer: OidcProvider) -> None:
        self.issuer = issuer
        self.seen: list[Seen] = []
        server = self

        class Handler(_Handler):
            kube = server

        self.listen(Handler, folder)

    def tokens(self, status: int = 200) -> set[str | None]:
        """Return what requests that were answered so came with."""
        return {one.token for one in self.seen if one.status == status}


class _Handler(BaseHTTPRequestHandler):
    """One request: who is it, then the page."""

    kube: KubeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve a page to who has a live token."""
        path = self.path.partition("?")[0]
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        token = value if scheme == "Bearer" else None
        if token is None or not self.kube.issuer.is_active(token):
            self._answer(path, token, 401, _failure(401, "Unauthorized"))
        elif path in PAGES:
            self._answer(path, token, 200, PAGES[path])
        else:
            self._answer(path, token, 404, _failure(404, "NotFound"))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, path: str, token: str | None, status: int, body: dict[str, Any]) -> None:
        self.kube.seen.append(Seen(path, token, status))
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _failure(code: int, reason: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": reason,
        "reason": reason,
        "code": code,
    }
