"""How long a token still serves: pure arithmetic on its times (contract, section 1).

A lower room than the broker's on purpose: `get`, `exec` and `status` must not differ in it.
"""

from __future__ import annotations

import time

from brokerctl.model import LIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerctl.model import AccessToken, Token

MARGIN_S = 60.0
MARGIN_SHARE = 0.1
LEAST_MARGIN_S = 1.0
# What a request may need left of a token: seconds, or a share of its life, whichever is less.
CHILD_MARGIN = (300.0, 0.5)  # a child by environment can't ask again
SDK_MARGIN = (900.0, 0.5)  # AWS's SDKs ask at every use of what has less
LOCK_WAIT_S = 22.0  # for a grant's lock: two seconds more than its holder may take
AT_WORK_TIMES = 5  # as long at most for a holder that is at work and gets too little of a processor
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WEEK_S = 7 * 86400.0  # how long before its end a grant is warned of
LAST_TIME = 253402300799  # 9999-12-31T23:59:59Z
CLOCK_BACK_S = 300.0  # a clock further than this behind `issued_at` makes a token stale


def timestamp(at: float) -> str:
    """Return RFC 3339 in UTC, whole seconds; its years have four digits, so later is the last."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(at, LAST_TIME)))


def expiry(token: Token, max_ttl_s: float | None) -> float | None:
    """Return when the token ends for this request, or None if it never does."""
    if max_ttl_s is None:
        return token.expires_at
    own = token.issued_at + max_ttl_s
    return own if token.expires_at is None else min(own, token.expires_at)


def margin(token: Token, max_ttl_s: float | None, min_ttl_s: float | None) -> float:
    """Return how many seconds must be left: as asked, else min(60 s, 10 %) and at least 1."""
    if min_ttl_s is not None:
        return min_ttl_s
    end = expiry(token, max_ttl_s)
    if end is None:
        return LEAST_MARGIN_S
    return max(LEAST_MARGIN_S, min(MARGIN_S, MARGIN_SHARE * (end - token.issued_at)))


def margin_of(token: Token, max_ttl_s: float | None, asked: tuple[float, float]) -> float | None:
    """Return the seconds that a request needs left of this token; None where it never ends."""
    seconds, share = asked
    end = expiry(token, max_ttl_s)
    return None if end is None else min(seconds, share * (end - token.issued_at))


def is_fresh(token: Token, now: float, max_ttl_s: float | None, min_ttl_s: float | None) -> bool:
    """Return whether the token may be served: live, clock sane, more than the margin left."""
    if token.status != LIVE or now < token.issued_at - CLOCK_BACK_S:
        return False
    end = expiry(token, max_ttl_s)
    return end is None or end - now > margin(token, max_ttl_s, min_ttl_s)


def renewal(
    token: Token, now: float, max_ttl_s: float | None, min_ttl_s: float | None
) -> float | None:
    """Return from when on it would not be served; its end if that is past, None if it has none."""
    end = expiry(token, max_ttl_s)
    if end is None:
        return None
    at = end - margin(token, max_ttl_s, min_ttl_s)
    return at if at > now else end


def last_end(tokens: Iterable[AccessToken]) -> float | None:
    """Return when the last of them has expired; None where one never does."""
    ends = [token.expires_at for token in tokens]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None


def reuse_until(answer: AccessToken) -> int | None:
    """Return until when a tool may keep a token, in whole seconds; None: for as long as it runs.

    Not a moment before the broker would give another, as the tool would ask in vain.
    """
    if answer.expires_at is None:
        return None
    at = answer.expires_at if answer.renew_at is None else answer.renew_at
    return min(-int(-at // 1), int(answer.expires_at))
