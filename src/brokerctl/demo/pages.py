"""The pages of the demo issuer, and the replies in which they are sent."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reply:
    """Status, headers and body, as the HTTP adapter sends them."""

    def __init__(self, status: int, body: str, headers: dict[str, str]) -> None:
        self.status = status
        self.body = body.encode()
        self.headers = headers

    @property
    def location(self) -> str | None:
        """Return where a redirect leads; Authlib's RFC 9207 extension reads and sets it."""
        return self.headers.get("Location")

    @location.setter
    def location(self, value: str) -> None:
        self.headers["Location"] = value


def json_reply(value: object, status: int = 200) -> Reply:
    """Answer with JSON that must not be cached."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Reply(status, json.dumps(value), headers)


def page(title: str, inner: str, status: int = 200) -> Reply:
    """Answer with a page; `inner` is HTML, already escaped."""
    return Reply(
        status,
        f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{inner}\n",
        {
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
        },
    )


def consent_page(datalist: Mapping[str, list[str]], subject: str) -> Reply:
    """Show the client and the scopes; the form sends the request again, with the answer."""
    hidden = "".join(
        f'<input type=hidden name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, values in datalist.items()
        if name not in {"login", "confirm", "abort"}
        for value in values
    )
    client, scopes = (
        html.escape(" ".join(datalist.get(name, ["nothing"]))) for name in ("client_id", "scope")
    )
    form = f'<form method=post action="/auth">{hidden}{_buttons(subject)}</form>'
    return page(f"{client} asks for: {scopes}", form)


def device_page(user_code: str, subject: str) -> Reply:
    """Show where the user code of RFC 8628 is typed."""
    code = f'<label>Code <input name=user_code value="{html.escape(user_code)}"></label>'
    form = f'<form method=post action="/device">{code}{_buttons(subject)}</form>'
    return page("Connect a device", form)


def _buttons(subject: str) -> str:
    return (
        f'<label>Name <input name=login value="{html.escape(subject)}"></label>'
        "<input type=hidden name=confirm value=yes><button>Allow</button>"
        "<button name=abort value=yes>Deny</button>"
    )
