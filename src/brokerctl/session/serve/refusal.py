"""What a client is told where the desk, or what is behind it, gives no token."""

from __future__ import annotations

from brokerctl.errors import DeniedError, IssuerError, LoginNeededError, UsageError
from brokerctl.session.serve.http import error_reply
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.errors import BrokerError
    from brokerctl.session.serve.http import HttpReply

# By class: 401 has no WWW-Authenticate, since no credential of the client's would help.
_STATUS = (
    (LoginNeededError, 401),
    (DeniedError, 403),
    (UsageError, 404),  # a profile that is none of the session's, any more
    (IssuerError, 502),
)
_OTHERS = 503  # store, log, a lock: later it may work
_ENDED, _SPENT = "ended", "spent"
_BY_NAME = {_ENDED: 410, _SPENT: 429}


def refusal(error: BrokerError) -> HttpReply:
    """Return the answer for an error of the desk; `Brokerctl-Error` has its name."""
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    status = _BY_NAME.get(error.name, next(found, _OTHERS))
    hint = error.hint or error.usual_hint
    more: dict[str, object] = {"code": error.exit_code, "hint": hint}
    if error.rule is not None:
        more["rule"] = error.rule
    return error_reply(status, safe(error.message, 500), error.name, **more)
