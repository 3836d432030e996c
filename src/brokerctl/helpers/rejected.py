"""What happens to a token that a server did not take: it is handed out no more."""

from __future__ import annotations

import time

from brokerctl import policy
from brokerctl.broker import Order, record_fields
from brokerctl.store.slots import SUPERSEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import TokenRequest
    from brokerctl.secret import Secret
    from brokerctl.wire import House

_LOCK_S = 22.0


def reject(house: House, request: TokenRequest, secret: Secret | None) -> bool:
    """Serve this token no more, if it is the one that would be; the grant stays as it is.

    A process that comes late with an old token must not drop the new one. The issuer may still
    honour what a server refused, so `revoke` reaches it as any superseded token.
    """
    if secret is None:
        return False
    profile = house.plan.profiles[request.profile]
    decision = policy.decide(profile, request, house.plan.narrowed_scopes.get(profile.name))
    order = Order(profile, request, decision)
    fingerprint = house.ring.fingerprint(secret.reveal())
    held = house.store.find_token(order.token_key, time.time(), 0)
    if held is None or held.fingerprint != fingerprint:
        return False
    with house.store.lock_grant(order.grant_key, time.monotonic() + _LOCK_S) as locked:
        locked.settle(fingerprint, SUPERSEDED)
    fields = record_fields(order, held) | {"outcome": SUPERSEDED, "reason": "a server refused it"}
    house.log.append("token.rejected", fields)
    return True
