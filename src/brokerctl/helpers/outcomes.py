"""What came of a tool's request, where it is no token: the rest of the closed set `Outcome`.

Apart from `Credential`, which stands in the room's `__init__`: a warm hand-out needs none of these.
A tool's `answer` walks through all of them, and mypy says which it forgot.
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
    """The credential that was asked for is no profile's: the tool may ask somebody else."""


class Acknowledged(Value):
    """What asked for no credential is answered, and nothing is handed out."""


class Users(Acknowledged):
    """The user of each place: of `name` there is one place, of `list` each with a live grant."""

    users: Mapping[str, str]


class Stored(Acknowledged):
    """A secret was to be kept; it is, or it is ours and need not be, unless `is_kept` is False."""

    is_kept: bool
    is_ours: bool  # its place is a profile's


class Forgotten(Acknowledged):
    """A token is used no more; not `is_ours`: there was none of this place."""

    is_ours: bool


class Malformed(Value):
    """What came was no request of the tool."""


class Refused(Value):
    """The request could not be answered; stderr says why, unless the tool tells errors itself."""

    error: BrokerError


class LoginNeeded(Refused):
    """Only a person can go on from here."""


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
    """Return the outcome that an error is."""
    if isinstance(error, LoginNeededError):
        return LoginNeeded(error=error)
    if isinstance(error, DeniedError):
        return Denied(error=error)
    return Failed(error=error)
