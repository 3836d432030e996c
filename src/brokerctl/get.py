"""`get`: its written grammar, which is parsed without Typer, and the formats of its answer.

Only the parsing is shorter here: broker, formats and error lines are those of the full program. A
command line that is not exactly in this grammar, also a wrong one, goes to the full program, which
explains it.
"""

from __future__ import annotations

import time

from brokerctl import jsonlite, output
from brokerctl.broker.request import find_profile
from brokerctl.errors import BrokerError, UsageError, shell_word
from brokerctl.freshness import UNITS_S, timestamp
from brokerctl.home import make_token_request, open_home
from brokerctl.model import NOT_BEARER
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.home import Home
    from brokerctl.model import AccessToken, Profile, TokenRequest

_LISTS = ("--scope", "--resource", "--audience")
_VALUES = ("--subject", "--min-ttl", "--purpose", "--format", "--for", *_LISTS)
_FLAGS = ("--fresh", "--json")
_MAX_DIGITS = 9
_STDOUT = 1
_PURPOSE_CHARS = 200
_PLAIN = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="  # RFC 6750, 2.1
)
_BEARER_FORMATS = ("header", "netrc", "curl")
FORMATS = ("token", "header", "json", "env", "netrc", "curl")


class GetOptions:
    """The options of `get`, from either parser."""

    __slots__ = (
        "audience",
        "form",
        "is_fresh",
        "min_ttl_s",
        "profile",
        "purpose",
        "resource",
        "scopes",
        "subject",
        "url",
    )

    def __init__(self, profile: str) -> None:
        self.profile = profile  # "": the profile of `url`
        self.scopes: tuple[str, ...] | None = None
        self.resource: tuple[str, ...] | None = None
        self.audience: tuple[str, ...] | None = None
        self.subject: str | None = None
        self.min_ttl_s: float | None = None
        self.purpose: str | None = None
        self.is_fresh = False
        self.form = "token"
        self.url: str | None = None


def run_words(
    words: list[str], environ: Mapping[str, str], _umask: int | None = None
) -> int | None:
    """Run the words after `get` if they are in the written grammar; None if they are not."""
    options = parse_get(words, environ.get("BROKERCTL_PROFILE"))
    return None if options is None else run_get(options, environ)


def run_get(options: GetOptions, environ: Mapping[str, str]) -> int:
    """Get one token and print it, or print the error; return the exit code."""
    is_json = options.form == "json"
    try:
        return get_token(options, environ)
    except BrokerError as error:
        return output.print_error(error, is_json=is_json)
    except Exception as error:  # noqa: BLE001 - the last handler: one line, no traceback, no values
        return output.print_error(output.unexpected(error, environ), is_json=is_json)


def get_token(options: GetOptions, environ: Mapping[str, str]) -> int:
    """Get one token and print it; raises BrokerError. Each hand-out has one record."""
    home = open_home(environ, may_use_memory=True, profile=options.profile)
    home.broker.asks_here = True
    try:
        profile = _find_profile(options, home.plan.profiles)
    except BrokerError as error:
        home.broker.record_refusal(make_request(options, environ), error)
        raise
    options.profile = profile.name
    answer = home.broker.get(make_request(options, environ))
    try:
        line = render(answer, profile, options.form, time.time())
    except BrokerError:
        home.broker.not_delivered(answer)
        raise
    return deliver(home, answer, line)


def _find_profile(options: GetOptions, profiles: Mapping[str, Profile]) -> Profile:
    """Return the profile that is named, or that a URL belongs to; UsageError if there is none."""
    if options.url is not None and not options.profile:
        from brokerctl.config.hosts import match_profile  # noqa: PLC0415 - most name a profile

        return profiles[match_profile(options.url, profiles)]
    return find_profile(profiles, options.profile)


