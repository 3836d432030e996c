"""pnpm's token helper: a program without arguments, which is not told the registry.

So the script that `helper install pnpm` makes has to name a profile. The user's own `.npmrc`
decides to which registry the token is sent.
"""

from __future__ import annotations

from brokerctl.helpers import GET, Credential, CredentialRequest, HelperReply, HelperTraits
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused
from brokerctl.helpers.profile_option import read_profile
from brokerctl.helpers.unchecked_tls_files import find_either

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome


def find_unchecked(wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the variable or the file by which pnpm checks no certificate."""
    return find_either("pnpm", wanted, environ)


class Pnpm:
    """`brokerctl helper pnpm --profile P`; any exit code but 0 stops pnpm."""

    traits = HelperTraits(is_last=True, unchecked=find_unchecked)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - pnpm sends nothing
        environ: Mapping[str, str],  # noqa: ARG002 - nor does it say anything here
    ) -> CredentialRequest:
        """Read the profile's name."""
        return CredentialRequest(action=GET, profile=read_profile(words))

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the whole value of the header, which every version of pnpm sends unchanged."""
        match outcome:
            case Credential():
                token = outcome.token
                return HelperReply(stdout=f"{token.token_type} {token.value.reveal()}\n".encode())
            case Malformed():
                return HelperReply(exit_code=2)
            case Refused():
                return HelperReply(exit_code=outcome.error.exit_code)
            case NotOurs() | OwnCredential() | Acknowledged():
                return HelperReply()
