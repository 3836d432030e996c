"""Terraform's and OpenTofu's credentials helper protocol.

Security: the host is whatever a configuration's `source` names. So it is compared letter by letter,
and anything but a host and a port is refused.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.helpers import (
    FORGET,
    GET,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    answered,
)
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome

_NO_HOST = frozenset("/?#@\\%")
_STORE = "'terraform login' is not needed: brokerctl keeps no token that another program made"
_WORDS = 2
_NONE = b"{}\n"  # no token for this host; empty output would be an error


class Terraform:
    """`terraform-credentials-brokerctl get|store|forget HOST[:PORT]`; exit code 0 or 1."""

    traits = HelperTraits()

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - what is to be stored is not even read
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is in the words
    ) -> CredentialRequest:
        """Read what terraform asks; `store` is refused, since we keep nothing for this tool."""
        if len(words) != _WORDS:
            raise MalformedError("it is not OPERATION HOST")
        operation, host = words
        if operation == "store":
            return answered(HelperReply(exit_code=1, note=_STORE))
        if operation not in {GET, FORGET}:
            raise MalformedError("an unknown operation")
        if not host or not _NO_HOST.isdisjoint(host):
            return answered(HelperReply(stdout=_NONE if operation == GET else b""))
        return CredentialRequest(action=operation, url=f"https://{host}")

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the token, which terraform sends as a bearer; it shows an error from stderr."""
        match outcome:
            case Credential():
                said = {"token": outcome.token.value.reveal()}
                return HelperReply(stdout=jsonlite.dumps(said).encode() + b"\n")
            case NotOurs():
                return HelperReply(stdout=_NONE)
            case Malformed() | Refused():
                return HelperReply(exit_code=1)
            case OwnCredential() | Acknowledged():
                return HelperReply()
