"""The outcomes of a tool's request without a token: the rest of the closed set `Outcome`.

`Credential` stands in the room's `__init__`, since a warm hand-out needs none of these. Each tool's
`answer` handles all of them; mypy reports one that it forgets.
"""

from __future__ import annotations

from brokerctl.errors import DeniedError, LoginNeededError
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.errors import BrokerError
    from brokerctl.store.values import ToolCredential


class OwnCredential(Value):
    """A credential of the tool's own, which `[helpers] keep` had us keep."""

    credential: ToolCredential


class NotOurs(Value):
    """No profile has the credential that was asked for: the tool may ask another helper."""


class Acknowledged(Value):
    """A request for something other than a credential is answered; nothing is handed out."""


class Users(Acknowledged):
    """The user of each host: for `name` of one host, for `list` of each with a live grant."""

    users: Mapping[str, str]


class Stored(Acknowledged):
    """The answer to `store`: whether the secret is kept, or is ours and need not be kept."""

    is_kept: bool
    is_ours: bool  # its place belongs to a profile


class Forgotten(Acknowledged):
    """The answer to `erase`: the token is used no more; not `is_ours`: there was none."""

    is_ours: bool


class Malformed(Value):
    """The input was not a request of the tool."""


class Refused(Value):
    """The request could not be answered; stderr says why, unless the tool shows errors itself."""

    error: BrokerError


class LoginNeeded(Refused):
    """A person has to log in first."""


class Denied(Refused):
    """The policy in force says no."""


class Failed(Refused):
    """Anything else went wrong: at the issuer, in the store, or in the configuration."""


if TYPE_CHECKING:
    OutcomeWithoutToken = (
        OwnCredential
        | NotOurs
        | Users
        | Stored
        | Forgotten
        | Malformed
        | LoginNeeded
        | Denied
        | Failed
    )


def refused_by(error: BrokerError) -> LoginNeeded | Denied | Failed:
    """Return the outcome for an error."""
    if isinstance(error, LoginNeededError):
        return LoginNeeded(error=error)
    if isinstance(error, DeniedError):
        return Denied(error=error)
    return Failed(error=error)
