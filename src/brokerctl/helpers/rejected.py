"""What a tool says of a token or a credential: a server refused it, forget it, keep it."""

from __future__ import annotations

import time

from brokerctl.broker import make_order, record_fields
from brokerctl.helpers import FORGET, STORE
from brokerctl.store.slots import SUPERSEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.helpers import Answer, Helper, Wanted
    from brokerctl.home import Home
    from brokerctl.model import TokenRequest
    from brokerctl.secret import Secret

_LOCK_S = 22.0


def reject(
    house: Home, request: TokenRequest, secret: Secret | None, *, is_any: bool = False
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


def answer_change(
    house: Home, helper: Helper, tool: str, wanted: Wanted, requests: list[TokenRequest]
) -> Answer:
    """Answer that a tool has no use for a token any more, or has one that is to be kept."""
    dropped = 0
    if tool in house.plan.keep:
        from brokerctl.helpers.keeping import drop, keep  # noqa: PLC0415 - nothing is, by default

        if wanted.action != STORE:
            dropped = drop(house, tool, wanted)
        elif not requests and keep(house, tool, wanted):  # a profile's host is the profile's
            return helper.stored()
    is_ours = bool(requests)
    if wanted.action == STORE:
        from brokerctl.helpers.holding import is_current  # noqa: PLC0415 - of a `store` alone

        is_known = any(is_current(house, request, wanted.offered) for request in requests)
        return helper.stored() if is_known else helper.not_kept(is_ours=is_ours)
    for request in requests:
        reject(house, request, wanted.rejected, is_any=wanted.action == FORGET)
    return helper.forgotten(is_ours=is_ours or dropped > 0)
