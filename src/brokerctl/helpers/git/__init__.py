"""git's credential helper protocol (gitcredentials(7), git-credential(1)).

Security: git sends whatever a repository's URLs and redirects say. Bytes are split at newlines and
nowhere else; a request with a carriage return, a NUL, or a repeated or missing host is malformed
(CVE-2020-5260, CVE-2020-11008, CVE-2024-52006). `wwwauth[]` decides in which form a token is sent,
never to whom. It comes from a server, as other keys do that an operation does not need; odd lines
of such keys are skipped, so that no server can make a request fail.
"""

from __future__ import annotations

from brokerctl.helpers import (
    BLOCK,
    ERASE,
    GET,
    STORE,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    Terms,
    answered,
    username_for,
)
from brokerctl.helpers.git.files import _NO_VERIFY, may_be_unchecked
from brokerctl.platform.system import os
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome
    from brokerctl.helpers.outcomes import OutcomeWithoutToken
    from brokerctl.store.values import ToolCredential

_LINE_BYTES = 65535  # git's own limit, the newline included
_CAPABILITIES = b"version 0\ncapability authtype\n"
_NO_PROMPT = b"quit=1\n"
_SCHEMES = ("https", "http")
_PLACE = frozenset(("protocol", "host", "path", "username"))
_OFFER = ("password", "password_expiry_utc", "oauth_refresh_token", "ephemeral")
# What each operation needs: an odd line of such a key is malformed, of any other it is skipped.
_NEEDED = {
    GET: _PLACE,
    ERASE: _PLACE.union(("password", "credential")),
    STORE: _PLACE.union(_OFFER),
}
_LISTS = ("capability[]", "wwwauth[]")
_NO_HOST = frozenset("/?#")  # git unescapes: in `https://ours%2f@evil/` the host would hold a path
_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/!$&'()*+,;=:@"
)
_TIMEOUT = "--timeout"  # as in git-credential-cache(1)
_TRUE = ("1", "true", "yes", "on")
_DIGITS = frozenset("0123456789")
_MAX_DIGITS = 12
_MAX_SCHEME_CHARS = 32
_SCHEME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+.-")
_NO_STORED_HOST = frozenset("/?#@")
_SPACE = " \t"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_TOKEN = _LETTERS.union("!#$%&'*+-.^_`|~")  # RFC 9110, section 5.6.2
_TOKEN68 = _LETTERS.union("-._~+/")  # and `=` behind it (11.2)


