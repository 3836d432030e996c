"""Git's askpass program, which git runs if no credential helper has answered (gitcredentials(7)).

Security: the prompt is a sentence with a URL in it, and old versions of git do not escape what
they put there. So a prompt is accepted only in git's own two forms, for a URL with neither path nor
query: `https://ours.example%2f@evil.example` must never be taken for our host.
"""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.helpers import (
    GET,
    NAME,
    USERNAME,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    answered,
)
from brokerctl.helpers.git import find_unchecked as find_git_s
from brokerctl.helpers.outcomes import (
    Acknowledged,
    Malformed,
    NotOurs,
    OwnCredential,
    Refused,
    Users,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome

_NO_ANSWER = HelperReply(exit_code=1)  # empty output would be taken as a password
_FORMS = (("Username for '", NAME), ("Password for '", GET))
_END = "': "
_SCHEMES = ("https://", "http://")
_NO_AUTHORITY = frozenset("/?#\\")
_HEX = frozenset("0123456789abcdefABCDEF")


def find_unchecked(wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name git's variable or file by which it checks no certificate."""
    user = wanted.username or wanted.form  # a user in the URL selects settings too
    return find_git_s(wanted.replace(username=user), environ)


class Askpass:
    """`brokerctl-askpass PROMPT`; exit code 1 is no answer, and git asks on the terminal."""

    traits = HelperTraits(unchecked=find_unchecked)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - the terminal's, not ours
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is in the prompt
    ) -> CredentialRequest:
        """Read git's prompt; that of ssh or of another program is malformed."""
        if len(words) != 1:
            raise MalformedError("it is not one prompt")
        action, text = _split(words[0])
        scheme = next((one for one in _SCHEMES if text.startswith(one)), None)
        if scheme is None:
            return answered(_NO_ANSWER)
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

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the user, whom git names in its next prompt, or the password."""
        match outcome:
            case Credential():
                return _render(outcome)
            case Users():
                users = [*outcome.users.values()]
                return _line(users[0]) if len(users) == 1 else _NO_ANSWER
            case NotOurs() | Malformed() | Refused():
                return _NO_ANSWER
            case OwnCredential() | Acknowledged():
                return HelperReply()


def _render(found: Credential) -> HelperReply:
    """Render the token as the password."""
    profile, form = found.profile, found.request.form
    is_any = profile.username_match == "any"  # the URL's user stays, and is not compared
    if form and profile.username not in {None, form} and not is_any:
        raise UsageError(f"'{profile.name}' is not the user that the URL names")
    return _line(found.token.value.reveal())


def _split(prompt: str) -> tuple[str, str]:
    """Return what the prompt asks for, and the text between its quotes."""
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
