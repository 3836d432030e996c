"""How long an issuer is left alone."""

from __future__ import annotations

from brokerctl.broker.obtain import next_failure
from brokerctl.errors import IssuerError
from tests.store_room import NOW

ERROR = IssuerError("the issuer is down", hint="wait")


def test_the_pauses_are_5_10_20_30_and_stay_at_30() -> None:
    """Without jitter, from one failure to the next."""
    previous, pauses = None, []
    for _ in range(6):
        previous = next_failure(previous, NOW, ERROR, lambda _: 0.0)
        pauses.append(previous.retry_at - NOW)
    assert pauses == [5, 10, 20, 30, 30, 30]
    assert previous is not None
    assert (previous.attempt, previous.exit_code, previous.name) == (6, 5, "issuer")
    assert (previous.message, previous.hint) == ("the issuer is down", "wait")


def test_jitter_makes_a_pause_longer_and_never_shorter() -> None:
    """At most by a fifth, so that many machines do not come back at once."""
    pauses = [next_failure(None, NOW, ERROR).retry_at - NOW for _ in range(100)]
    assert all(5 <= pause < 6 for pause in pauses)
    assert len(set(pauses)) > 90


def test_the_serial_goes_forward_across_a_success_and_a_clock_that_went_back() -> None:
    """A waiter adopts what it had not seen, so a serial is never used twice."""
    first = next_failure(None, NOW, ERROR)
    after_success = next_failure(None, NOW + 1, ERROR)
    clock_back = next_failure(after_success, NOW - 1000, ERROR)
    assert first.serial < after_success.serial < clock_back.serial
