"""Counting: never more than the rule says, in any span of time, however often it is asked."""

from __future__ import annotations

import random

import pytest

from brokerctl.broker.limits import is_used_up, start_count, take
from brokerctl.config.rules import Limit
from brokerctl.errors import DeniedError


def counted(uses: int | None = None, rate: tuple[int, int] | None = None) -> Limit:
    """Return a limit of a rule."""
    return Limit(layer="user", rule="few", is_asking=True, uses=uses, rate=rate)


def test_uses_are_counted_in_all() -> None:
    """Three uses are three, and the fourth says so by the rule's name."""
    count = start_count(counted(uses=3))
    for now in (1.0, 2.0, 1e9):
        assert not is_used_up(count)
        count = take(count, now)
    assert is_used_up(count)
    with pytest.raises(DeniedError, match="rule 'few' of the user policy allows 3 uses"):
        take(count, 2e9)


@pytest.mark.parametrize("most", [1, 3, 64, 65, 500])
def test_a_rate_holds_in_every_span(most: int) -> None:
    """In no span of a minute are there more hand-outs than the rate, and what is kept is short."""
    random.seed(most)
    count, now, times = start_count(counted(rate=(most, 60))), 1000.0, []
    for _ in range(4000):
        now += random.expovariate(most / 20)
        try:
            count = take(count, now)
        except DeniedError:
            continue
        times.append(now)
        assert len(count.recent) <= 200
    for position, first in enumerate(times):
        within = sum(one - first < 60 for one in times[position : position + most + 1])
        assert within <= most
    spans = (times[-1] - times[0]) / 60
    assert len(times) > most * spans * 0.7, "the rate is not nearly reached"


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """What was handed out later than now counts."""
    count = take(start_count(counted(rate=(1, 60))), 1000.0)
    with pytest.raises(DeniedError, match="1 in 1m"):
        take(count, 10.0)
