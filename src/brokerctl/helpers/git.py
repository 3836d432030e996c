"""git's credential helper protocol (gitcredentials(7), git-credential(1)).

Security: git sends whatever a repository's URLs and redirects say. Bytes are split at newlines and
nowhere else; a carriage return, a NUL, a repeated or missing host is no request (CVE-2020-5260,
CVE-2020-11008, CVE-2024-52006). `wwwauth[]` decides in which form a token is sent, never to whom.
"""

from __future__ import annotations

from brokerctl.helpers import (
    BLOCK,
    ERASE,
    GET,
    STORE,
    USERNAME,
    Answer,
    Helper,
    MalformedError,
    Wanted,
)
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.errors import BrokerError
    from brokerctl.model import AccessToken, Profile
    from brokerctl.store.values import Kept

_LINE_BYTES = 65535  # git's own limit, the newline included
_CAPABILITIES = b"version 0\ncapability authtype\n"
_NO_PROMPT = b"quit=1\n"
_SCHEMES = ("https", "http")
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
        environ: Mapping[str, str],
    ) -> Wanted | Answer:
        """Read what git asks; unknown operations are nothing."""
        operation = words[-1] if words else ""
        if operation == "capability":
            return Answer(stdout=_CAPABILITIES)
        if operation not in {GET, ERASE, STORE}:
            return Answer()
        fields, lists = parse_request(stdin)
        scheme, host = fields.get("protocol", ""), fields.get("host", "")
        if scheme not in _SCHEMES or not host or not _NO_HOST.isdisjoint(host):
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
            is_insecure="GIT_SSL_NO_VERIFY" in environ,  # set at all is set (git(1), Git Network)
            can_bearer="authtype" in lists.get("capability[]", ()) and _wants_bearer(lists),
        )

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
            username = wanted.username or profile.username or USERNAME
            lines = [f"username={username}", f"password={token}"]
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


def parse_request(data: bytes) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return a request's attributes and lists (`name[]`), up to the first empty line."""
    fields: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for line in data.split(b"\n"):
        if not line:
            break
        if len(line) >= _LINE_BYTES:
            raise MalformedError("a line is too long")
        if b"\r" in line or b"\0" in line:
            raise MalformedError("a line holds a carriage return or a NUL")
        name, separator, value = _text(line).partition("=")
        if not separator or not name:
            raise MalformedError("a line is not KEY=VALUE")
        if name.endswith("[]"):
            lists[name] = (*lists.get(name, ()), value) if value else ()
        elif name in fields:
            raise MalformedError("a key is repeated")
        else:
            fields[name] = value
    return fields, lists


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a line is not UTF-8") from error


def escape_path(path: str) -> str:
    """Return a path as a URL has it (RFC 3986, section 3.3): git has unescaped it."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in path.encode())


def _wants_bearer(lists: dict[str, tuple[str, ...]]) -> bool:
    """Say whether the server offers Bearer and no Basic, which forges take a token in as well."""
    schemes = {value.partition(" ")[0].lower() for value in lists.get("wwwauth[]", ())}
    return "bearer" in schemes and "basic" not in schemes
