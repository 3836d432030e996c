"""The command line of `keyring`, as pip, uv and our own back end of that library call it.

    keyring get SERVICE USERNAME
    keyring get SERVICE --mode creds
    keyring --mode=creds --output=json get SERVICE [USERNAME]

A service is the URL of an index, or the `host[:port]` of one on loopback. Nothing is kept here:
`set` and `del` are refused.
"""

from __future__ import annotations

from brokerctl import __version__, jsonlite
from brokerctl.config.hosts import is_loopback, parse_url
from brokerctl.errors import UsageError
from brokerctl.helpers import (
    GET,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    answered,
    username_for,
)
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused
from brokerctl.helpers.unchecked_tls_files import find_either
from brokerctl.model import Value
from brokerctl.platform.commands import NO_KEYRING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome

# Users that mean "the password is a token" and name no person: GitLab's and PyPI's.
_NOBODY = ("oauth2", "__token__", "")
_OPTIONS = {"--mode": ("password", "creds"), "--output": ("plain", "json")}
_PROBES = {
    "--version": f"brokerctl {__version__}\n",
    "--help": "usage: keyring [--mode=password|creds] [--output=plain|json] get SERVICE [USER]\n",
    "--list-backends": "brokerctl (priority: 9)\n",
}
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_NOTHING = HelperReply(exit_code=1)


class _Call(Value):
    """One command line, whatever the order of its options."""

    words: tuple[str, ...]  # operation, service, username
    mode: str = "password"
    output: str = "plain"


def find_unchecked(wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the variable or the file by which pip or uv checks no certificate."""
    return find_either("keyring", wanted, environ)


class Keyring:
    """`keyring get …`; without a credential exit code 1 and no output."""

    traits = HelperTraits(variables=(NO_KEYRING,), unchecked=find_unchecked)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - `set` alone would send something
        environ: Mapping[str, str],
    ) -> CredentialRequest:
        """Read what is asked; the exit codes are those of the real `keyring` command."""
        probe = next((word for word in words if word in _PROBES), None)
        if probe is not None:
            return answered(HelperReply(stdout=_PROBES[probe].encode()))
        call = _parse(words)
        if call.words[0] in {"set", "del"}:
            note = f"keyring {call.words[0]}: brokerctl keeps no passwords of others"
            return answered(HelperReply(exit_code=1, note=note))
        if environ.get(NO_KEYRING):
            return answered(_NOTHING)
        service, username = (*call.words[1:], None)[:2]
        url, its_user = _split_user(find_url(service or ""))
        if url is None or (username and its_user and username != its_user):
            return answered(_NOTHING)
        username = username or its_user
        return CredentialRequest(
            action=GET,
            url=url,
            username=None if username in _NOBODY else username,
            form=f"{call.mode} {call.output} {username or ''}",
        )

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the password; else exit code 1 as for a missing one, or 2 as of argparse."""
        match outcome:
            case Credential():
                return _render(outcome)
            case Malformed():
                return HelperReply(exit_code=2)
            case NotOurs() | Refused():
                return _NOTHING
            case OwnCredential() | Acknowledged():
                return HelperReply()


def _render(found: Credential) -> HelperReply:
    """Render the token as the password of the user that was asked for."""
    mode, output, asked = (found.request.form or "").split(" ", 2)
    fields = {"password": found.token.value.reveal()}
    if mode == "creds":
        fields = {"username": username_for(asked, found.profile), **fields}
    if output == "json":
        return HelperReply(stdout=jsonlite.dumps(fields).encode() + b"\n")
    return HelperReply(stdout="".join(f"{value}\n" for value in fields.values()).encode())


def find_url(service: str) -> str | None:
    """Return the URL that a service means; None if it is a name without a host.

    A host alone means http on loopback, as for a test index, and no URL anywhere else. Security:
    pip and uv ask for the host alone if a URL got no answer, also if that URL was plain http. So
    somebody else's project could have a token of ours sent in the open.
    """
    if "://" in service:
        return service
    host = service.rpartition("@")[2]
    if "." not in host and ":" not in host and host != "localhost":
        return None
    try:
        url = parse_url(f"https://{host}")
    except UsageError:
        return None
    if url.path or url.query is not None:
        return None
    return f"http://{service}" if is_loopback(url.host) else None


def _split_user(url: str | None) -> tuple[str | None, str | None]:
    """Return a URL without its user, and the user.

    Security: only a plain name is cut off, without a password or an escape. Every other URL with an
    `@` is refused later, when URLs are compared.
    """
    scheme, separator, rest = (url or "").partition("://")
    user, at, host = rest.partition("@")
    if not at or not user or not _UNRESERVED.issuperset(user):
        return url, None
    return scheme + separator + host, user


def _parse(words: list[str]) -> _Call:
    found: dict[str, str] = {}
    places: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            places += rest
            break
        name, has_value, value = word.partition("=")
        if not word.startswith("-"):
            places.append(word)
            continue
        if name not in _OPTIONS or name in found or not (has_value or rest):
            raise MalformedError("an option is not known, given twice, or has no value")
        found[name] = value if has_value else rest.pop(0)
        if found[name] not in _OPTIONS[name]:
            raise MalformedError("an option has a value that there is not")
    call = _Call(words=tuple(places), **{name[2:]: value for name, value in found.items()})
    _check(call)
    return call


def _check(call: _Call) -> None:
    if not call.words or call.words[0] not in {"get", "set", "del"}:
        raise MalformedError("the operation is not get, set or del")
    needed = 2 if call.words[0] == "get" and call.mode == "creds" else 3
    if not needed <= len(call.words) <= 3:  # noqa: PLR2004 - operation, service, username
        raise MalformedError("it needs a service, and a username for its password")
    if not all(word.isprintable() for word in call.words):
        raise MalformedError("a word holds what is not text")
