"""The clock of deadlines under a lock that others wait for: it counts work, not only time.

On a machine that is short of processors, a process that may take 20 seconds can have run for less
than one of them when they are over. So this clock stands still while our process waits for a
processor, which Linux counts (`sched-stats` in the kernel's documentation). Where nothing counts
it, the clock is the monotonic one. Both sides of a comparison must come from this clock, in one
thread: each has its own delays.
"""

from __future__ import annotations

import _thread

from brokerctl.platform.process import find_schedule
from brokerctl.platform.system import SYSTEM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.platform.system import System


class ProcessorDelay:
    """How long the calling thread has waited for a processor."""

    __slots__ = ("_last_ns", "_system")

    def __init__(self, system: System) -> None:
        self._system = system
        # By thread: without a free descriptor the clock must not jump forward.
        self._last_ns: dict[int, int] = {}

    def total_s(self) -> float:
        """Return the seconds since the thread started; 0.0 where they are not counted."""
        found, thread = find_schedule("thread-self", self._system), _thread.get_ident()
        if found is not None:
            self._last_ns[thread] = found[1]
        return self._last_ns.get(thread, 0) / 1e9


_DELAY = ProcessorDelay(SYSTEM)


def work_time(system: System = SYSTEM) -> float:
    """Return the seconds of the monotonic clock without those in which this thread got none.

    A system with a clock of its own, as tests have, is taken at its word.
    """
    now = system.monotonic()
    return now - _DELAY.total_s() if system.monotonic is SYSTEM.monotonic else now
