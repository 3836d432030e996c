"""Vault's and OpenBao's token helper protocol.

The helper is not told which server is asked. It takes the address from the environment, as the
command line does, unless that has `-address`.
"""

from __future__ import annotations

from brokerctl.helpers import (
    ERASE,
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
from brokerctl.helpers.unchecked_tls import find_variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome

# The last two have precedence: they name an agent, which is then sent the token.
_ADDRESSES = ("VAULT_ADDR", "BAO_ADDR", "VAULT_AGENT_ADDR", "BAO_AGENT_ADDR")
_STORE = "'login' is not needed: brokerctl keeps no token that another program made"


def find_unchecked(wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the variable by which Vault checks no certificate."""
    return find_variable("vault", wanted, environ)


class Vault:
    """`brokerctl-vault get|store|erase`; nothing but a token is written to stdout."""

    traits = HelperTraits(variables=_ADDRESSES, unchecked=find_unchecked)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - what is to be stored is not even read
        environ: Mapping[str, str],
    ) -> CredentialRequest:
        """Read what is asked; `store` is refused, so that `vault login` shows its token."""
        if words == ["store"]:
            return answered(HelperReply(exit_code=1, note=_STORE))
        if words not in ([GET], [ERASE]):
            raise MalformedError("it is not get, store or erase")
        addresses = {environ[name] for name in _ADDRESSES if environ.get(name)}
        if len(addresses) > 1:  # Vault reads one of them, OpenBao both: it may be either
            raise MalformedError("its variables name two servers")
        if not addresses:
            return answered(HelperReply())
        action = GET if words == [GET] else FORGET
        return CredentialRequest(action=action, url=addresses.pop())

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the token without a newline, which would be taken as part of it."""
        match outcome:
            case Credential():
                return HelperReply(stdout=outcome.token.value.reveal().encode())
            case Malformed():
                return HelperReply(exit_code=2)
            case Refused():
                return HelperReply(exit_code=outcome.error.exit_code)
            case NotOurs() | OwnCredential() | Acknowledged():
                return HelperReply()
