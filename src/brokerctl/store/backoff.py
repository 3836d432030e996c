"""How long to leave an issuer alone after a failure: 5, 10, 20, 30 s with jitter. Pure."""

from __future__ import annotations

from brokerctl.model import Failure
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.errors import BrokerError

STEPS_S = (5.0, 10.0, 20.0, 30.0)
JITTER = 0.2  # of the step, added: never less than the step
_MICROS = 1_000_000


def _share(count: int) -> float:
    return int.from_bytes(os.urandom(count), "big") / float(1 << (8 * count))


def next_failure(
    previous: Failure | None,
    now: float,
    error: BrokerError,
    random: Callable[[int], float] = _share,
) -> Failure:
    """Return what to remember of a failed attempt; `random(4)` gives a share from 0 up to 1.

    The serial counts microseconds, so that it goes forward even across a success that forgot
    the failures before it.
    """
    attempt = previous.attempt + 1 if previous else 1
    step = STEPS_S[min(attempt, len(STEPS_S)) - 1]
    return Failure(
        attempt=attempt,
        serial=max(int(now * _MICROS), previous.serial + 1 if previous else 1),
        at=now,
        retry_at=now + step * (1 + JITTER * random(4)),
        exit_code=error.exit_code,
        name=error.name,
        message=error.message,
        hint=error.hint,
    )
