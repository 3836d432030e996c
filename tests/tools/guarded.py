"""Servers on loopback that are open to who has a live token, as a bearer or as a password."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple

from tests.tools.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.idp.issuer import OidcProvider


class Seen(NamedTuple):
    """One request: its path, how it authenticated ("" if it did not), and what it got."""

    path: str
    scheme: str
    status: int


class Reply(NamedTuple):
    """What a path holds."""

    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    status: int = 200


class Guarded(Serving):
    """Serves `pages`; those of `free` to everybody. `seen` has each request."""

    def __init__(
        self,
        folder: str,
        issuer: OidcProvider,
        *,
        tls: bool = False,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.issuer = issuer
        self.pages: dict[str, Reply] = {}
        self.free: set[str] = set()
        self.seen: list[Seen] = []
        server = self

        class Handler(_Handler):
            guarded = server

        self.listen(Handler, folder if tls else None, address)

    def statuses(self, scheme: str) -> set[int]:
        """Return what requests with this way to authenticate got."""
        return {one.status for one in self.seen if one.scheme == scheme}

    def put_json(self, path: str, value: object) -> None:
        """Serve a JSON document."""
        self.pages[path] = Reply(json.dumps(value).encode())

    def put_module(self, name: str) -> str:
        """Serve a Terraform module and return its source."""
        archive = make_archive({"main.tf": b'output "said" {\n  value = "yes"\n}\n'})
        source, path = f"/v1/modules/{name}", f"/archives/{name.replace('/', '-')}.tar.gz"
        self.free |= {"/.well-known/terraform.json", path}  # terraform sends an archive no token
        self.put_json("/.well-known/terraform.json", {"modules.v1": "/v1/modules/"})
        self.put_json(f"{source}/versions", {"modules": [{"versions": [{"version": "1.0.0"}]}]})
        where = {"X-Terraform-Get": f"{self.url}{path}"}
        self.pages[f"{source}/1.0.0/download"] = Reply(headers=where, status=204)
        self.pages[path] = Reply(archive, "application/gzip")
        return f"{self.host}/{name}"

    def put_package(self, name: str) -> None:
        """Serve an npm package of one file."""
        about = {"name": name, "version": "1.0.0", "main": "index.js"}
        files = {
            "package/package.json": json.dumps(about).encode(),
            "package/index.js": b"module.exports = 'yes'\n",
        }
        archive, path = make_archive(files), f"/{name}/-/{name}-1.0.0.tgz"
        digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
        dist = {"tarball": f"{self.url}{path}", "integrity": f"sha512-{digest}"}
        versions = {"1.0.0": {**about, "dist": dist}}
        self.put_json(
            f"/{name}", {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": versions}
        )
        self.pages[path] = Reply(archive, "application/octet-stream")


class _Handler(BaseHTTPRequestHandler):
    """One request: who is it, then the page."""

    guarded: Guarded
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """Serve a page."""
        self._serve()

    def do_HEAD(self) -> None:
        """Serve a page's head."""
        self._serve()

    def do_POST(self) -> None:
        """Serve a page; what is sent is not looked at."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._serve()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _token(self) -> tuple[str, str]:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            value = base64.b64decode(value).decode().partition(":")[2]
        return scheme, value

    def _serve(self) -> None:
        server, path = self.guarded, self.path.partition("?")[0]
        scheme, token = self._token()
        if path in server.free or (token and server.issuer.use(token).status == 200):
            reply = server.pages.get(path, Reply(b"{}", status=404))
        else:
            reply = Reply(b"{}", headers={"WWW-Authenticate": 'Basic realm="x"'}, status=401)
        server.seen.append(Seen(path, scheme, reply.status))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """Return a compressed archive of these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return data.getvalue()
