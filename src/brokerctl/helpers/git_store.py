"""What git says of a credential that it wants kept, in `store` and on its helper's command line."""

from __future__ import annotations

from brokerctl.helpers import STORE, Answer, MalformedError, Terms, Wanted
from brokerctl.helpers.git import escape_path
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT = "--timeout"  # as that of git-credential-cache(1)
_TRUE = ("1", "true", "yes", "on")
_DIGITS = frozenset("0123456789")
_MAX_DIGITS = 12
_MAX_SCHEME_CHARS = 32
_SCHEME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+.-")
_NO_HOST = frozenset("/?#@")


def read_offer(words: list[str], url: str, fields: Mapping[str, str]) -> Wanted | Answer:
    """Read a credential; nothing to do for one without a password or that is not to be saved."""
    username, password = fields.get("username"), fields.get("password")
    if username is None or password is None or fields.get("ephemeral") in _TRUE:
        return Answer()
    expiry, refresh = fields.get("password_expiry_utc", ""), fields.get("oauth_refresh_token")
    terms = Terms(
        expires_at=float(expiry) if _is_count(expiry) and int(expiry) else None,
        refresh_token=Secret(refresh) if refresh else None,
        lifetime_s=_find_timeout(words[:-1]),
    )
    return Wanted(action=STORE, url=url, username=username, offered=Secret(password), terms=terms)


def read_other(words: list[str], scheme: str, fields: Mapping[str, str]) -> Wanted | Answer:
    """Read a request of another protocol than the web's: of mail, a proxy or a certificate.

    Security: no profile has a host of such, so that nothing but what was kept for the very place
    is an answer. Git's own store takes any protocol (git-credential-store(1)).
    """
    host, path = fields.get("host", ""), fields.get("path", "")
    if not is_scheme(scheme) or not (host or path) or not _NO_HOST.isdisjoint(host):
        return Answer()
    url = place_url(scheme, host, path)
    if words[-1] == STORE:
        found = read_offer(words, url, fields)
        return found.replace(is_foreign=True) if isinstance(found, Wanted) else found
    password = fields.get("password") or fields.get("credential")
    return Wanted(
        action=words[-1],
        url=url,
        username=fields.get("username"),
        rejected=Secret(password) if password else None,
        is_foreign=True,
    )


def place_url(scheme: str, host: str, path: str) -> str:
    """Return a place as a URL; a path that begins with a slash keeps it."""
    return f"{scheme}://{host}/{escape_path(path)}" if path else f"{scheme}://{host}"


def is_scheme(text: str) -> bool:
    """Say whether a protocol is spelled as a URL's (RFC 3986, 3.1), and is not the web's."""
    is_plain = text[:1].isalpha() and len(text) <= _MAX_SCHEME_CHARS and _SCHEME.issuperset(text)
    return is_plain and text not in {"http", "https"}


def _find_timeout(words: list[str]) -> int | None:
    """Return the seconds of the last `--timeout=SECONDS`, or of the word after `--timeout`."""
    found = None
    for at, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name == _TIMEOUT:
            found = value if sign else "".join(words[at + 1 : at + 2])
    if found is None:
        return None
    if not _is_count(found) or not int(found):
        raise MalformedError("--timeout is not a number of seconds")
    return int(found)


def _is_count(text: str) -> bool:
    return 0 < len(text) <= _MAX_DIGITS and _DIGITS.issuperset(text)
