"""Google's executable-sourced credentials: a program that prints a JWT, which Google exchanges.

Google's libraries send their request in environment variables, and read a JSON answer from stdout
and stderr together: nothing else may be written. A failure is an answer too, with exit code 0.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from brokerctl import jsonlite
from brokerctl.errors import DeniedError, UsageError
from brokerctl.helpers import (
    GET,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    answered,
)
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused
from brokerctl.helpers.profile_option import read_profile
from brokerctl.helpers.unchecked_tls import find_variable
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.errors import BrokerError
    from brokerctl.helpers import Outcome
    from brokerctl.model import Profile

_PREFIX = "GOOGLE_EXTERNAL_ACCOUNT_"
_ENDS = ("ALLOW_EXECUTABLES", "REVOKE", "TOKEN_TYPE", "AUDIENCE", "OUTPUT_FILE")
_VARIABLES = tuple(_PREFIX + end for end in _ENDS)
_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_PARTS = 3  # of a compact JWS (RFC 7515, section 7.1)
_TEXT_CHARS = 600
_SEPARATOR = "\n"  # an audience may not hold it


def fit(wanted: CredentialRequest, profile: Profile) -> UsageError | bool:
    """Refuse a provider that is not the profile's own.

    Security: the author of the credential file also chose where the token is sent.
    """
    _, audience, _ = _asked(wanted)
    if not profile.google:
        return UsageError(
            f"'{profile.name}' names no pool of Google's",
            hint="add google = { pool = … } to the profile",
        )
    if audience != profile.google[0]:
        return UsageError(f"the audience is not the pool of '{profile.name}'")
    return True


def find_unchecked(wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the variable by which Google's libraries check no certificate."""
    return find_variable("gcp", wanted, environ)


class Gcp:
    """`brokerctl helper gcp --profile P`; whatever happens, exit code 0 and one line of JSON."""

    traits = HelperTraits(
        variables=_VARIABLES,
        tells_errors=True,
        is_silent=True,
        is_last=True,
        fit=fit,
        unchecked=find_unchecked,
    )

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - it is whatever the tool's own is
        environ: Mapping[str, str],
    ) -> CredentialRequest:
        """Read the profile's name, and from the environment who is to get the token."""
        name = read_profile(words)
        if environ.get(f"{_PREFIX}ALLOW_EXECUTABLES") != "1":
            raise DeniedError(f"{_PREFIX}ALLOW_EXECUTABLES is not 1")
        if environ.get(f"{_PREFIX}REVOKE") == "1":
            return answered(_failed("usage", "run 'brokerctl revoke' for that"))
        kind = environ.get(f"{_PREFIX}TOKEN_TYPE", "")
        if kind not in _TYPES:
            raise UsageError("the subject_token_type is neither a jwt nor an id_token")
        audience = environ.get(f"{_PREFIX}AUDIENCE", "")
        path = environ.get(f"{_PREFIX}OUTPUT_FILE", "")
        if _SEPARATOR in audience:
            raise MalformedError("the audience is more than a line")
        # The variable about interactive use is not read: a helper never asks a person.
        return CredentialRequest(
            action=GET, profile=name, form=_SEPARATOR.join((kind, audience, path))
        )

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the token, or the error, which must not go to stderr."""
        match outcome:
            case Credential():
                return _render(outcome)
            case Malformed():
                usage = "the command is not 'brokerctl helper gcp --profile NAME'"
                return _failed("usage", usage)
            case NotOurs():  # the libraries ask no other program
                return _failed("usage", "no such profile")
            case Refused():
                return _failed(outcome.error.name, _reason(outcome.error))
            case OwnCredential() | Acknowledged():
                return HelperReply()


def _render(found: Credential) -> HelperReply:
    """Render a token that is a JWT, as Google demands, and its end for the libraries."""
    token, name = found.token, found.profile.name
    value = token.value.reveal()
    if not _is_jwt(value):
        raise UsageError(
            f"the token of '{name}' is no JWT, and Google takes nothing else",
            hint="ask the issuer for signed tokens, often by 'resource' or 'extra'",
        )
    kind, _, path = _asked(found.request)
    said: dict[str, object] = {"version": 1, "success": True, "token_type": kind}
    said["id_token"] = value
    if token.expires_at is not None:
        said["expiration_time"] = int(token.expires_at)
    elif path:
        raise UsageError(f"the token of '{name}' names no end, so no file can keep it")
    return HelperReply(stdout=jsonlite.dumps(said).encode() + b"\n", file=path or None)


def _reason(error: BrokerError) -> str:
    hint = error.hint or error.usual_hint
    return f"brokerctl: {error.message}" + (f"; {hint}" if hint else "")


def _failed(code: str, message: str) -> HelperReply:
    said = {"version": 1, "success": False, "code": code, "message": safe(message, _TEXT_CHARS)}
    return HelperReply(stdout=jsonlite.dumps(said).encode() + b"\n")


def _asked(wanted: CredentialRequest) -> tuple[str, str, str]:
    kind, audience, path = (wanted.form or "").split(_SEPARATOR, 2)
    return kind, audience, path


def _is_jwt(text: str) -> bool:
    """Return whether a token is three parts of base64url, the first a header in JSON."""
    parts = text.split(".")
    if len(parts) != _PARTS or not all(part and _CHARS.issuperset(part) for part in parts):
        return False
    head = parts[0].replace("-", "+").replace("_", "/")
    try:
        header = jsonlite.loads(a2b_base64(head + "=" * (-len(head) % 4)))
    except (Base64Error, ValueError):
        return False
    return isinstance(header, dict) and isinstance(header.get("alg"), str)
