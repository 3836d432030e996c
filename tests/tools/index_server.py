"""A package index on loopback (PEP 503) with an upload endpoint, open to who has a live token."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple

from tests.tools.serving import Serving

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider

WHEEL = "shop-1.0-py3-none-any.whl"


class Seen(NamedTuple):
    """One request: its path, its user (None: it had none), and what it got."""

    path: str
    user: str | None
    status: int


class Index(Serving):
    """Serves one wheel, `shop`; `seen` has each request, `uploads` each body that was taken."""

    def __init__(self, issuer: OidcProvider) -> None:
        self.issuer = issuer
        self.seen: list[Seen] = []
        self.uploads: list[bytes] = []
        self.wheel = make_wheel()
        index = self

        class Handler(_Handler):
            pass

        Handler.index = index
        self.listen(Handler)
        self.simple = f"{self.url}/simple/"

    def simple_of(self, user: str) -> str:
        """Return the index's URL with a user in it."""
        return f"http://{user}@{self.host}/simple/"

    def users(self) -> set[str | None]:
        """Return who was let in."""
        return {one.user for one in self.seen if one.status == 200}

    def page(self, path: str) -> bytes | None:
        """Return what a path holds."""
        digest = hashlib.sha256(self.wheel).hexdigest()
        pages = {
            "/simple/": b'<!DOCTYPE html><a href="/simple/shop/">shop</a>',
            "/simple/shop/": (
                f'<!DOCTYPE html><a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a>'
            ).encode(),
            f"/files/{WHEEL}": self.wheel,
        }
        return pages.get(path)


def make_wheel() -> bytes:
    """Build a wheel of one module."""
    files = {
        "shop.py": "OPEN = True\n",
        "shop-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n",
        "shop-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(f"{name},{_digest(text)},{len(text)}\n" for name, text in files.items())
    files["shop-1.0.dist-info/RECORD"] = f"{record}shop-1.0.dist-info/RECORD,,\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256={digest.rstrip('=')}"


class _Handler(BaseHTTPRequestHandler):
    """One request: who is it, then the page or the upload."""

    index: Index
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve a page."""
        page = self.index.page(self.path)
        if self._is_let_in():
            kind = "text/html" if self.path.startswith("/simple/") else "application/octet-stream"
            self._answer(404 if page is None else 200, page or b"", kind)

    def do_HEAD(self) -> None:
        """Serve a page without itself."""
        self.do_GET()

    def do_POST(self) -> None:
        """Take an upload."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._is_let_in():
            self.index.uploads.append(body)
            self._answer(200, b"", "text/plain")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _is_let_in(self) -> bool:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        pair = base64.b64decode(value).decode() if scheme == "Basic" else None
        user, _, token = (pair or "").partition(":")
        self.user = None if pair is None else user
        if token and self.index.issuer.use(token).status == 200:
            return True
        self._answer(401, b"", "text/plain")
        return False

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.index.seen.append(Seen(self.path, self.user, status))
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
