"""The credential helper protocol of docker, podman, skopeo and whatever reads their configuration.

Errors are told on stdout, and three texts of them are compared letter by letter; any other is
fatal in skopeo and podman, even for a public image. So whoever has to log in is told on stderr,
and the tool that it has nothing here.

Security: a registry names the realm that its clients send the password to. A token is answered as
a password alone, never as an identity token (user `<token>`), which would be spent as a grant.
"""

from __future__ import annotations

from brokerctl import __version__, jsonlite
from brokerctl.config.hosts import is_loopback, parse_url
from brokerctl.errors import LoginNeededError, UsageError
from brokerctl.helpers import (
    ALL,
    ERASE,
    FORGET,
    GET,
    LIST,
    NOTHING,
    STORE,
    USERNAME,
    CredentialRequest,
    Helper,
    HelperReply,
    MalformedError,
)
from brokerctl.helpers.docker.tls_files import find_unchecked
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.errors import BrokerError
    from brokerctl.model import AccessToken, Profile
    from brokerctl.store import ToolCredential

HUB = "https://index.docker.io/v1/"  # docker's name for its own registry, wherever it is a key
HUB_NAMES = ("docker.io", "index.docker.io")  # as podman and skopeo call it, and as it is found
IDENTITY = "<token>"  # the user whose secret is an identity token
_NOT_FOUND = "credentials not found in native keychain"
_NO_SERVER = "no credentials server URL"
_NO_USERNAME = "no credentials username"
_USAGE = "usage: docker-credential-brokerctl get|store|erase|list|version"
_NOT_KEPT = "brokerctl keeps no credentials that another program made"
_NOT_NEEDED = (
    "a login of the tool is not needed: 'brokerctl login' is, once, for a registry's profile"
)
_VERSION = f"docker-credential-brokerctl (brokerctl) v{__version__}\n".encode()
_FIELDS = ("ServerURL", "Username", "Secret")
OWN_KEYS = ("/v1/access-token", "/v1/refresh-token")  # where docker keeps its own login to Hub