def find_unchecked(wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the setting by which git checks no certificate of a server; hardly anybody has one."""
    if not (wanted.url or "").startswith("https:"):
        return None  # no certificate: plain http is allowed on loopback only
    if _NO_VERIFY in environ:  # any value counts, also an empty one (git(1), Git Network)
        return _NO_VERIFY
    try:
        folder = os.getcwd()
    except OSError:
        folder = "/"  # the folder was removed: git is in no repository either
    if not may_be_unchecked(environ, folder):
        return None
    from brokerctl.helpers.git import config  # noqa: PLC0415 - only where it might

    return config.find_unchecked(wanted.url or "", wanted.username, environ, folder)


class Git:
    """`git-credential-brokerctl get|store|erase|capability`; always exit code 0."""

    traits = HelperTraits(stdin=BLOCK, unchecked=find_unchecked)

    def read(
        self,
        words: list[str],
        stdin: bytes,
        environ: Mapping[str, str],  # noqa: ARG002 - all that git asks is on stdin
    ) -> CredentialRequest:
        """Read what git asks; an unknown operation gets an empty answer."""
        operation = words[-1] if words else ""
        if operation == "capability":
            return answered(HelperReply(stdout=_CAPABILITIES))
        if operation not in {GET, ERASE, STORE}:
            return answered(HelperReply())
        fields, lists = parse_request(stdin, operation)
        scheme, host = fields.get("protocol", ""), fields.get("host", "")
        if scheme not in _SCHEMES:
            return read_other(words, scheme, fields)
        if not host or not _NO_HOST.isdisjoint(host):
            return answered(HelperReply())
        path = escape_path(fields.get("path", ""))
        url = f"{scheme}://{host}/{path}" if path else f"{scheme}://{host}"
        if operation == STORE:
            return read_offer(words, url, fields)
        # A bearer token comes back as `credential` (git 2.46 and later).
        password = fields.get("password") or fields.get("credential")
        return CredentialRequest(
            action=operation,
            url=url,
            username=fields.get("username"),
            rejected=Secret(password) if password else None,
            can_bearer="authtype" in lists.get("capability[]", ()) and _wants_bearer(lists),
        )

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the token as a password, or as a bearer token if the server asked for one."""
        if isinstance(outcome, Credential):
            return _render(outcome)
        return _answer_without_token(outcome)


def _render(found: Credential) -> HelperReply:
    token, wanted = found.token, found.request
    value = token.value.reveal()
    if wanted.can_bearer:
        lines = [
            "capability[]=authtype",
            f"authtype={token.token_type}",
            f"credential={value}",
            "ephemeral=1",
        ]
    else:
        lines = [f"username={username_for(wanted.username, found.profile)}", f"password={value}"]
    if token.expires_at is not None:
        lines.append(f"password_expiry_utc={int(token.expires_at)}")
    return HelperReply(stdout="".join(f"{line}\n" for line in lines).encode())


def _answer_without_token(outcome: OutcomeWithoutToken) -> HelperReply:
    """Answer with a credential that git had us keep, or with nothing: git asks the next helper.

    If we refuse, `quit` stops git from asking the person for a password, which would not help.
    """
    from brokerctl.helpers import outcomes  # noqa: PLC0415 - no warm hand-out needs them

    match outcome:
        case outcomes.OwnCredential():
            return _render_own(outcome.credential)
        case outcomes.LoginNeeded() | outcomes.Denied() | outcomes.Failed():
            return HelperReply(stdout=_NO_PROMPT)
        case outcomes.NotOurs() | outcomes.Malformed() | outcomes.Acknowledged():
            return HelperReply()


def _render_own(one: ToolCredential) -> HelperReply:
    """Render a credential that git gave us, unchanged."""
    lines = [f"username={one.username}", f"password={one.secret.reveal()}"]
    if one.expires_at is not None:
        lines.append(f"password_expiry_utc={int(one.expires_at)}")
    if one.refresh_token is not None:
        lines.append(f"oauth_refresh_token={one.refresh_token.reveal()}")
    return HelperReply(stdout="".join(f"{line}\n" for line in lines).encode())


def parse_request(
    data: bytes, operation: str = GET
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the attributes that an operation needs, and its lists, up to the first empty line."""
    fields: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for line in data.split(b"\n"):
        if not line:
            break
        name, separator, value = line.partition(b"=")
        if not separator or not _is_key(name):
            raise MalformedError("a line is not KEY=VALUE")
        key = name.decode()
        if key in _LISTS:
            text = value.decode("latin-1")  # as the field of a header (RFC 9110, section 5.5)
            lists[key] = (*lists.get(key, ()), text) if text else ()
        elif key in _NEEDED[operation]:
            if len(line) >= _LINE_BYTES or b"\r" in value or b"\0" in value:
                raise MalformedError("a line is too long, or holds a carriage return or a NUL")
            if key in fields:
                raise MalformedError("a key is repeated")
            fields[key] = _text(value)
    return fields, lists


def _is_key(name: bytes) -> bool:
    """Return whether this can be a key, known or not; one with a control character can't.

    Security: a carriage return ends a line for some readers, and another key would begin there.
    """
    return bool(name) and name.isascii() and name.decode().isprintable()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a line is not UTF-8") from error


def escape_path(path: str) -> str:
    """Return a path as a URL has it (RFC 3986, section 3.3): git has unescaped it."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in path.encode())


def _wants_bearer(lists: dict[str, tuple[str, ...]]) -> bool:
    """Return whether the server offers Bearer and not Basic; forges take a token by Basic, too."""
    if "wwwauth[]" not in lists:
        return False

    schemes = {one for value in lists["wwwauth[]"] for one in find_schemes(value)}
    return "bearer" in schemes and "basic" not in schemes


def read_offer(words: list[str], url: str, fields: Mapping[str, str]) -> CredentialRequest:
    """Read a credential to keep; nothing is done without a password, or if it is ephemeral."""
    username, password = fields.get("username"), fields.get("password")
    if username is None or password is None or fields.get("ephemeral") in _TRUE:
        return answered(HelperReply())
    expiry, refresh = fields.get("password_expiry_utc", ""), fields.get("oauth_refresh_token")
    terms = Terms(
        expires_at=float(expiry) if _is_count(expiry) and int(expiry) else None,
        refresh_token=Secret(refresh) if refresh else None,
        lifetime_s=_find_timeout(words[:-1]),
    )
    return CredentialRequest(
        action=STORE, url=url, username=username, offered=Secret(password), terms=terms
    )


def read_other(words: list[str], scheme: str, fields: Mapping[str, str]) -> CredentialRequest:
    """Read a request of a protocol other than HTTP: for mail, a proxy or a certificate.

    Security: no profile has such a host, so the only answer is a credential kept for exactly this
    place. Git's own store takes any protocol (git-credential-store(1)).
    """
    host, path = fields.get("host", ""), fields.get("path", "")
    if not is_scheme(scheme) or not (host or path) or not _NO_STORED_HOST.isdisjoint(host):
        return answered(HelperReply())
    url = place_url(scheme, host, path)
    if words[-1] == STORE:
        return read_offer(words, url, fields).replace(is_foreign=True)
    password = fields.get("password") or fields.get("credential")
    return CredentialRequest(
        action=words[-1],
        url=url,
        username=fields.get("username"),
        rejected=Secret(password) if password else None,
        is_foreign=True,
    )


def place_url(scheme: str, host: str, path: str) -> str:
    """Return a place as a URL; if the path begins with a slash, the URL has both slashes."""
    return f"{scheme}://{host}/{escape_path(path)}" if path else f"{scheme}://{host}"


def is_scheme(text: str) -> bool:
    """Return whether this is a URL scheme (RFC 3986, 3.1) other than `http` and `https`."""
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


def find_schemes(header: str) -> list[str]:
    """Return the schemes of a `WWW-Authenticate` field, in lower case (RFC 9110, section 11.6.1).

    A challenge that breaks the grammar is left out: it is the server's fault, not the request's.
    """
    found: list[str] = []
    for part in _split_list(header):
        name, equals, _ = part.partition("=")
        if equals and _is_token(name.rstrip(_SPACE)):
            if not _is_parameter(part) and found:
                found[-1] = ""  # the challenge before it is malformed
            continue
        scheme, _, rest = part.partition(" ")
        rest = rest.strip(_SPACE)
        is_right = not rest or _is_parameter(rest) or _is_token(rest.rstrip("="), _TOKEN68)
        found.append(scheme.lower() if _is_token(scheme) and is_right else "")
    return [scheme for scheme in found if scheme]


def _split_list(header: str) -> list[str]:
    """Split at commas outside quoted strings; empty elements do not count (5.6.1)."""
    parts, begin, is_quoted, at = [], 0, False, 0
    while at < len(header):
        char = header[at]
        if is_quoted and char == "\\":
            at += 1
        elif char == '"':
            is_quoted = not is_quoted
        elif char == "," and not is_quoted:
            parts.append(header[begin:at])
            begin = at + 1
        at += 1
    return [part for one in (*parts, header[begin:]) if (part := one.strip(_SPACE))]


def _is_parameter(text: str) -> bool:
    """Return whether this is `name=token` or `name="quoted"`, with spaces round the sign (11.2)."""
    name, equals, value = text.partition("=")
    value = value.lstrip(_SPACE)
    if not equals or not _is_token(name.rstrip(_SPACE)):
        return False
    if value[:1] != '"':
        return _is_token(value)
    inner = value[1:-1].replace("\\\\", "").replace('\\"', "")
    return len(value) > 1 and value[-1] == '"' and '"' not in inner and inner[-1:] != "\\"


def _is_token(text: str, chars: frozenset[str] = _TOKEN) -> bool:
    return bool(text) and chars.issuperset(text)
