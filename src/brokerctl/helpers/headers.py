"""HTTP headers as one JSON object: what MCP clients and sandboxes take from a command on the host.

There is no request: the profile, and what narrows its token, are named in the client's own
configuration. Some clients want the object itself, others as the member `headers` of another.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.helpers import (
    GET,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
)
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome

_PROFILE, _SUBJECT, _SCOPE = "--profile", "--subject", "--scope"
_NESTED = "--nested"
_SHORT = {"-p": _PROFILE}


class Headers:
    """`brokerctl helper headers --profile P [--nested] [--subject S] [--scope S]…`.

    Any exit code but 0 is an error, shown from stderr.
    """

    traits = HelperTraits(is_last=True)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - it is whatever the client's own is
        environ: Mapping[str, str],  # noqa: ARG002 - nothing is said here
    ) -> CredentialRequest:
        """Read the profile's name, and what narrows its token."""
        given = _read(words)
        if _PROFILE not in given:
            raise MalformedError("it has no --profile NAME")
        scopes = given.get(_SCOPE)
        return CredentialRequest(
            action=GET,
            profile=given[_PROFILE][0],
            subject=given.get(_SUBJECT, [None])[0],
            scopes=None if scopes is None else tuple(sorted({*" ".join(scopes).split()})),
            form=_NESTED if _NESTED in given else None,
        )

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the headers, or fail."""
        match outcome:
            case Credential():
                headers: dict[str, object] = {
                    "Authorization": f"Bearer {outcome.token.value.reveal()}"
                }
                shown = {"headers": headers} if outcome.request.form == _NESTED else headers
                return HelperReply(stdout=jsonlite.dumps(shown).encode("ascii") + b"\n")
            case Malformed():
                return HelperReply(exit_code=2)
            case Refused():
                return HelperReply(exit_code=outcome.error.exit_code)
            case NotOurs() | OwnCredential() | Acknowledged():
                return HelperReply()


def _read(words: list[str]) -> dict[str, list[str]]:
    """Return the values by option; MalformedError for any other words."""
    given: dict[str, list[str]] = {}
    position = 0
    while position < len(words):
        name, equals, value = words[position].partition("=")
        name = _SHORT.get(name, name) if not equals else name
        position += 1
        if name == _NESTED and not equals:
            given[name] = []
            continue
        if name in {_PROFILE, _SUBJECT, _SCOPE} and not equals:
            value = words[position] if position < len(words) else ""
            position += 1
        elif name not in {_PROFILE, _SUBJECT, _SCOPE}:
            raise MalformedError("its options are not --profile, --nested, --subject and --scope")
        # Security: an empty subject, as of a variable that is not set, must not mean the profile's.
        if not value or (name != _SCOPE and name in given):
            raise MalformedError(f"{name} is empty, or there twice")
        given.setdefault(name, []).append(value)
    return given
