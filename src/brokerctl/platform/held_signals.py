"""Holds back the signals that would end us between an issuer's answer and our disk."""

from __future__ import annotations

import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Held back is all that can be: whoever sets an alarm or a limit of CPU time means no grant by it.
# What an instruction of our own causes can't wait; KILL and STOP the kernel leaves out by itself.
_OWN_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
_OWN_FAULTS |= {signal.SIGTRAP, signal.SIGSYS}
_WAITING = signal.valid_signals() - _OWN_FAULTS


@contextmanager
def signals_wait() -> Iterator[None]:
    """Hold back the signals that would end us between sending and storing."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
