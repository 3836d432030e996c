"""What git asks a program for where no credential helper has answered (gitcredentials(7)).

Security: the prompt is a sentence with a URL in it, and old versions of git do not escape what
they put there. So it is taken only in git's own two forms, for a URL with neither path nor query:
`https://ours.example%2f@evil.example` must never read like our host.
"""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.helpers import (
    GET,
    NAME,
    USERNAME,
    CredentialRequest,
    Helper,
    HelperReply,
    MalformedError,
)
from brokerctl.helpers.git import find_unchecked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.errors import BrokerError
    from brokerctl.model import AccessToken, Profile

_FORMS = (("Username for '", NAME), ("Password for '", GET))
_END = "': "
_SCHEMES = ("https://", "http://")
_NO_AUTHORITY = frozenset("/?#\\")
_HEX = frozenset("0123456789abcdefABCDEF")


class Askpass(Helper):
    """`brokerctl-askpass PROMPT`; exit code 1 is no answer, and git asks on the terminal."""

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - the terminal's, not ours
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is in the prompt
    ) -> CredentialRequest | HelperReply:
        """Read git's prompt; ssh's and anybody else's are no request."""
        if len(words) != 1:
            raise MalformedError("it is not one prompt")
        action, text = _split(words[0])
        scheme = next((one for one in _SCHEMES if text.startswith(one)), None)
        if scheme is None:
            return self.not_ours()
        authority = text[len(scheme) :]
        if not _NO_AUTHORITY.isdisjoint(authority):
            raise MalformedError("the URL in the prompt is more than a host")
        user, separator, host = authority.rpartition("@")
        if action == NAME and separator:
            raise MalformedError("a user is asked for where there is one")
        username = _unescape(user) if separator else None
        is_any = username == USERNAME  # our own answer to the prompt before
        return CredentialRequest(
            action=action,
            url=f"{scheme}{host}",
            username=None if is_any else username,
            form=USERNAME if is_any else None,
        )

    def naming(self, wanted: CredentialRequest, profile: Profile) -> HelperReply:  # noqa: ARG002 - all is known
        """Say which user the profile is; for the password git puts it into its prompt."""
        return _line(profile.username or USERNAME)

    def unchecked(self, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
        """Name the variable or the file of git's that says so."""
        user = wanted.username or wanted.form  # of the URL, which may name the one that is ours
        return find_unchecked(wanted.replace(username=user), environ)

    def credential(
        self, wanted: CredentialRequest, answer: AccessToken, profile: Profile
    ) -> HelperReply:
        """Render the token as the password."""
        is_any = profile.username_match == "any"  # the user stays the URL's: none is looked at
        if wanted.form and profile.username not in {None, wanted.form} and not is_any:
            raise UsageError(f"'{profile.name}' is not the user that the URL names")
        return _line(answer.value.reveal())

    def not_ours(self) -> HelperReply:
        """Give no answer."""
        return HelperReply(exit_code=1)

    def refusal(self, error: BrokerError) -> HelperReply:  # noqa: ARG002 - stderr has it
        """Give no answer: an empty one would be taken as a password."""
        return HelperReply(exit_code=1)


def _split(prompt: str) -> tuple[str, str]:
    """Return what is asked for, and the text between the quotes."""
    for begin, action in _FORMS:
        if prompt.startswith(begin) and prompt.endswith(_END) and len(prompt) > len(begin + _END):
            return action, prompt[len(begin) : -len(_END)]
    raise MalformedError("it is not a prompt of git")


def _unescape(user: str) -> str:
    """Return a user as it was before git escaped it, which it does from 2.48 on."""
    first, *rest = user.split("%")
    data = first.encode("utf-8", "surrogateescape")
    for part in rest:
        if len(part) < 2 or not _HEX.issuperset(part[:2]):  # noqa: PLR2004 - two digits
            raise MalformedError("the user in the prompt is not escaped as git does it")
        data += bytes((int(part[:2], 16),)) + part[2:].encode("utf-8", "surrogateescape")
    try:
        name = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("the user in the prompt is not UTF-8") from error
    if not name or any(char < " " or char == "\x7f" for char in name):
        raise MalformedError("the user in the prompt holds control characters")
    return name


def _line(text: str) -> HelperReply:
    return HelperReply(stdout=text.encode() + b"\n")
