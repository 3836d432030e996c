"""The strict parser for URLs that decide where a token may go, and the match of profiles by URL.

Security: one parser of our own, because two that disagree about a host are how a token goes
astray: `urlsplit` drops tabs, `int` takes digits of other scripts, IDNA folds a full-width
`g` into the plain one. What isn't spelled in the plain way is refused, not repaired.
"""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerctl.model import Profile

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdef")
_LABEL = _LETTERS | _DIGITS | {"-", "_"}  # DNS has no `_` in a host's name, and intranets do
_MAX_URL_CHARS, _MAX_HOST_CHARS, _MAX_LABEL_CHARS, _MAX_PORT = 2048, 253, 63, 65535
_PORT_DIGITS, _QUAD, _SHOWN_CHARS = 5, 4, 200
METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"
METADATA_URL = f"http://169.254.169.254{METADATA_PATH}"
# Escapes that a server may resolve into another path than the one that was compared.
_AMBIGUOUS_ESCAPES = ("%2e", "%2f", "%5c", "%25", "%00")


class Url(Value):
    """A parsed URL: `host` in lower case, `port` always a number, `path` "" or from its slash."""

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = None

    @property
    def origin(self) -> str:
        """Return scheme, host and port, the default port left out."""
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def parse_url(text: str) -> Url:
    """Parse an https URL, or an http one on loopback; UsageError for every other spelling."""
    url = _parse(text, is_pattern=False)
    if url.scheme == "http" and not is_loopback(url.host):
        raise UsageError(f"{_shown(text)}: plain http is for loopback alone")
    return url


def find_metadata_url(text: str) -> Url | None:
    """Return the parsed address of Google's metadata server; None for every other text.

    The one exception to https: it speaks plain http alone, on a link-local address (RFC 3927),
    which no router passes on. It is a number, so that no resolver says where it is.
    """
    base, mark, query = text.partition("?")
    if base != METADATA_URL:
        return None
    host, _, path = base.removeprefix("http://").partition("/")
    return Url(scheme="http", host=host, port=80, path=f"/{path}", query=query if mark else None)


def parse_issuer(text: str) -> str:
    """Return an issuer exactly as written; it must have neither query nor fragment (RFC 8414, 2).

    Never normalised: a trailing slash makes it another issuer.
    """
    if "?" in text or "#" in text:
        raise UsageError(f"{_shown(text)}: an issuer has no query and no fragment")
    parse_url(text)
    return text


def parse_endpoint(text: str) -> str:
    """Return an endpoint exactly as written; it must have no fragment (RFC 6749, 3.1 and 3.2)."""
    if "#" in text:
        raise UsageError(f"{_shown(text)}: an endpoint has no fragment")
    parse_url(text)
    return text


def parse_pattern(text: str) -> str:
    """Return the canonical form of one of a profile's `hosts`: `https://*.example.com/team`."""
    if any(char in text for char in "?#%"):
        raise UsageError(f"{_shown(text)}: a host has no query, fragment or percent sign")
    url = _parse(text, is_pattern=True)
    if url.scheme == "http" and not is_loopback(url.host):
        raise UsageError(f"{_shown(text)}: plain http is for loopback alone")
    path = url.path.rstrip("/")
    if not _is_plain_path(path) or "//" in path:
        raise UsageError(f"{_shown(text)}: a path prefix has no dot segments and no empty ones")
    return url.origin + path


def is_loopback(host: str) -> bool:
    """Return whether a parsed host is 127.0.0.0/8, [::1] or the literal `localhost`."""
    if host in {"localhost", "[::1]"}:
        return True
    return host.startswith("127.") and _ends_in_number(host.split("."))


def match_profile(text: str, profiles: Mapping[str, Profile]) -> str:
    """Return the name of the profile that a URL belongs to; UsageError if there is none."""
    found = find_profile(text, profiles)
    if found is None:
        raise UsageError(
            f"no profile for {shown_url(text)}",
            hint="add it to a profile's hosts: 'brokerctl profile edit NAME --set hosts=URL,URL'",
        )
    return found.name


def find_profile(text: str, profiles: Mapping[str, Profile]) -> Profile | None:
    """Return the profile whose hosts cover this URL best, None if none does; a tie is an error."""
    found = find_profiles(text, profiles.values())
    if len(found) > 1:
        names = " and ".join(sorted(f"'{profile.name}'" for profile in found))
        hint = (
            "name the profile in place of the URL, or give one of them a path that the URL has too"
        )
        raise UsageError(f"{parse_url(text).origin} belongs to {names}", hint=hint)
    return found[0] if found else None


def find_profiles(
    text: str, profiles: Iterable[Profile], username: str | None = None
) -> list[Profile]:
    """Return every profile whose hosts cover this URL best: more than one is a tie.

    With a username only the profiles that have it, as `username` or `subject`; if there are none,
    those that have neither, or say `username_match = "any"`. Security: otherwise a question for one
    account would be answered with the token of another.
    """
    url = parse_url(text)
    best: list[tuple[tuple[bool, int], Profile]] = []
    for profile in profiles:
        ranks = [rank for host in profile.hosts if (rank := covering(url, host)) is not None]
        if ranks:
            best.append((max(ranks), profile))
    if username is not None:
        its = [(rank, one) for rank, one in best if username in {one.username, one.subject}]
        best = its or [(rank, one) for rank, one in best if _is_for_anyone(one)]
    top = max((rank for rank, _ in best), default=None)
    return [profile for rank, profile in best if rank == top]


