"""Starts a child whose output goes through us, masked, and supervises it."""

from __future__ import annotations

from brokerctl.session import child, monitor, signals
from brokerctl.session.forms import forms_of
from brokerctl.session.relay import Relay
from brokerctl.session.supervise import Supervisor
from brokerctl.session.terminal import open_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.session.supervise import Ending
    from brokerctl.session.terminal import Terminal


class Masked:
    """A masked child, started; `run` waits for its end."""

    def __init__(
        self, pid: int, waited: frozenset[int], relay: Relay, terminal: Terminal | None
    ) -> None:
        self._pid = pid
        self._waited = waited
        self._relay = relay
        self._terminal = terminal

    def run(self) -> Ending:
        """Move its output until it has ended and all is moved."""
        if self._terminal is not None:
            self._terminal.begin()
        self._relay.begin()
        try:
            ending = Supervisor(self._pid, self._waited, self._terminal).run()
            if self._terminal is not None:
                self._terminal.end_keys()  # before its output is moved, which may take a while
            self._relay.finish()
        finally:
            if self._terminal is not None:
                self._terminal.close()
        if ending.fatal_signal is not None and self._terminal is not None:
            signals.tell_group(ending.fatal_signal)  # ^C was a key: a script around us stops too
        return ending


def start(
    path: str,
    words: tuple[str, ...],
    environ: dict[str, str],
    mask: Iterable[int],
    waited: frozenset[int],
    secrets: Iterable[str],
    say: Callable[[str], None],
) -> Masked:
    """Start the child on pipes, or on a terminal of its own where ours is one."""
    forms = {form for secret in secrets for form in forms_of(secret)}
    terminal = open_terminal()
    relay = Relay(tuple(sorted(forms)), terminal)
    if terminal is None or not terminal.has_input:
        pid = child.start(path, words, environ, mask, file_actions=relay.actions)
    else:

        def spawn() -> int:
            return child.start(path, words, environ, mask, file_actions=relay.actions, setpgroup=0)

        pid = monitor.start(terminal, waited, spawn, say)
    return Masked(pid, waited, relay, terminal)
