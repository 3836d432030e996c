"""Raw HTTP for tests of the emulations, where brokerctl has no part."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


_TIMEOUT_S = 30.0


class Answer(NamedTuple):
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def ask(
    url: str,
    method: str = "GET",
    *,
    form: Mapping[str, str] | None = None,
    body: object = None,
    token: str = "",
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
) -> Answer:
    """Send one request; no redirect is followed.

    `body` is sent as JSON unless it is bytes, `form` as a form, `token` as a bearer token.
    """
    parts = urlsplit(url)
    sent = dict(headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    data = b"" if method != "GET" else None
    if form is not None:
        data, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
        sent.setdefault("Content-Type", kind)
    elif isinstance(body, bytes):
        data = body
    elif body is not None:
        data = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    link: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        link = http.client.HTTPSConnection(parts.netloc, timeout=_TIMEOUT_S, context=context)
    else:
        link = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        link.request(method, target, data, sent)
        answer = link.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())
    finally:
        link.close()