def _is_for_anyone(profile: Profile) -> bool:
    return profile.username_match == "any" or profile.username is profile.subject is None


def covers(profile: Profile, text: str) -> bool:
    """Return whether a profile's tokens may go to this URL."""
    url = parse_url(text)
    return any(covering(url, host) is not None for host in profile.hosts)


def split_pattern(pattern: str) -> Url:
    """Return the parts of a canonical pattern; its host may begin with `*.`."""
    return _parse(pattern, is_pattern=True)


def covering(url: Url, pattern: str) -> tuple[bool, int] | None:
    """Return how closely a canonical pattern covers a URL: host first, then the path prefix."""
    found = split_pattern(pattern)
    if (found.scheme, found.port) != (url.scheme, url.port):
        return None
    is_exact = not found.host.startswith("*.")
    if is_exact and found.host != url.host:
        return None
    if not is_exact and url.host.partition(".")[1:] != (".", found.host[2:]):
        return None
    if found.path and not _is_below(url.path, found.path):
        return None
    return is_exact, len(found.path)


def _is_below(path: str, prefix: str) -> bool:
    if path != prefix and not path.startswith(f"{prefix}/"):
        return False
    return _is_plain_path(path) and not any(part in path.lower() for part in _AMBIGUOUS_ESCAPES)


def _is_plain_path(path: str) -> bool:
    return not any(segment.split(";")[0] in {".", ".."} for segment in path.split("/"))


def _parse(text: str, *, is_pattern: bool) -> Url:
    if len(text) > _MAX_URL_CHARS or not all("!" <= char <= "~" for char in text):
        raise UsageError(f"{_shown(text)}: only visible ASCII characters can be in a URL")
    if "\\" in text:
        raise UsageError(f"{_shown(text)}: a backslash is not part of a URL")
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise UsageError(f"{_shown(text)}: a URL starts with https://")
    end = min((at for char in "/?#" if (at := rest.find(char)) >= 0), default=len(rest))
    host, port = _parse_authority(rest[:end].lower(), scheme, text, is_pattern=is_pattern)
    path, separator, query = rest[end:].partition("#")[0].partition("?")
    return Url(scheme=scheme, host=host, port=port, path=path, query=query if separator else None)


def _parse_authority(
    authority: str, scheme: str, text: str, *, is_pattern: bool
) -> tuple[str, int]:
    if "@" in authority:
        raise UsageError(f"{_shown(text)}: a user name in a URL is not allowed")
    if authority.startswith("["):
        inner, bracket, rest = authority[1:].partition("]")
        host = f"[{inner}]"
        is_right = bool(bracket) and rest[:1] in {"", ":"} and _is_ipv6(inner)
        separator, port = rest[:1], rest[1:]
    else:
        host, separator, port = authority.partition(":")
        name = host
        if is_pattern and host.startswith("*."):
            name = host[2:]  # the whole leftmost label, and never of a top-level domain or number
            is_right = "." in name and _is_name(name) and not _ends_in_number(name.split("."))
        else:
            is_right = _is_name(name)
    if not is_right:
        raise UsageError(f"{_shown(text)}: not a host name in its plain spelling")
    if not separator:
        return host, _DEFAULT_PORTS[scheme]
    return host, _parse_port(port, text)


def _parse_port(port: str, text: str) -> int:
    is_number = bool(port) and len(port) <= _PORT_DIGITS and _DIGITS.issuperset(port)
    if not is_number or port.startswith("0") or int(port) > _MAX_PORT:
        raise UsageError(f"{_shown(text)}: not a port number")
    return int(port)


def _is_name(host: str) -> bool:
    labels = host.split(".")
    if len(host) > _MAX_HOST_CHARS or not all(_is_label(label) for label in labels):
        return False
    return _is_quad(labels) if _ends_in_number(labels) else True


def _is_label(label: str) -> bool:
    is_long = not 1 <= len(label) <= _MAX_LABEL_CHARS
    return not is_long and _LABEL.issuperset(label) and "-" not in {label[0], label[-1]}


def _ends_in_number(labels: list[str]) -> bool:
    """Return whether a resolver or a browser would read the host as an IPv4 address."""
    last = labels[-1]
    return _DIGITS.issuperset(last) or (last[:2] == "0x" and _HEX.issuperset(last[2:]))


def _is_quad(labels: list[str]) -> bool:
    return len(labels) == _QUAD and all(
        _DIGITS.issuperset(part) and str(int(part)) == part and int(part) < 256  # noqa: PLR2004 - an octet
        for part in labels
    )


def _is_ipv6(inner: str) -> bool:
    from _socket import AF_INET6, inet_ntop, inet_pton  # noqa: PLC0415 - few hosts are numbers

    try:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, inner)) == inner
    except (OSError, ValueError):
        return False


def shown_url(text: str) -> str:
    """Return a URL for a message or a record, without what could be a password or a signature.

    One that is in its plain spelling has no user, so that its path may hold an `@`.
    """
    try:
        url = _parse(text, is_pattern=True)
    except UsageError:
        return _shown(text)
    return _shown(url.origin, url.path, "?" if url.query is not None else "")


def _shown(text: str, path: str = "", query: str = "") -> str:
    """Return a text for the message that says what is wrong with it as a URL."""
    head, at, tail = text.rpartition("@")
    text = f"****@{tail}" if at else head + tail
    for sign in "?#":
        text, found, _ = text.partition(sign)
        query = query or found
    return (text + path)[:_SHOWN_CHARS] + (f"{query}..." if query else "")
