"""Waits for the child; signals, stops and exit codes are as if the shell had started it.

The child stays in our process group, so that the terminal's own signals (^C, ^Z, a new window
size) reach it from the kernel, and pipelines (`exec … | less`) keep the terminal. A signal that was
sent to us alone is passed on; one that the kernel sent to the whole group is not. A process that
signals the group (`kill -TERM -PGRP`) reaches the child twice: we can't tell that from a signal to
us alone, and if we passed nothing on, `docker stop` would not reach the child.

A child that stops (by ^Z, or by itself) stops us too, and a shell's `fg` continues both.
"""

from __future__ import annotations

from brokerctl.errors import BrokerError
from brokerctl.platform import signals
from brokerctl.platform.awaited_programs import AWAITED
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.session.terminal import Terminal

_SIGNAL_BASE = 128
_EVENTS = os.WNOHANG | os.WUNTRACED | os.WCONTINUED


class ChildEnd:
    """How the child ended: its wait status, and whether ^C interrupted us both."""

    __slots__ = ("is_interrupted", "status")

    def __init__(self, status: int, *, is_interrupted: bool) -> None:
        self.status = status
        self.is_interrupted = is_interrupted

    @property
    def code(self) -> int:
        """The exit code to return: the child's, or 128 + n for signal n."""
        if os.WIFSIGNALED(self.status):
            return _SIGNAL_BASE + os.WTERMSIG(self.status)
        return os.WEXITSTATUS(self.status)

    @property
    def fatal_signal(self) -> int | None:
        """The signal by which we must end too: SIGINT if ^C killed the child, else None.

        A shell script stops at ^C only if its child was *killed* by SIGINT. After an exit with any
        code, also 130, it goes on; `$?` is 130 in both cases.
        """
        if self.is_interrupted and os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            return number if number == signals.INTERRUPT else None
        return None


class Supervisor:
    """One child, from its start to its end; signals must be blocked before it is started.

    `terminal` is the inner one, between the child and our terminal, if output is masked.
    """

    def __init__(self, pid: int, waited: frozenset[int], terminal: Terminal | None = None) -> None:
        self.pid = pid
        self._waited = waited
        self._terminal = terminal
        self._is_stopped = False
        # With an inner terminal ^C is only a key, and no signal for us.
        self._is_interrupted = terminal is not None and terminal.has_input

    def hide(self, secrets: Iterable[str]) -> None:
        """Do nothing: the child's output does not pass through us."""

    def run(self) -> ChildEnd:
        """Pass signals on until the child has ended."""
        while True:
            arrived = signals.take(self._waited)
            if arrived.number == signals.CHILD:
                status = self._look()
                if status is not None:
                    return ChildEnd(status, is_interrupted=self._is_interrupted)
            elif arrived.number == signals.CONTINUE:
                self._go_on()
            else:
                self._pass_on(arrived)

    def _look(self) -> int | None:
        """Reap all children; return the child's wait status if it has ended, else None.

        Other processes are reaped too: as process 1 of a container we inherit orphans. Programs
        that a thread of ours runs are left to that thread.
        """
        ended = None
        while True:
            try:
                pid, status = AWAITED.reap(self.pid, _EVENTS)
            except ChildProcessError:
                return ended
            if pid == 0:
                break
            if pid != self.pid:
                continue
            if os.WIFSTOPPED(status):
                self._is_stopped = True
                self._stop_too(os.WSTOPSIG(status))
            elif os.WIFCONTINUED(status):
                self._is_stopped = False
            else:
                ended = status
        return ended

    def _stop_too(self, number: int) -> None:
        """Stop ourselves if a shell with job control started us, since it can continue us.

        A parent in our own group (a script) is stopped by the same ^Z and continued with us. Any
        other parent has no job control and would never continue us.
        """
        parent = os.getppid()
        try:
            is_job = os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
        except OSError:
            return
        if is_job:
            if self._terminal is not None and self._terminal.has_input:
                # ^Z was only a key: we must stop the rest of our group ourselves.
                self._terminal.pause()
                signals.tell_group(signals.SUSPEND)
                number = signals.SUSPEND
            signals.stop_self(number)

    def _go_on(self) -> None:
        """Continue the child, unless what continued us (a shell's `fg`) continued it as well."""
        if self._terminal is not None:
            self._terminal.go_on()
        try:
            event = os.waitid(os.P_PID, self.pid, os.WNOHANG | os.WCONTINUED)
        except ChildProcessError:
            return  # it has ended meanwhile: its SIGCHLD comes next
        if self._is_stopped and event is None:
            self._send(signals.CONTINUE)
        self._is_stopped = False

    def _pass_on(self, arrived: signals.Arrived) -> None:
        is_terminals = arrived.is_kernels and arrived.number in signals.TERMINAL
        if arrived.number == signals.WINDOW and self._terminal is not None:
            self._terminal.resize()
            if self._terminal.has_input:
                return  # the kernel signals the inner terminal's group
            is_terminals = False  # the child got the signal before the new size was set
        elif self._terminal is not None and self._terminal.has_input:
            is_terminals = False  # typed before our terminal was raw: the child did not get it
        if is_terminals and arrived.number == signals.INTERRUPT:
            self._is_interrupted = True
        if arrived.number == signals.HANGUP and os.getsid(0) == os.getpid():
            is_terminals = False  # the kernel signals only the session's leader
        if not is_terminals and arrived.sender != self.pid:
            self._send(arrived.number)

    def _send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)  # not yet waited for: its pid can't be reused
        except (ProcessLookupError, PermissionError):
            return  # it has ended, or runs as another user (sudo)


