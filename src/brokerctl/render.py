"""Prints one access token in the form that was asked for; the same for every way in."""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import UsageError, shell_word
from brokerctl.freshness import timestamp
from brokerctl.model import NOT_BEARER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import AccessToken, Profile

_PLAIN = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="  # RFC 6750, 2.1
)
_BEARER_FORMATS = ("header", "netrc", "curl")
FORMATS = ("token", "header", "json", "env", "netrc", "curl")


def render(answer: AccessToken, profile: Profile, form: str, now: float) -> bytes:
    """Return the line for stdout. Security: this is where a token becomes text."""
    value = answer.value.reveal()
    if form in _BEARER_FORMATS and answer.token_type == NOT_BEARER:
        what = f"what '{profile.name}' gets is no bearer token"
        raise UsageError(what, hint="use --format token")
    if form == "token":
        text = value
    elif form == "json":
        text = jsonlite.dumps(as_json(answer, now))
    elif form == "header":
        text = f"Authorization: {answer.token_type} {value}"
    elif form == "curl":
        text = f"header = {jsonlite.quote(f'Authorization: {answer.token_type} {value}')}"
    elif form == "env":
        text = f"{variable(profile)}={_quoted(value)}"
    else:
        text = "\n".join(_netrc(profile, value))
    return text.encode("ascii") + b"\n"


def _quoted(value: str) -> str:
    """Return a value as a shell reads it. Security: an issuer's token is no command for `eval`.

    Behind a `=` shells take `~` for a home folder, and zsh a second `=` for the path of a command.
    """
    if _PLAIN.issuperset(value) and value[0] not in "~=" and "=~" not in value:
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def as_json(answer: AccessToken, now: float) -> dict[str, object]:
    """Return the documented JSON of `get --json` (schema 1)."""
    until = answer.expires_at
    return {
        "schema": 1,
        "access_token": answer.value.reveal(),
        "token_type": answer.token_type,
        "expires_at": None if until is None else timestamp(until),
        "expires_in": None if until is None else max(0, int(until - now)),
        **({"expires_at_assumed": True} if answer.is_assumed else {}),
        "scope": " ".join(answer.scopes),
        "scopes": list(answer.scopes),
        "profile": answer.profile,
        "issuer": answer.issuer,
        "subject": answer.subject,
        "audience": [],
        "resource": list(answer.resource),
    }


def variable(profile: Profile) -> str:
    """Return the environment variable of a profile: its `env`, else `<PROFILE>_TOKEN`."""
    if profile.env:
        return profile.env
    name = "".join(char if char.isalnum() else "_" for char in profile.name.upper())
    return f"{name}_TOKEN"


def _netrc(profile: Profile, value: str) -> list[str]:
    hosts = list(dict.fromkeys(_machine(host) for host in profile.hosts))
    if not hosts or any("*" in host for host in hosts):
        raise UsageError(
            f"'{profile.name}' names no exact hosts, so a netrc line can't be made",
            hint=f"run 'brokerctl profile edit {shell_word(profile.name)} --set hosts=https://HOST'",
        )
    login = profile.username or "oauth2"
    if not all("!" <= char <= "~" and char not in '"\\#' for char in login):
        raise UsageError(
            f"the username of '{profile.name}' is no single word of ASCII, as a netrc line wants",
            hint=f"run 'brokerctl profile edit {shell_word(profile.name)} --set username=NAME'",
        )
    word = value if _PLAIN.issuperset(value) else _netrc_quoted(value)
    return [f"machine {host} login {login} password {word}" for host in hosts]


def _netrc_quoted(value: str) -> str:
    """Return a value as one word of netrc, as curl from 7.84 on and Python read it.

    Older readers know no quotation marks, and have no way to say such a word at all.
    """
    for char in '\\"':
        value = value.replace(char, f"\\{char}")
    return f'"{value}"'


def _machine(host: str) -> str:
    """Return the name alone: netrc has no ports, and a line with one is nobody's (netrc(5))."""
    authority = host.split("://", 1)[1].split("/", 1)[0]
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]
