"""What a client is told where the desk, or what is behind it, gives no token."""

from __future__ import annotations

from brokerctl.errors import (
    DeniedError,
    IssuerError,
    LoginNeededError,
    SessionEndedError,
    UsageError,
    UsedUpError,
)
from brokerctl.session.serve.desk import UnknownProfileError
from brokerctl.session.serve.http import error_reply
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.errors import BrokerError
    from brokerctl.session.serve.http import HttpReply

# By class, the first that fits. 401 has no WWW-Authenticate: no credential of the client's helps.
_STATUS = (
    (LoginNeededError, 401),
    (SessionEndedError, 410),
    (UsedUpError, 429),
    (DeniedError, 403),
    (UnknownProfileError, 404),
    (UsageError, 400),
    (IssuerError, 502),
)
_OTHERS = 503  # store, log, a lock: later it may work


def refusal(error: BrokerError, *, has_hint: bool = True) -> HttpReply:
    """Return the answer for an error of the desk; `Brokerctl-Error` has its name."""
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    more: dict[str, object] = {"code": error.exit_code}
    if has_hint:
        more["hint"] = error.hint or error.usual_hint
    if error.rule is not None:
        more["rule"] = error.rule
    return error_reply(next(found, _OTHERS), safe(error.message, 500), error.name, **more)