class Monitor(Supervisor):
    """Supervises the child from within the session of the inner terminal."""

    def __init__(self, pid: int, waited: frozenset[int], terminal: int) -> None:
        super().__init__(pid, waited)
        self._inner = terminal

    def _stop_too(self, number: int) -> None:
        if number in signals.TERMINAL_ACCESS and os.tcgetpgrp(self._inner) == self.pid:
            self._send(signals.CONTINUE)  # it read before it was in the foreground
            return
        signals.stop_self(signals.STOP)

    def _pass_on(self, arrived: signals.Arrived) -> None:
        if arrived.sender != self.pid:
            self._send(arrived.number)  # also a terminal's: the child was not yet in the foreground

    def _send(self, number: int) -> None:
        """Pass a signal on; a terminal's goes to the child's whole group, as from the kernel."""
        if number != signals.CONTINUE and number not in signals.TERMINAL:
            super()._send(number)
            return
        try:
            os.kill(-self.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # as above


def start_monitored(
    terminal: Terminal, waited: frozenset[int], spawn: Callable[[], int], say: Callable[[str], None]
) -> int:
    """Fork the monitor, which starts the child by `spawn`; return the monitor's process id."""
    import fcntl  # noqa: PLC0415 - a terminal of the child's own is rare
    import termios  # noqa: PLC0415 - as above

    from brokerctl.text import safe  # noqa: PLC0415 - as above

    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(terminal.ours)
        os.setsid()
        fcntl.ioctl(terminal.childs, termios.TIOCSCTTY, 0)
        child = spawn()
        os.tcsetpgrp(terminal.childs, child)
        ending = Monitor(child, waited, terminal.childs).run()
        if os.WIFSIGNALED(ending.status):
            signals.die_of(os.WTERMSIG(ending.status))
        os._exit(ending.code)  # noqa: SLF001 - its public name
    except BrokerError as error:
        say(f"brokerctl: error: {safe(error.message)}\r")
        os._exit(error.exit_code)  # noqa: SLF001 - as above
    finally:
        os._exit(125)  # noqa: SLF001 - as above; whatever happened, nothing of ours goes on here
