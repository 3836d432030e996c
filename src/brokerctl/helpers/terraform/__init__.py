"""Terraform's and OpenTofu's credentials helper protocol.

Security: the host is whatever a configuration's `source` names, so it is compared letter by letter
and nothing that could be more than a host and a port is taken.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.helpers import FORGET, GET, CredentialRequest, Helper, HelperReply, MalformedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.errors import BrokerError
    from brokerctl.model import AccessToken, Profile

_NO_HOST = frozenset("/?#@\\%")
_STORE = "'terraform login' is not needed: brokerctl keeps no token that another program made"
_WORDS = 2


class Terraform(Helper):
    """`terraform-credentials-brokerctl get|store|forget HOST[:PORT]`; exit code 0 or 1."""

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - what is to be stored is not even read
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is in the words
    ) -> CredentialRequest | HelperReply:
        """Read what terraform asks; to store is refused, since nothing foreign is kept."""
        if len(words) != _WORDS:
            raise MalformedError("it is not OPERATION HOST")
        operation, host = words
        if operation == "store":
            return HelperReply(exit_code=1, note=_STORE)
        if operation not in {GET, FORGET}:
            raise MalformedError("an unknown operation")
        if not host or not _NO_HOST.isdisjoint(host):
            return self.not_ours() if operation == GET else HelperReply()
        return CredentialRequest(action=operation, url=f"https://{host}")

    def credential(
        self,
        wanted: CredentialRequest,  # noqa: ARG002 - the answer is the same for all
        answer: AccessToken,
        profile: Profile,  # noqa: ARG002 - as above
    ) -> HelperReply:
        """Render the token, which terraform sends as a bearer."""
        return HelperReply(stdout=jsonlite.dumps({"token": answer.value.reveal()}).encode() + b"\n")

    def not_ours(self) -> HelperReply:
        """Say that there is no token for this host; no text at all would be an error."""
        return HelperReply(stdout=b"{}\n")

    def malformed(self) -> HelperReply:
        """Fail."""
        return HelperReply(exit_code=1)

    def refusal(self, error: BrokerError) -> HelperReply:  # noqa: ARG002 - stderr has it
        """Fail: terraform takes the reason from stderr."""
        return HelperReply(exit_code=1)
