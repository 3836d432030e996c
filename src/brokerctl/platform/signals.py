"""Signals as numbers, without the `signal` module: its enums would cost a third of a start.

Signals are *waited for*, not caught: blocked before the child starts and taken one by one with
their sender, so that none is lost and none interrupts a write.
"""

from __future__ import annotations

from brokerctl.platform.system import os
from brokerctl.platform.system import signals as _signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHILD, CONTINUE, STOP = int(_signals.SIGCHLD), int(_signals.SIGCONT), int(_signals.SIGSTOP)
HANGUP, INTERRUPT = int(_signals.SIGHUP), int(_signals.SIGINT)
QUIT, TERMINATE = int(_signals.SIGQUIT), int(_signals.SIGTERM)
WINDOW = int(_signals.SIGWINCH)
SUSPEND = int(_signals.SIGTSTP)
_KILL = int(_signals.SIGKILL)
TERMINAL_ACCESS = frozenset((int(_signals.SIGTTIN), int(_signals.SIGTTOU)))
# What the kernel sends to a whole foreground group: the child has had it when we have.
TERMINAL = frozenset(
    int(number)
    for number in (
        _signals.SIGINT,
        _signals.SIGQUIT,
        _signals.SIGTSTP,
        _signals.SIGTTIN,
        _signals.SIGTTOU,
        _signals.SIGWINCH,
        _signals.SIGHUP,
    )
)
# Python ignores these at its start, for its own reasons; a child must not inherit that.
IGNORED_BY_PYTHON = tuple(
    int(getattr(_signals, name)) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(_signals, name)
)
_OWN_FAULT = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS")
_NOT_WAITED = frozenset(
    int(getattr(_signals, name))
    for name in (*_OWN_FAULT, "SIGKILL", "SIGSTOP", "SIGPIPE", "SIGXFSZ")
    if hasattr(_signals, name)
)


class InterruptedBySignal(BaseException):
    """A signal that ends us came while tokens were being obtained; not an `Exception`, as ^C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Arrived:
    """One signal that was waited for: its number, and who sent it."""

    __slots__ = ("is_kernels", "number", "sender")

    def __init__(self, number: int, sender: int, *, is_kernels: bool) -> None:
        self.number = number
        self.sender = sender
        self.is_kernels = is_kernels


def waited() -> frozenset[int]:
    """Return every signal that is to be waited for: all but ignored ones and our own faults.

    A signal that was ignored when we started (`nohup`, a script's background job) stays so.
    """
    ignored = {
        number
        for number in map(int, _signals.valid_signals())
        if number not in _NOT_WAITED and _signals.getsignal(number) == _signals.SIG_IGN
    }
    return frozenset(map(int, _signals.valid_signals())) - _NOT_WAITED - ignored | {CHILD}


def block(numbers: Iterable[int]) -> frozenset[int]:
    """Block signals; return the mask that was in force before."""
    return frozenset(map(int, _signals.pthread_sigmask(_signals.SIG_BLOCK, numbers)))


def restore(mask: Iterable[int]) -> None:
    """Put a mask back that `block` returned."""
    _signals.pthread_sigmask(_signals.SIG_SETMASK, mask)


def wait_children() -> None:
    """Make children waitable: a parent that ignores SIGCHLD has left us with none to wait for."""
    if _signals.getsignal(CHILD) == _signals.SIG_IGN:
        _signals.signal(CHILD, _signals.SIG_DFL)


def take(numbers: Iterable[int]) -> Arrived:
    """Wait for the next of these (blocked) signals."""
    info = _signals.sigwaitinfo(numbers)
    return Arrived(int(info.si_signo), int(info.si_pid), is_kernels=info.si_code > 0)


def tell_group(number: int) -> None:
    """Send a (blocked) signal to our whole process group, as a terminal's key does."""
    os.kill(0, number)


def stop_self(number: int) -> None:
    """Stop this process as that signal does by default; returns when it is continued.

    It is sent while it is blocked, so that it falls together with the terminal's own that may
    still be pending: two would stop us again after `fg`.
    """
    if number != STOP:
        _signals.signal(number, _signals.SIG_DFL)
    os.kill(os.getpid(), number)
    before = _signals.pthread_sigmask(_signals.SIG_UNBLOCK, {number})
    _signals.pthread_sigmask(_signals.SIG_SETMASK, before)


def die_of(number: int) -> None:
    """End this process as that signal does; returns only where the signal can't."""
    if number != _KILL:  # which can't be set, and is never other than by default
        _signals.signal(number, _signals.SIG_DFL)
    os.kill(os.getpid(), number)
    _signals.pthread_sigmask(_signals.SIG_UNBLOCK, {number})


def raise_on(numbers: Iterable[int]) -> Callable[[], None]:
    """Turn signals into `InterruptedBySignal`; return what puts their handlers back."""
    old = {number: _signals.getsignal(number) for number in numbers}

    def interrupt(number: int, _frame: object) -> None:
        raise InterruptedBySignal(number)

    for number, handler in old.items():
        if handler != _signals.SIG_IGN:
            _signals.signal(number, interrupt)

    def back() -> None:
        for number, handler in old.items():
            _signals.signal(number, _signals.SIG_DFL if handler is None else handler)

    return back


def raise_on_default(numbers: Iterable[int]) -> Callable[[], None]:
    """Do as `raise_on` for the signals that would end us: none has a handler, none is ignored."""
    return raise_on(one for one in numbers if _signals.getsignal(one) == _signals.SIG_DFL)
