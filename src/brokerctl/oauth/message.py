"""What is sent and what comes back, as values; printing one shows neither token nor secret."""

from __future__ import annotations

import re
from urllib.parse import quote_plus, urlencode

from brokerctl.config.hosts import is_loopback, parse_url
from brokerctl.errors import IssuerError, UsageError
from brokerctl.model import Value
from brokerctl.secret import STARS, Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Fields = Iterable[tuple[str, str | Secret]]

FORM = ("content-type", "application/x-www-form-urlencoded")
JSON = ("accept", "application/json")
TOO_MANY, SERVER_ERROR = 429, 500
_SECRET_CHARS = 16  # a shorter one may be a scope's own word
_SECONDS = re.compile(r"[0-9]{1,10}")


class CutError(IssuerError):
    """An answer did not come whole; `part` is its beginning, if anything came."""

    def __init__(self, message: str, part: HttpResponse | None = None) -> None:
        super().__init__(message)
        self.part = part


class BrokenError(CutError):
    """The connection broke before an answer was whole: unlike a time-out, worth one more try."""


class HttpRequest(Value):
    """One request; what must not be seen (form, Authorization) is a `Secret`.

    `answered`, `cut` and `broke` make the response or the error, so that the sender, which gets
    requests as arguments, need not import this room.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str | Secret], ...] = ()
    body: Secret | None = None
    secrets: tuple[Secret, ...] = ()  # sent with it: no answer may bring one into a message

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {host_of(self.url)})"

    def answered(
        self,
        *,
        status: int,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        sent_at: float,
        received_at: float,
    ) -> HttpResponse:
        """Return the answer to this request."""
        return HttpResponse(
            status=status,
            headers=headers,
            body=body,
            sent_at=sent_at,
            received_at=received_at,
            secrets=self.secrets,
        )

    @staticmethod
    def cut(message: str, part: HttpResponse | None) -> CutError:
        """Return the error of an answer that did not come whole, or is too large."""
        return CutError(message, part)

    @staticmethod
    def broke(message: str, part: HttpResponse | None = None) -> BrokenError:
        """Return the error of a connection that broke before the answer was whole."""
        return BrokenError(message, part)


class HttpResponse(Value):
    """One answer: header names in lower case, the body decoded and bounded."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    sent_at: float = 0.0  # seconds since the epoch
    received_at: float = 0.0
    secrets: tuple[Secret, ...] = ()  # that were sent, or came with it

    def __repr__(self) -> str:
        return f"HttpResponse({self.status}, {len(self.body)} bytes)"

    def header(self, name: str) -> str | None:
        """Return the value of the first header of that name (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    def hide_sent(self, text: str) -> str:
        """Return the issuer's text with stars for what it repeats of our secrets."""
        for secret in self.secrets:
            for form in (secret.reveal(), quote_plus(secret.reveal(), errors="replace")):
                text = text.replace(form, STARS) if form else text
        return text

    def holds_secret(self, text: str) -> bool:
        """Return whether the issuer's text repeats a secret that is too long to be a word."""
        values = [secret.reveal() for secret in self.secrets]
        return any(len(value) >= _SECRET_CHARS and value in text for value in values)

    def retry_after_s(self) -> int | None:
        """Return `Retry-After` in seconds; a date or nonsense is None (RFC 9110, 10.2.3)."""
        value = self.header("retry-after")
        return int(value) if value is not None and _SECONDS.fullmatch(value) else None


def post_form(
    url: str, fields: Fields, headers: tuple[tuple[str, str | Secret], ...] = ()
) -> HttpRequest:
    """Make a form POST that asks for JSON."""
    given = tuple(fields)
    plain = [(key, v.reveal() if isinstance(v, Secret) else v) for key, v in given]
    body = Secret(urlencode(plain))
    hidden = [v for _, v in given if isinstance(v, Secret)]
    hidden += [Secret(v.reveal().split()[-1]) for _, v in headers if isinstance(v, Secret)]
    return HttpRequest(
        method="POST",
        url=url,
        headers=(FORM, JSON, *headers),
        body=body,
        secrets=tuple(hidden),
    )


def should_retry(outcome: HttpResponse | BaseException) -> bool:
    """Return whether to try again at once: after a 5xx or a broken connection, never a time-out."""
    if isinstance(outcome, HttpResponse):
        return outcome.status >= SERVER_ERROR
    return isinstance(outcome, BrokenError)


def host_of(url: str) -> str:
    """Return the host for a message, which never names a path or a query."""
    try:
        return parse_url(url).host
    except UsageError:
        return "an unreadable address"


def is_endpoint(url: object) -> bool:
    """Return whether a secret may be sent there: https, or http on loopback, without a fragment."""
    if not isinstance(url, str) or "#" in url:
        return False
    try:
        parse_url(url)
    except UsageError:
        return False
    return True


def is_endpoint_of(issuer: str, url: object) -> bool:
    """Return whether an address that an issuer named may be used.

    Security: an issuer elsewhere can't make us speak plain http with a port of this machine.
    """
    if not isinstance(url, str) or not is_endpoint(url):
        return False
    return parse_url(url).scheme == "https" or is_loopback(parse_url(issuer).host)
