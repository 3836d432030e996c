"""AWS's `credential_process`: a program that prints a role's temporary credentials.

Every AWS SDK runs it, without a request: the profile is named in the user's own configuration.
"""

from __future__ import annotations

from brokerctl.freshness import SDK_MARGIN, timestamp
from brokerctl.helpers import GET, Credential, CredentialRequest, HelperReply, HelperTraits
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused
from brokerctl.helpers.profile_option import read_profile
from brokerctl.oauth import aws_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome
    from brokerctl.model import AccessToken


class Aws:
    """`brokerctl helper aws --profile P`; any exit code but 0 is an error, shown from stderr."""

    traits = HelperTraits(takes_bearer=False, is_last=True)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - it is whatever the tool's own is
        environ: Mapping[str, str],  # noqa: ARG002 - nothing is said here
    ) -> CredentialRequest:
        """Read the profile's name, and ask for credentials that last as long as the SDKs want."""
        return CredentialRequest(action=GET, profile=read_profile(words), margin=SDK_MARGIN)

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the credentials, or fail."""
        match outcome:
            case Credential():
                return _render(outcome.token)
            case Malformed():
                return HelperReply(exit_code=2)
            case Refused():
                return HelperReply(exit_code=outcome.error.exit_code)
            case NotOurs() | OwnCredential() | Acknowledged():
                return HelperReply()


def _render(token: AccessToken) -> HelperReply:
    """Render the credentials; they end at the policy's limit if that is before AWS's."""
    assert token.expires_at is not None  # noqa: S101 - STS always says when they end
    value = aws_credentials.render(
        aws_credentials.words_of(token.value), timestamp(token.expires_at)
    )
    return HelperReply(stdout=value.encode() + b"\n")
