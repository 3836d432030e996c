"""pnpm's token helper: a program without arguments that is not told which registry asks.

So a profile has to be named, by the script that `helper install pnpm` makes; to which registry its
token goes is what the user's own `.npmrc` says.
"""

from __future__ import annotations

from brokerctl.helpers import GET, CredentialRequest, Helper, HelperReply
from brokerctl.helpers.profile_option import read_profile
from brokerctl.helpers.unchecked_tls_files import find_either

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import AccessToken, Profile


class Pnpm(Helper):
    """`brokerctl helper pnpm --profile P`; any exit code but 0 stops pnpm."""

    is_last = True

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - pnpm sends nothing
        environ: Mapping[str, str],  # noqa: ARG002 - nor does it say anything here
    ) -> CredentialRequest | HelperReply:
        """Read the profile's name."""
        return CredentialRequest(action=GET, profile=read_profile(words))

    def unchecked(self, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
        """Name the variable or the file of the tables that says so."""
        return find_either("pnpm", wanted, environ)

    def credential(
        self,
        wanted: CredentialRequest,  # noqa: ARG002 - the answer is the same for all
        answer: AccessToken,
        profile: Profile,  # noqa: ARG002 - as above
    ) -> HelperReply:
        """Render the whole value of the header: every version of pnpm sends that as it is."""
        return HelperReply(stdout=f"{answer.token_type} {answer.value.reveal()}\n".encode())

    def malformed(self) -> HelperReply:
        """Stop pnpm."""
        return HelperReply(exit_code=2)
