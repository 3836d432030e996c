"""A scripted browser for login pages: follows redirects, keeps cookies, fills in forms, says yes.

In tests: `Browser(ca_file).open(url)`. As a program: `BROWSER="python tests/idp/browser.py %s"`,
with the CA in SSL_CERT_FILE. Only the standard library, so that any interpreter can run it.
"""

from __future__ import annotations

import argparse
import http.cookiejar
import ssl
import sys
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_STEPS = 20


class Page:
    """One answer: where it came from, its status, headers and text."""

    def __init__(self, url: str, answer: Any) -> None:  # noqa: ANN401 - response and HTTPError alike
        self.url = url
        self.status: int = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self.text: str = answer.read().decode()

    @property
    def redirect(self) -> str | None:
        """Where the page sends the browser, as an absolute URL."""
        location = self.headers.get("Location")
        return urljoin(self.url, location) if location and 300 <= self.status < 400 else None


class Form(HTMLParser):
    """The first form of a page and the links beside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what a person would see and fill in."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = values.get("action", "")
        elif tag == "input" and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")
        elif tag == "a" and "href" in values:
            self.links.append(values["href"])


class _Stay(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the browser, which wants to see each."""

    def redirect_request(self, *_args: object) -> None:
        """Follow nothing."""


class Browser:
    """One person's browser: `account` logs in, and agrees unless `deny` is set."""

    def __init__(
        self, ca_file: str | None = None, *, account: str = "alice", deny: bool = False
    ) -> None:
        self.account = account
        self.deny = deny
        self.user_code = ""
        self._has_said_no = False
        context = ssl.create_default_context(cafile=ca_file)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
            _Stay,
        )

    def open(self, url: str) -> Page:
        """Visit `url` and go on until there is nothing left to follow or fill in; return that page.

        The last page of a code login is the client's own, on its loopback address. Raises
        RuntimeError for a page of the issuer's that says no.
        """
        page = self._fetch(url)
        if page.redirect and urlsplit(url).path.startswith("/start/"):
            url = page.redirect  # what a login gives to a browser leads to the issuer
            page = self._fetch(url)
        issuer = urlsplit(url).netloc
        for _ in range(MAX_STEPS):
            if page.redirect:
                page = self._fetch(page.redirect)
                continue
            if urlsplit(page.url).netloc != issuer or self._has_said_no:
                return page
            if page.status >= 400:
                message = f"{page.url}: {page.status}\n{page.text[:2000]}"
                raise RuntimeError(message)
            form = Form(page.text)
            if form.action is None:
                return page
            page = self._submit(page, form)
        message = f"no end after {MAX_STEPS} pages, last {page.url}"
        raise RuntimeError(message)

    def open_device(self, verification_uri: str, user_code: str) -> Page:
        """Type `user_code` into the page at `verification_uri`, log in and confirm."""
        self.user_code = user_code
        return self.open(verification_uri)

    def _submit(self, page: Page, form: Form) -> Page:
        aborts = [link for link in form.links if link.endswith("/abort")]
        if self.deny and aborts:
            self._has_said_no = True
            return self._fetch(urljoin(page.url, aborts[0]))
        fields = dict(form.fields)
        typed = {"login": self.account, "password": "x", "user_code": self.user_code}
        fields.update({name: value for name, value in typed.items() if name in fields and value})
        if self.deny and "confirm" in fields:
            self._has_said_no = True
            fields["abort"] = fields.pop("confirm")
        return self._fetch(urljoin(page.url, form.action), urlencode(fields).encode())

    def _fetch(self, url: str, body: bytes | None = None) -> Page:
        try:
            answer = self._opener.open(url, body, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return Page(url, answer)


def main() -> None:
    """Visit the URL that BROWSER's caller gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--account", default="alice")
    parser.add_argument("--deny", action="store_true", help="end the login at the consent page")
    parser.add_argument("--delay", type=float, default=0, help="seconds to wait first")
    parser.add_argument("--user-code", default="", help="for a device's verification page")
    given = parser.parse_args()
    time.sleep(given.delay)
    browser = Browser(account=given.account, deny=given.deny)
    page = browser.open_device(given.url, given.user_code)
    sys.exit(page.status >= 400 and not given.deny)


if __name__ == "__main__":
    main()
