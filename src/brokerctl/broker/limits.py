"""Counts hand-outs where a rule or a person says how many: `uses` in all, `rate` in a span of time.

What is counted is each request that was allowed, before anything is handed out. One that fails
later gives its use back, but not its turn: a rate is of requests.
"""

from __future__ import annotations

from brokerctl.config.duration import render_duration
from brokerctl.errors import UsedUpError
from brokerctl.store.values import LimitCount, Moment
from brokerctl.text import count_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.config.rules import Limit

_MOMENTS = 64  # are kept of a rate's span, however many hand-outs are counted in them


def start_count(limit: Limit) -> LimitCount:
    """Return the count of a rule's limit, of which nothing is used."""
    most, per_s = (None, None) if limit.rate is None else limit.rate
    return LimitCount(rule=limit.rule, layer=limit.layer, uses=limit.uses, most=most, per_s=per_s)


def is_used_up(count: LimitCount) -> bool:
    """Return whether nothing is left of `uses`."""
    return count.uses is not None and count.used >= count.uses


def take(count: LimitCount, now: float) -> LimitCount:
    """Return the count with one hand-out more; UsedUpError where there is none left for now."""
    whose = f"rule '{count.rule}' of the {count.layer} policy" if count.layer else "the lease"
    if is_used_up(count):
        words = f"{whose} allows {count_of(count.uses or 0, 'use')}, and there is none left"
        raise UsedUpError(words, rule=count.rule)
    recent = () if count.most is None else _recent(count, now)
    if count.most is not None and sum(one.count for one in recent) >= count.most:
        span = render_duration(count.per_s or 0)
        raise UsedUpError(f"{whose} allows {count.most} in {span}", rule=count.rule)
    recent = () if count.most is None else _with_one(recent, count, now)
    return count.replace(used=count.used + 1, recent=recent)


def untake(count: LimitCount) -> LimitCount:
    """Return the count without a use that was taken, of a hand-out that did not happen."""
    return count.replace(used=count.used - 1) if count.used else count


def _recent(count: LimitCount, now: float) -> tuple[Moment, ...]:
    """Return what still counts; what a clock that went back shows as later counts too."""
    return tuple(one for one in count.recent if now - one.at < (count.per_s or 0))


def _with_one(recent: tuple[Moment, ...], count: LimitCount, now: float) -> tuple[Moment, ...]:
    """Add one now. Where there are many, those close together count as of the last of them.

    So what is kept stays short, and never more than the rate is allowed in any span.
    """
    width = (count.per_s or 0) / _MOMENTS
    is_many = len(recent) >= _MOMENTS or (recent and recent[-1].count > 1)
    if recent and is_many and 0 <= now - recent[-1].at < width:
        last = recent[-1]
        return (*recent[:-1], last.replace(at=now, count=last.count + 1))
    return (*recent, Moment(at=now, count=1))
