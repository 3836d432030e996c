"""Google's executable-sourced credentials: a program that prints a JWT, which Google exchanges.

Google's libraries say what they want in the environment, and read an answer in JSON from stdout
and stderr together: nothing else may be written, and a failure is an answer too, with exit code 0.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, DeniedError, UsageError
from brokerctl.helpers import GET, CredentialRequest, Helper, HelperReply, MalformedError
from brokerctl.helpers.profile_option import read_profile
from brokerctl.helpers.unchecked_tls import find_variable
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import AccessToken, Profile

_PREFIX = "GOOGLE_EXTERNAL_ACCOUNT_"
_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_PARTS = 3  # of a compact JWS (RFC 7515, section 7.1)
_TEXT_CHARS = 600
_SEPARATOR = "\n"  # in no variable's line


class Gcp(Helper):
    """`brokerctl helper gcp --profile P`; whatever happens, exit code 0 and one line of JSON."""

    is_silent = True
    tells_errors = True
    is_last = True

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - it is whatever the tool's own is
        environ: Mapping[str, str],
    ) -> CredentialRequest | HelperReply:
        """Read the profile's name, and from the environment for whom the token is to be."""
        name = read_profile(words)
        if environ.get(f"{_PREFIX}ALLOW_EXECUTABLES") != "1":
            raise DeniedError(f"{_PREFIX}ALLOW_EXECUTABLES is not 1")
        if environ.get(f"{_PREFIX}REVOKE") == "1":
            return _failed("usage", "run 'brokerctl revoke' for that")
        kind = environ.get(f"{_PREFIX}TOKEN_TYPE", "")
        if kind not in _TYPES:
            raise UsageError("the subject_token_type is neither a jwt nor an id_token")
        audience = environ.get(f"{_PREFIX}AUDIENCE", "")
        path = environ.get(f"{_PREFIX}OUTPUT_FILE", "")
        if _SEPARATOR in audience:
            raise MalformedError("the audience is more than a line")
        # Whether somebody is there does not matter: a helper never asks (_INTERACTIVE).
        return CredentialRequest(
            action=GET, profile=name, form=_SEPARATOR.join((kind, audience, path))
        )

    def check(self, wanted: CredentialRequest, profile: Profile) -> None:
        """Raise UsageError for a provider that is not the profile's own.

        Security: whoever wrote the credential file also chose where the token is sent.
        """
        _, audience, _ = _asked(wanted)
        if not profile.google:
            raise UsageError(
                f"'{profile.name}' names no pool of Google's",
                hint="add google = { pool = … } to the profile",
            )
        if audience != profile.google[0]:
            raise UsageError(f"the audience is not the pool of '{profile.name}'")

    def unchecked(self, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
        """Name the variable of the table that says so."""
        return find_variable("gcp", wanted, environ)

    def credential(
        self, wanted: CredentialRequest, answer: AccessToken, profile: Profile
    ) -> HelperReply:
        """Render a token that is a JWT; Google reads it, and the libraries when it ends."""
        value = answer.value.reveal()
        if not _is_jwt(value):
            raise UsageError(
                f"the token of '{profile.name}' is no JWT, and Google takes nothing else",
                hint="ask the issuer for signed tokens, often by 'resource' or 'extra'",
            )
        kind, _, path = _asked(wanted)
        said: dict[str, object] = {"version": 1, "success": True, "token_type": kind}
        said["id_token"] = value
        if answer.expires_at is not None:
            said["expiration_time"] = int(answer.expires_at)
        elif path:
            raise UsageError(f"the token of '{profile.name}' names no end, so no file can keep it")
        return HelperReply(stdout=jsonlite.dumps(said).encode() + b"\n", file=path or None)

    def malformed(self) -> HelperReply:
        """Fail."""
        return _failed("usage", "the command is not 'brokerctl helper gcp --profile NAME'")

    def not_ours(self) -> HelperReply:
        """Fail: nobody else can be asked."""
        return _failed("usage", "no such profile")

    def refusal(self, error: BrokerError) -> HelperReply:
        """Say why, since stderr must be empty."""
        hint = error.hint or error.usual_hint
        text = f"brokerctl: {error.message}" + (f"; {hint}" if hint else "")
        return _failed(error.name, text)


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
