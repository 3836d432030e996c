"""The process between us and a child on an inner terminal: leader of that terminal's session.

The kernel stops no process whose group nobody watches from within its session, so a child that
^Z is to stop needs a parent there. This one does nothing but that: it passes signals on, stops
when the child stops, and ends as the child ended, so that the supervisor above it sees no
difference. It is a fork of ours and never runs anything else (setsid(2), tcsetpgrp(3)).
"""

from __future__ import annotations

import fcntl
import termios

from brokerctl.errors import BrokerError
from brokerctl.platform.system import os
from brokerctl.session import signals
from brokerctl.session.supervise import Supervisor
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.session.terminal import Terminal


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


def start(
    terminal: Terminal, waited: frozenset[int], spawn: Callable[[], int], say: Callable[[str], None]
) -> int:
    """Fork the monitor, which starts the child by `spawn`; return the monitor's process id."""
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