class Docker(Helper):
    """`docker-credential-brokerctl get|store|erase|list|version`; exit code 0 or 1."""

    names_user = False
    own_keys = OWN_KEYS

    def stdin_for(self, words: list[str]) -> str:
        """Return that `list` and `version`, which people type too, wait for nothing."""
        return ALL if words in ([GET], [STORE], [ERASE]) else NOTHING

    def read(
        self,
        words: list[str],
        stdin: bytes,
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is in words and on stdin
    ) -> CredentialRequest | HelperReply:
        """Read an operation and the server's address, or for `store` the JSON that has it."""
        if words == ["version"]:
            return HelperReply(stdout=_VERSION)
        if words == [LIST]:
            return CredentialRequest(action=LIST)
        if words == [STORE]:
            return _read_offer(stdin)
        if words not in ([GET], [ERASE]):
            return _failure(_USAGE)
        return _wanted(GET if words == [GET] else FORGET, _read_address(stdin))

    def check(self, wanted: CredentialRequest, profile: Profile) -> None:  # noqa: ARG002 - for any server
        """Refuse a user that would make another thing of the token at the registry."""
        username = profile.username or USERNAME
        if username == IDENTITY or ":" in username:
            raise UsageError(
                f"the username of '{profile.name}' can't be one at a registry",
                hint="a registry wants any name without a colon, such as oauth2",
            )

    def unchecked(self, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
        """Name the file of one of these tools that says so."""
        return find_unchecked(wanted, environ)

    def credential(
        self, wanted: CredentialRequest, answer: AccessToken, profile: Profile
    ) -> HelperReply:
        """Render the token as the password of the profile's user."""
        credential = {
            "ServerURL": wanted.form,
            "Username": profile.username or USERNAME,
            "Secret": answer.value.reveal(),
        }
        return HelperReply(stdout=jsonlite.dumps(credential).encode() + b"\n")

    def malformed(self) -> HelperReply:
        """Fail."""
        return _failure("brokerctl: not a request")

    def not_ours(self) -> HelperReply:
        """Let the tool go on without a credential."""
        return _failure(_NOT_FOUND)

    def kept(self, one: ToolCredential) -> HelperReply:
        """Render what docker gave us, an identity token too."""
        credential = {"Username": one.username, "Secret": one.secret.reveal()}
        return HelperReply(stdout=jsonlite.dumps(credential).encode() + b"\n")

    def not_kept(self, *, is_ours: bool) -> HelperReply:  # noqa: ARG002 - both would mislead
        """Fail: who was told that a password is stored would rely on it."""
        return _failure(_NOT_KEPT, note=_NOT_NEEDED)

    def refusal(self, error: BrokerError) -> HelperReply:
        """Fail, but for a login that is needed: without one, what is public is still there."""
        if isinstance(error, LoginNeededError):
            return self.not_ours()
        from brokerctl.text import safe  # noqa: PLC0415 - no hand-out refuses

        return _failure(f"brokerctl: {safe(error.message)}")

    def address(self, host: str) -> str | None:
        """Return a server's name."""
        return server_name(host)

    def listing(self, usernames: Mapping[str, str]) -> HelperReply:
        """Render the servers that can be named, each with its user; the first of a name counts."""
        found: dict[str, str] = {}
        for host, user in usernames.items():
            name = server_name(host)
            if name is not None:
                found.setdefault(name, user)
        return HelperReply(stdout=jsonlite.dumps(found, sort=True).encode() + b"\n")


def server_name(pattern: str) -> str | None:
    """Return how docker calls one of a profile's hosts; None where it has no name for it."""
    host, _, path = pattern.partition("://")[2].partition("/")
    if host == HUB_NAMES[1] and path in {"", "v1", "v1/"}:
        return HUB
    if path or host.startswith("*.") or host in HUB_NAMES:
        return None  # only servers are named, one at a time, and Hub by the name above
    return host


def _failure(text: str, note: str | None = None) -> HelperReply:
    return HelperReply(stdout=f"{text}\n".encode(), exit_code=1, note=note)


def _read_address(data: bytes) -> str:
    address = data.strip(b" \t\n")
    if any(byte in address for byte in (b"\n", b"\r", b"\0")):
        raise MalformedError("an address holds the end of a line or a NUL")
    try:
        return address.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("an address is not UTF-8") from error


def _read_offer(data: bytes) -> CredentialRequest | HelperReply:
    """Read what is to be stored: it may be our own token, which docker's `login` has got here."""
    try:
        found = jsonlite.loads_needed(data)
    except ValueError as error:
        raise MalformedError("what is to be stored is not JSON") from error
    values = [found.get(field) for field in _FIELDS] if isinstance(found, dict) else []
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(_FIELDS):
        raise MalformedError("what is to be stored is not a server, a user and a secret")
    return offer(*texts)


def offer(address: str, username: str, secret: str) -> CredentialRequest | HelperReply:
    """Return the request to keep a credential for a server, as `store` makes it."""
    if not username:
        return _failure(_NO_USERNAME)
    found = _wanted(STORE, _read_address(address.encode()))
    if isinstance(found, HelperReply):
        return found
    return found.replace(username=username, offered=Secret(secret))


def _wanted(action: str, address: str) -> CredentialRequest | HelperReply:
    """Return the request: an address without a scheme means https, on loopback http as well."""
    if not address:
        return _failure(_NO_SERVER)
    url, other = address if "://" in address else f"https://{address}", None
    is_own = address.endswith(OWN_KEYS)  # of docker's login to Hub, which no profile has
    if address in HUB_NAMES:
        url = HUB
    elif not is_own and url != address and _is_on_loopback(url):
        other = f"http://{address}"
    return CredentialRequest(
        action=action, url=url, otherwise=other, form=address, is_foreign=is_own
    )


def _is_on_loopback(url: str) -> bool:
    try:
        return is_loopback(parse_url(url).host)
    except UsageError:
        return False
