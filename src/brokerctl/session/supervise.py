"""Waits for the child as if nobody were between it and the shell: signals, stops, exit codes.

The child stays in our process group, so that the terminal's own signals (^C, ^Z, a new window
size) reach it from the kernel, and pipelines (`exec … | less`) keep the terminal. What is sent to
us alone is passed on; what the kernel sent to the whole group is not sent twice. A sender who
signals both (`kill -TERM -PGRP`) reaches the child twice: the kernel does not tell one from the
other, and to pass nothing on would lose `docker stop`.

A child that stops (^Z, or an editor's own way) stops us too, and a shell's `fg` continues both.
"""

from __future__ import annotations

from brokerctl.errors import BrokerError
from brokerctl.platform import signals
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.session.terminal import Terminal

_SIGNAL_BASE = 128
_EVENTS = os.WNOHANG | os.WUNTRACED | os.WCONTINUED


class ChildEnd:
    """How the child ended: its wait status, and whether the terminal interrupted us with it."""

    __slots__ = ("is_interrupted", "status")

    def __init__(self, status: int, *, is_interrupted: bool) -> None:
        self.status = status
        self.is_interrupted = is_interrupted

    @property
    def code(self) -> int:
        """The exit code to pass on: the child's, or 128 + n for signal n."""
        if os.WIFSIGNALED(self.status):
            return _SIGNAL_BASE + os.WTERMSIG(self.status)
        return os.WEXITSTATUS(self.status)

    @property
    def fatal_signal(self) -> int | None:
        """The signal to die of ourselves: ^C only, if the child died of it.

        A shell script stops at ^C if what it waits for *died* of SIGINT, and goes on if it exited
        with any code, 130 too; `$?` is 130 either way.
        """
        if self.is_interrupted and os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            return number if number == signals.INTERRUPT else None
        return None


class Supervisor:
    """One child, from its start to its end; signals must be blocked before it is started.

    `terminal` is the one between the child and ours, where its output is masked.
    """

    def __init__(self, pid: int, waited: frozenset[int], terminal: Terminal | None = None) -> None:
        self.pid = pid
        self._waited = waited
        self._terminal = terminal
        self._is_stopped = False
        # ^C goes through an inner terminal as a key, and is never a signal of ours.
        self._is_interrupted = terminal is not None and terminal.has_input

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
        """Take every event of children; the child's end as a wait status, else None.

        Others than the child are reaped too: as process 1 of a container we inherit orphans.
        """
        ended = None
        while True:
            try:
                pid, status = os.waitpid(-1, _EVENTS)
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
        """Stop ourselves if a shell with job control started us: it is the one that continues us.

        A parent in our own group (a script) has been stopped by the same ^Z and will be continued
        with us; any other parent knows nothing of jobs and would leave us stopped for ever.
        """
        parent = os.getppid()
        try:
            is_job = os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
        except OSError:
            return
        if is_job:
            if self._terminal is not None and self._terminal.has_input:
                # ^Z was a key: what would have been stopped with us is told by us.
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
            return  # it has ended meanwhile: its SIGCHLD is the next that we take
        if self._is_stopped and event is None:
            self._send(signals.CONTINUE)
        self._is_stopped = False

    def _pass_on(self, arrived: signals.Arrived) -> None:
        is_terminals = arrived.is_kernels and arrived.number in signals.TERMINAL
        if arrived.number == signals.WINDOW and self._terminal is not None:
            self._terminal.resize()
            if self._terminal.has_input:
                return  # the inner terminal tells its own
            is_terminals = False  # the child was told before its terminal had the size
        elif self._terminal is not None and self._terminal.has_input:
            is_terminals = False  # typed before our terminal was raw: none of the child's yet
        if is_terminals and arrived.number == signals.INTERRUPT:
            self._is_interrupted = True
        if arrived.number == signals.HANGUP and os.getsid(0) == os.getpid():
            is_terminals = False  # a lost terminal tells the session's leader alone
        if not is_terminals and arrived.sender != self.pid:
            self._send(arrived.number)

    def _send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)  # ours and not yet waited for: the number can't be reused
        except (ProcessLookupError, PermissionError):
            return  # it ended just now, or became another user (sudo): nothing to be done


class Monitor(Supervisor):
    """Watches the child from within its session."""

    def __init__(self, pid: int, waited: frozenset[int], terminal: int) -> None:
        super().__init__(pid, waited)
        self._inner = terminal

    def _stop_too(self, number: int) -> None:
        if number in signals.TERMINAL_ACCESS and os.tcgetpgrp(self._inner) == self.pid:
            self._send(signals.CONTINUE)  # it used the terminal before it was given to it
            return
        signals.stop_self(signals.STOP)

    def _pass_on(self, arrived: signals.Arrived) -> None:
        if arrived.sender != self.pid:
            self._send(arrived.number)  # the terminal's too: the child was not in front yet

    def _send(self, number: int) -> None:
        """Pass a signal on, a terminal's to the child's whole group: ^Z stopped all of it."""
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
