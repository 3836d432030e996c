"""What happens to a token that a server did not take: it is handed out no more."""

from __future__ import annotations

import time

from brokerctl.broker import make_order, record_fields
from brokerctl.store.slots import SUPERSEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import TokenRequest
    from brokerctl.secret import Secret
    from brokerctl.wire import House

_LOCK_S = 22.0


def reject(
    house: House, request: TokenRequest, secret: Secret | None, *, is_any: bool = False
) -> bool:
    """Serve this token no more, if it is the one that would be; the grant stays as it is.

    `is_any`: whichever it is, where a tool has no way to say which.

    A process that comes late with an old token must not drop the new one. The issuer may still
    honour what a server refused, so `revoke` reaches it as any superseded token.
    """
    if secret is None and not is_any:
        return False
    order = make_order(house.plan, request)
    held = house.store.find_token(order.token_key, time.time(), 0)
    if held is None:
        return False
    fingerprint = held.fingerprint
    if secret is not None and house.ring.fingerprint(secret.reveal()) != fingerprint:
        return False
    with house.store.lock_grant(order.grant_key, time.monotonic() + _LOCK_S) as locked:
        locked.settle(fingerprint, SUPERSEDED)
    reason = "a server refused it" if secret is not None else "its tool forgets it"
    fields = record_fields(order, held) | {"outcome": SUPERSEDED, "reason": reason}
    house.log.append("token.rejected", fields)
    return True
