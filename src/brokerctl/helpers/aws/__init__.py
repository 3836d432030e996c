"""AWS's `credential_process`: a program that prints a role's temporary credentials.

Every AWS SDK runs it, without a request: the profile is named in the user's own configuration.
"""

from __future__ import annotations

from brokerctl.freshness import SDK_MARGIN, timestamp
from brokerctl.helpers import GET, CredentialRequest, Helper, HelperReply
from brokerctl.helpers.profile_option import read_profile
from brokerctl.oauth import aws_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import AccessToken, Profile, TokenRequest


class Aws(Helper):
    """`brokerctl helper aws --profile P`; any exit code but 0 is an error, told from stderr."""

    takes_bearer = False
    is_last = True

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - it is whatever the tool's own is
        environ: Mapping[str, str],  # noqa: ARG002 - nothing is said here
    ) -> CredentialRequest | HelperReply:
        """Read the profile's name."""
        return CredentialRequest(action=GET, profile=read_profile(words))

    def complete(
        self,
        request: TokenRequest,
        wanted: CredentialRequest,
        profile: Profile,
        environ: Mapping[str, str],
    ) -> TokenRequest:
        """Say how long AWS's SDKs want credentials to last that STS renews."""
        request = super().complete(request, wanted, profile, environ)
        return request.replace(margin=SDK_MARGIN) if profile.subject_token else request

    def credential(
        self,
        wanted: CredentialRequest,  # noqa: ARG002 - the answer is the same for all
        answer: AccessToken,
        profile: Profile,  # noqa: ARG002 - as above
    ) -> HelperReply:
        """Render the credentials; they end when policy says so, if that is before AWS does."""
        assert answer.expires_at is not None  # noqa: S101 - STS always says when they end
        value = aws_credentials.render(
            aws_credentials.words_of(answer.value), timestamp(answer.expires_at)
        )
        return HelperReply(stdout=value.encode() + b"\n")

    def malformed(self) -> HelperReply:
        """Fail."""
        return HelperReply(exit_code=2)
