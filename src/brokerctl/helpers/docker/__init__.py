"""The credential helper protocol of docker, podman, skopeo and whatever reads their configuration.

Errors are written to stdout. The tools compare three error texts letter by letter; any other is
fatal in skopeo and podman, even for a public image. So if a login is needed, the tool gets "not
found", and the person is told on stderr.

Security: a registry names the realm to which its clients send the password. A token is handed out
as a password and never as an identity token (user `<token>`), which would be used as a grant.
"""

from __future__ import annotations

from brokerctl import __version__, jsonlite
from brokerctl.config.hosts import is_loopback, parse_url
from brokerctl.errors import UsageError
from brokerctl.helpers import (
    ALL,
    ERASE,
    FORGET,
    GET,
    LIST,
    STORE,
    USERNAME,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    answered,
)
from brokerctl.helpers.docker.tls_files import find_unchecked
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome
    from brokerctl.helpers.outcomes import OutcomeWithoutToken
    from brokerctl.model import Profile

HUB = "https://index.docker.io/v1/"  # docker's key for its own registry
HUB_NAMES = ("docker.io", "index.docker.io")  # podman's and skopeo's key, and its host
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


def fit(_: CredentialRequest, profile: Profile) -> UsageError | bool:
    """Refuse a user with whom every registry would read the token as something else."""
    username = profile.username or USERNAME
    if username == IDENTITY or ":" in username:
        return UsageError(
            f"the username of '{profile.name}' can't be one at a registry",
            hint="a registry wants any name without a colon, such as oauth2",
        )
    return True


def server_name(pattern: str) -> str | None:
    """Return docker's name for one of a profile's hosts; None if it has none."""
    host, _, path = pattern.partition("://")[2].partition("/")
    if host == HUB_NAMES[1] and path in {"", "v1", "v1/"}:
        return HUB
    if path or host.startswith("*.") or host in HUB_NAMES:
        return None  # docker names whole servers, and Hub as above
    return host


class Docker:
    """`docker-credential-brokerctl get|store|erase|list|version`; exit code 0 or 1."""

    traits = HelperTraits(
        stdin=ALL,
        words_with_stdin=(GET, STORE, ERASE),
        names_user=False,
        own_keys=OWN_KEYS,
        spelling=server_name,
        fit=fit,
        unchecked=find_unchecked,
    )

    def read(
        self,
        words: list[str],
        stdin: bytes,
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is in words and on stdin
    ) -> CredentialRequest:
        """Read an operation and the server's address, or for `store` the JSON that has it."""
        if words == ["version"]:
            return answered(HelperReply(stdout=_VERSION))
        if words == [LIST]:
            return CredentialRequest(action=LIST)
        if words == [STORE]:
            return _read_offer(stdin)
        if words not in ([GET], [ERASE]):
            return answered(_failure(_USAGE))
        return _wanted(GET if words == [GET] else FORGET, _read_address(stdin))

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the token as the password of the profile's user."""
        if not isinstance(outcome, Credential):
            return _answer_without_token(outcome)
        credential = {
            "ServerURL": outcome.request.form,
            "Username": outcome.profile.username or USERNAME,
            "Secret": outcome.token.value.reveal(),
        }
        return _json(credential)


def _answer_without_token(outcome: OutcomeWithoutToken) -> HelperReply:  # noqa: PLR0911 - one for each
    """Answer with a credential that docker had us keep, with "not found", or with an error."""
    from brokerctl.helpers import outcomes  # noqa: PLC0415 - no warm hand-out needs them
    from brokerctl.text import safe  # noqa: PLC0415 - as above

    match outcome:
        case outcomes.OwnCredential():  # it may be an identity token
            one = outcome.credential
            return _json({"Username": one.username, "Secret": one.secret.reveal()})
        case outcomes.Users():
            return _json(_by_server(outcome.users), sort=True)
        case outcomes.Stored(is_kept=False):
            # An error, since a person who is told that a password is stored relies on it.
            return _failure(_NOT_KEPT, note=_NOT_NEEDED)
        case outcomes.Stored() | outcomes.Forgotten():
            return HelperReply()
        case outcomes.NotOurs() | outcomes.LoginNeeded():  # public images need no password
            return _failure(_NOT_FOUND)
        case outcomes.Malformed():
            return _failure("brokerctl: not a request")
        case outcomes.Denied() | outcomes.Failed():
            return _failure(f"brokerctl: {safe(outcome.error.message)}")


def _by_server(users: Mapping[str, str]) -> dict[str, str]:
    """Return the user of each server that docker can name; of two hosts of one name the first."""
    found: dict[str, str] = {}
    for host, user in users.items():
        name = server_name(host)
        if name is not None:
            found.setdefault(name, user)
    return found


def _json(said: Mapping[str, str | None], *, sort: bool = False) -> HelperReply:
    return HelperReply(stdout=jsonlite.dumps(said, sort=sort).encode() + b"\n")


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


def _read_offer(data: bytes) -> CredentialRequest:
    """Read what is to be stored: it may be our own token, which `docker login` got from us."""
    try:
        found = jsonlite.loads_needed(data)
    except ValueError as error:
        raise MalformedError("what is to be stored is not JSON") from error
    values = [found.get(field) for field in _FIELDS] if isinstance(found, dict) else []
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(_FIELDS):
        raise MalformedError("what is to be stored is not a server, a user and a secret")
    return offer(*texts)


def offer(address: str, username: str, secret: str) -> CredentialRequest:
    """Return the request to keep a credential for a server, as `store` makes it."""
    if not username:
        return answered(_failure(_NO_USERNAME))
    found = _wanted(STORE, _read_address(address.encode()))
    return found if found.reply else found.replace(username=username, offered=Secret(secret))


def _wanted(action: str, address: str) -> CredentialRequest:
    """Return the request; an address without a scheme is https, or http if it is on loopback."""
    if not address:
        return answered(_failure(_NO_SERVER))
    url, other = address if "://" in address else f"https://{address}", None
    is_own = address.endswith(OWN_KEYS)  # docker's own login to Hub belongs to no profile
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
