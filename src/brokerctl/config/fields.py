"""The keys of the configuration, each with the check that turns its TOML value into ours.

A check raises UsageError, whose message never shows a secret; `compile` adds the place in the file.
"""

from __future__ import annotations

import re

import rfc8785

from brokerctl.config.duration import parse_duration
from brokerctl.config.hosts import parse_endpoint, parse_issuer, parse_pattern
from brokerctl.config.words import aws, azure, exchange, github_app, google, publish
from brokerctl.errors import UsageError
from brokerctl.model import FLOWS, KEEPERS, Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SECRET_AUTHS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
CLIENT_AUTHS = ("none", *SECRET_AUTHS, "private_key_jwt")
REFERENCE_KINDS = ("env", "file", "keyring", "store", "command")
SIGN = "sign"
REFERENCE_FORMS = (
    '{ env = "X" }, { file = "p" }, { keyring = "service/name" }, { store = "name" }'
    ' or { command = ["pass", "show", "x"] }'
)
ENDPOINTS = (
    "authorization_endpoint",
    "device_authorization_endpoint",
    "impersonation_endpoint",
    "introspection_endpoint",
    "jwks_uri",
    "revocation_endpoint",
    "token_endpoint",
)
# Sent by the protocol itself: `extra` must not say them a second time, with another value.
_OWN_PARAMETERS = _words(
    "acr_values assertion client_assertion client_assertion_type client_id client_secret code"
    " code_challenge code_challenge_method code_verifier device_code grant_type nonce password"
    " redirect_uri refresh_token request request_uri resource response_mode response_type"
    " scope state token token_type_hint username"
)
# A token in one of these would change what runs, not what a program is allowed to do.
_UNSAFE_VARIABLES = re.compile(
    r"PATH|HOME|IFS|ENV|BASH_ENV|SHELL|BROWSER|EDITOR|VISUAL|PAGER|PS4|NODE_OPTIONS"
    r"|(LD|DYLD|GIT|BROKERCTL)_.*(?<!TOKEN)|PYTHON.*|PERL5.*|RUBY(OPT|LIB)|_?JAVA_.*OPTIONS"
    r"|(?i:.+_PROXY)",  # a token there would be looked up as the name of a host, for all to see
    re.ASCII,
)
_PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_ERROR = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,80}", re.ASCII)  # RFC 6749, 5.2
# These errors are about the client, the request or the moment. None says that a grant has ended.
_NO_END = _words(
    "access_denied authorization_pending invalid_client invalid_request invalid_scope"
    " invalid_target server_error slow_down temporarily_unavailable unauthorized_client"
    " unsupported_grant_type"
)
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,512}", re.ASCII)  # RFC 6749, 3.3
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x22\x24-\x7e]{1,1024}", re.ASCII)
_CLIENT_ID = re.compile(r"[\x20-\x7e]{1,512}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
# A token in one of these would change how a request is read, or whom it is for.
_NO_TOKEN_HEADERS = _words(
    "accept-encoding connection content-length cookie expect host keep-alive proxy-connection te"
    " trailer transfer-encoding upgrade"
)
_SIZE = re.compile(r"([1-9][0-9]{0,3})([KMG])iB", re.ASCII)
_SIZES = {"K": 1024, "M": 1024**2, "G": 1024**3}
_MAX_TEXT_CHARS = 200
_MAX_AUDIENCE_CHARS = 1024
_MAX_ITEMS = 256


def profile_name(text: str) -> str:
    """Return the name of a profile or a stored secret, or raise UsageError."""
    if not _PROFILE_NAME.fullmatch(text):
        raise UsageError(
            f"{text[:80]!r} can't be a name",
            hint="use a-z, 0-9, '.', '_' and '-', at most 64 of them, a letter or digit first",
        )
    return text


def text_field(value: object) -> str:
    """Return a label: a short string without control characters."""
    text = _string(value)
    if not text or len(text) > _MAX_TEXT_CHARS or not text.isprintable():
        raise UsageError(f"must be 1 to {_MAX_TEXT_CHARS} printable characters")
    return text


def _audience(text: str) -> str:
    """Return the name of a target service, which may be any text (RFC 8693, section 2.1)."""
    if not text or len(text) > _MAX_AUDIENCE_CHARS or not text.isprintable():
        raise UsageError(f"each must be 1 to {_MAX_AUDIENCE_CHARS} printable characters")
    return text


def _username(value: object) -> str:
    """Return the user name that goes with the token, in git's protocol and in HTTP Basic."""
    text = text_field(value)
    if ":" in text:
        raise UsageError("can't hold ':', which ends a username (RFC 7617, section 2)")
    return text


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise UsageError("must be a string")
    return value


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError('must be a list of strings, as in ["one", "two"]')
    if len(value) > _MAX_ITEMS:
        raise UsageError(f"has more than {_MAX_ITEMS} items")
    return value


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        text = _string(value)
        if not pattern.fullmatch(text):
            raise UsageError(f"{text[:80]!r} is not {what}")
        return text

    return check


def _list_of(item: Callable[[str], str]) -> Callable[[object], tuple[str, ...]]:
    def check(value: object) -> tuple[str, ...]:
        return tuple(sorted({item(text) for text in _strings(value)}))

    return check


def _one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise UsageError(f"must be one of {', '.join(words)}")
        return str(value)

    return check


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError("must be true or false")
    return value


def duration(value: object) -> int:
    """Return the seconds of a duration above zero."""
    seconds = parse_duration(_string(value))
    if seconds == 0:
        raise UsageError("must be longer than 0")
    return seconds


def _size(value: object) -> int:
    found = _SIZE.fullmatch(_string(value))
    if not found:
        raise UsageError("must be a size, as in '16MiB'")
    return int(found[1]) * _SIZES[found[2]]


def _path(value: object) -> str:
    text = _string(value)
    if not text.startswith(("/", "~/")) or not text.isprintable():
        raise UsageError("must be an absolute path or start with ~/")
    return text


def variable(value: object) -> str:
    """Return the name of an environment variable that a token may be put into."""
    name = _variable(value)
    if _UNSAFE_VARIABLES.fullmatch(name):
        raise UsageError(f"{name} is not a variable for a token")
    return name


def _grant_ended_error(text: str) -> str:
    if not _ERROR.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is not an error code (RFC 6749, section 5.2)")
    if text in _NO_END:
        raise UsageError(f"{text} does not say that a grant has ended")
    return text


def _flow(value: object) -> str:
    if _string(value) == "static":
        raise UsageError(f"flow {value} is not in this version")
    return _one_of(*FLOWS)(value)


def _client_auth(value: object) -> str:
    if _string(value) in {"tls_client_auth", "self_signed_tls_client_auth"}:
        raise UsageError(f"client_auth {value} is not in this version")
    return _one_of(*CLIENT_AUTHS)(value)


def reference(value: object) -> Reference:
    """Return where a secret is found; a literal secret is refused, and never shown."""
    if not isinstance(value, dict):
        raise UsageError(
            "must say where the secret is, not what it is", hint=f"use {REFERENCE_FORMS}"
        )
    if len(value) != 1 or next(iter(value)) not in REFERENCE_KINDS:
        raise UsageError("is not a reference", hint=f"use {REFERENCE_FORMS}")
    kind, target = next(iter(value.items()))
    return Reference(kind=kind, target=_TARGETS[kind](target))


def client_key(value: object) -> Reference:
    """Return where a private key is found, or the command that signs with it: `{ sign = […] }`."""
    if isinstance(value, dict) and set(value) == {SIGN}:
        return Reference(kind=SIGN, target=_command(value[SIGN]))
    return reference(value)


def present(value: object) -> tuple[str, str]:
    """Return how a token is shown to the profile's hosts: (header, NAME) or (basic, USER)."""
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= {"header", "basic"}:
        raise UsageError('must be { header = "x-api-key" } or { basic = "user" }')
    kind, name = next(iter(value.items()))
    if kind == "basic":
        return kind, _username(name)
    name = _matching(_HEADER, "the name of a header")(name)
    if name.lower() in _NO_TOKEN_HEADERS:
        raise UsageError(f"{name} is not a header for a token")
    return kind, name


def _one(check: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    return lambda value: (check(value),)


def _keyring_item(value: object) -> str:
    service, slash, name = _string(value).rpartition("/")
    if not slash or not service or not name:
        raise UsageError('must be "service/name"')
    return f"{service}/{name}"


def _command(value: object) -> tuple[str, ...]:
    words = _strings(value)
    if not words or not words[0] or any("\0" in word for word in words):
        raise UsageError('must be a command and its arguments, as in ["pass", "show", "x"]')
    if "/" in words[0]:
        _path(words[0])  # a relative path would depend on the folder that we happen to be in
    return tuple(words)


def _extra(value: object) -> str | None:
    if not isinstance(value, dict):
        raise UsageError('must be a table of strings, as in { audience = "x" }')
    for name, content in value.items():
        if not _PARAMETER.fullmatch(name) or not isinstance(content, str):
            raise UsageError(f"{name[:80]!r} is not a parameter with a string")
        if name in _OWN_PARAMETERS:
            raise UsageError(f"{name} is sent by the protocol itself")
    return rfc8785.dumps(value).decode("utf-8") if value else None


_variable = _matching(_VARIABLE, "the name of a variable")
_TARGETS: dict[str, Callable[[object], tuple[str, ...]]] = {
    "env": _one(_variable),
    "file": _one(_path),
    "keyring": _one(_keyring_item),
    "store": _one(lambda value: profile_name(_string(value))),
    "command": _command,
}
PRESET = "preset"  # its values are checked by `compile`

PROFILE: dict[str, Callable[[object], object]] = {
    PRESET: _string,
    "issuer": lambda value: parse_issuer(_string(value)),
    "flow": _flow,
    "client_id": _matching(_CLIENT_ID, "a client id"),
    "client_auth": _client_auth,
    "client_secret": reference,
    "client_key": client_key,
    "aws": aws.table,
    "azure": azure.table,
    "github_app": github_app.table,
    "publish": publish.table,
    "exchange": exchange.exchange,
    "identity": exchange.identity,
    "identity_audience": exchange.identity_audience,
    "google": google.table,
    "scopes": _list_of(_matching(_SCOPE, "one scope (RFC 6749, section 3.3)")),
    "resource": _list_of(_matching(_RESOURCE, "an absolute URI without a fragment")),
    "audience": _list_of(_audience),
    "hosts": lambda value: tuple(dict.fromkeys(map(parse_pattern, _strings(value)))),
    "present": present,
    "username": _username,
    "username_match": _one_of("exact", "any"),
    "env": variable,
    "owner": text_field,
    "purpose": text_field,
    "subject": text_field,
    "min_ttl": duration,
    "max_ttl": duration,
    "extra": _extra,
    "ca_file": _path,
    "timeout": duration,
    "login_wait": duration,
    "lifetime": duration,
    "exec": _one_of("own", "shared"),
    "revoke_at_exit": _one_of("access", "none"),
    "refresh_ends_previous": _flag,
    "grant_ended_errors": _list_of(_grant_ended_error),
    "allow_broader": _flag,
    "send_resource": _flag,
    "insecure_ok": _flag,
    "pkce_support": _one_of("required", "assumed"),
    "assertion_audience": _one_of("issuer", "token_endpoint"),
    **dict.fromkeys(ENDPOINTS, lambda value: parse_endpoint(_string(value))),
}
SETTINGS: dict[str, dict[str, Callable[[object], object]]] = {
    "keys": {"keeper": _one_of(*KEEPERS), "unlock_for": duration},
    "audit": {"rotate": _size},
    "helpers": {"keep": _list_of(_one_of("git", "docker", "cargo"))},
    "approve": {"wait": duration, "command": _command},
}
PROJECT = ("scopes", "max_ttl", "purpose", "env")

# Named by the design and not built yet: refused by name, never accepted and ignored.
LATER_PROFILE = _words(
    "client_cert details dpop par actor expires rotate_after egress"
    " registration_endpoint"
    " userinfo_endpoint end_session_endpoint pushed_authorization_request_endpoint"
)
LATER_SETTINGS = {"audit": frozenset({"accept", "checkpoint"})}
LATER_TOP = frozenset({"store"})

# From a key of the configuration to the field of model.Profile, where the names differ.
FIELD_NAMES = {
    "min_ttl": "min_ttl_s",
    "max_ttl": "max_ttl_s",
    "timeout": "timeout_s",
    "login_wait": "login_wait_s",
    "lifetime": "lifetime_s",
    "exec": "exec_mode",
}
SETTING_NAMES = {
    ("keys", "keeper"): "keeper",
    ("keys", "unlock_for"): "unlock_for_s",
    ("audit", "rotate"): "rotate_bytes",
    ("helpers", "keep"): "keep",
    ("approve", "wait"): "approve_wait_s",
    ("approve", "command"): "approve_command",
}