def make_request(options: GetOptions, environ: Mapping[str, str]) -> TokenRequest:
    """Turn options into the request that the broker decides on."""
    asked = make_token_request(options.profile, environ, "get", options.url)
    return asked.replace(
        subject=options.subject,
        scopes=options.scopes,
        resource=options.resource,
        audience=options.audience,
        min_ttl_s=options.min_ttl_s,
        is_fresh=options.is_fresh,
        purpose=options.purpose[:_PURPOSE_CHARS] if options.purpose else asked.purpose,
    )


def deliver(home: Home, answer: AccessToken, line: bytes) -> int:
    """Write the answer to stdout in full, or record that it was not delivered."""
    for text in home.notices(answer):
        output.warn(text)
    try:
        output.write_fully(_STDOUT, line)
    except OSError as error:
        home.broker.not_delivered(answer)
        reason = os.strerror(error.errno or 0).lower()
        raise BrokerError(f"the token could not be written to stdout: {reason}") from error
    return 0


def parse_get(words: list[str], default_profile: str | None) -> GetOptions | None:
    """Read `get [PROFILE] [--option value]…`; None for anything outside the grammar."""
    given: dict[str, list[str]] = {}
    names: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word in _FLAGS:
            given[word] = []
        elif word in _VALUES and position < len(words):
            given.setdefault(word, []).append(words[position])
            position += 1
        elif word.startswith("-") or not word:
            return None
        else:
            names.append(word)
    if "--for" in given:
        names = [] if names else [""]
    elif not names and default_profile:
        names = [default_profile]
    return _options(names, given) if len(names) == 1 else None


def _options(names: list[str], given: dict[str, list[str]]) -> GetOptions | None:
    if any(len(values) > 1 for name, values in given.items() if name not in _LISTS):
        return None
    if any(value.startswith("-") or not value for values in given.values() for value in values):
        return None
    options = GetOptions(names[0])
    options.form = given["--format"][0] if "--format" in given else "token"
    if "--json" in given:
        options.form = "json" if options.form in {"token", "json"} else "?"
    if options.form not in FORMATS:
        return None
    if "--min-ttl" in given:
        seconds = parse_duration(given["--min-ttl"][0])
        if seconds is None:
            return None
        options.min_ttl_s = seconds
    options.scopes = split_scopes(given["--scope"]) if "--scope" in given else None
    options.resource = unique(given.get("--resource"))
    options.audience = unique(given.get("--audience"))
    options.subject = given["--subject"][0] if "--subject" in given else None
    options.purpose = given["--purpose"][0] if "--purpose" in given else None
    options.is_fresh = "--fresh" in given
    options.url = given["--for"][0] if "--for" in given else None
    return options


def split_scopes(values: list[str]) -> tuple[str, ...]:
    """Return scopes sorted and unique; one option may hold several (RFC 6749, section 3.3)."""
    return tuple(sorted({scope for value in values for scope in value.split()}))


def unique(values: list[str] | None) -> tuple[str, ...] | None:
    """Return resources or audiences sorted and unique; None if none was named."""
    return tuple(sorted(set(values))) if values else None


def parse_duration(text: str) -> float | None:
    """Return the seconds of `30s`, `5m`, `8h` or `1d`; None for anything else."""
    digits, unit = text[:-1], text[-1:]
    if unit not in UNITS_S or not digits or len(digits) > _MAX_DIGITS:
        return None
    if not all(char in "0123456789" for char in digits):
        return None
    return float(int(digits) * UNITS_S[unit])


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
    """Return a value quoted for a shell. Security: `eval` must not run a part of a token.

    After a `=` shells replace `~` by a home folder, and zsh a second `=` by a command's path.
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
        "audience": list(answer.audience),
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
    """Return a value as one quoted word of netrc, for Python and for curl from 7.84 on.

    Older readers do not know quotation marks, and can't read such a word at all.
    """
    for char in '\\"':
        value = value.replace(char, f"\\{char}")
    return f'"{value}"'


def _machine(host: str) -> str:
    """Return the host name alone: netrc has no ports, and nothing matches a name with one."""
    authority = host.split("://", 1)[1].split("/", 1)[0]
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]
