"""git's credential helper protocol (gitcredentials(7), git-credential(1)).

Security: git sends whatever a repository's URLs and redirects say. Bytes are split at newlines and
nowhere else; a carriage return, a NUL, a repeated or missing host is no request (CVE-2020-5260,
CVE-2020-11008, CVE-2024-52006). `wwwauth[]` decides in which form a token is sent, never to whom;
like every key that an operation does not need it comes from a server, and can't spoil a request.
"""

from __future__ import annotations

from brokerctl.helpers import (
    BLOCK,
    ERASE,
    GET,
    STORE,
    Answer,
    Helper,
    MalformedError,
    Wanted,
    username_for,
)
from brokerctl.helpers.git_files import find_unchecked
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.errors import BrokerError
    from brokerctl.model import AccessToken, Profile
    from brokerctl.store import Kept

_LINE_BYTES = 65535  # git's own limit, the newline included
_CAPABILITIES = b"version 0\ncapability authtype\n"
_NO_PROMPT = b"quit=1\n"
_SCHEMES = ("https", "http")
_PLACE = frozenset(("protocol", "host", "path", "username"))
_OFFER = ("password", "password_expiry_utc", "oauth_refresh_token", "ephemeral")
# What each operation needs: an odd line of those is no request, and any other is passed over.
_NEEDED = {
    GET: _PLACE,
    ERASE: _PLACE.union(("password", "credential")),
    STORE: _PLACE.union(_OFFER),
}
_LISTS = ("capability[]", "wwwauth[]")
_NO_HOST = frozenset("/?#")  # git unescapes: `https://ours%2f@evil/` has a host that is a path too
_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/!$&'()*+,;=:@"
)


class Git(Helper):
    """`git-credential-brokerctl get|store|erase|capability`; always exit code 0."""

    stdin = BLOCK

    def read(
        self,
        words: list[str],
        stdin: bytes,
        environ: Mapping[str, str],  # noqa: ARG002 - all that git asks is on stdin
    ) -> Wanted | Answer:
        """Read what git asks; unknown operations are nothing."""
        operation = words[-1] if words else ""
        if operation == "capability":
            return Answer(stdout=_CAPABILITIES)
        if operation not in {GET, ERASE, STORE}:
            return Answer()
        fields, lists = parse_request(stdin, operation)
        scheme, host = fields.get("protocol", ""), fields.get("host", "")
        if scheme not in _SCHEMES:
            from brokerctl.helpers.git_store import read_other  # noqa: PLC0415 - seldom asked for

            return read_other(words, scheme, fields)
        if not host or not _NO_HOST.isdisjoint(host):
            return Answer()
        path = escape_path(fields.get("path", ""))
        url = f"{scheme}://{host}/{path}" if path else f"{scheme}://{host}"
        if operation == STORE:
            from brokerctl.helpers.git_store import read_offer  # noqa: PLC0415 - not to hand out

            return read_offer(words, url, fields)
        # A bearer comes back as `credential` (git 2.46 and later).
        password = fields.get("password") or fields.get("credential")
        return Wanted(
            action=operation,
            url=url,
            username=fields.get("username"),
            rejected=Secret(password) if password else None,
            can_bearer="authtype" in lists.get("capability[]", ()) and _wants_bearer(lists),
        )

    def unchecked(self, wanted: Wanted, environ: Mapping[str, str]) -> str | None:
        """Name the variable or the file of git's that says so."""
        return find_unchecked(wanted, environ)

    def credential(self, wanted: Wanted, answer: AccessToken, profile: Profile) -> Answer:
        """Render the token as a password, or as a bearer where the server asked for one."""
        token = answer.value.reveal()
        if wanted.can_bearer:
            lines = [
                "capability[]=authtype",
                f"authtype={answer.token_type}",
                f"credential={token}",
                "ephemeral=1",
            ]
        else:
            lines = [f"username={username_for(wanted.username, profile)}", f"password={token}"]
        if answer.expires_at is not None:
            lines.append(f"password_expiry_utc={int(answer.expires_at)}")
        return Answer(stdout="".join(f"{line}\n" for line in lines).encode())

    def kept(self, one: Kept) -> Answer:
        """Render what git gave us, as it gave it."""
        lines = [f"username={one.username}", f"password={one.secret.reveal()}"]
        if one.expires_at is not None:
            lines.append(f"password_expiry_utc={int(one.expires_at)}")
        if one.refresh_token is not None:
            lines.append(f"oauth_refresh_token={one.refresh_token.reveal()}")
        return Answer(stdout="".join(f"{line}\n" for line in lines).encode())

    def not_kept(self, *, is_ours: bool) -> Answer:  # noqa: ARG002 - git hears neither
        """Let another helper keep it."""
        return Answer()

    def refusal(self, error: BrokerError) -> Answer:  # noqa: ARG002 - git reads no reasons
        """Stop git from asking for a password, which would be the wrong thing to type."""
        return Answer(stdout=_NO_PROMPT)


def parse_request(
    data: bytes, operation: str = GET
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the attributes that an operation needs, and lists, up to the first empty line."""
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
    """Say whether this can be a key, known or not; with a control character in it is no request.

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
    """Say whether the server offers Bearer and no Basic, which forges take a token in as well."""
    if "wwwauth[]" not in lists:
        return False
    from brokerctl.helpers.challenges import find_schemes  # noqa: PLC0415 - few servers were asked

    schemes = {one for value in lists["wwwauth[]"] for one in find_schemes(value)}
    return "bearer" in schemes and "basic" not in schemes
