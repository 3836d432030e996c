"""Carries out a flow's steps: sends, waits, shows a code, listens, sends a person to a page."""

from __future__ import annotations

import os
import sys
import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from brokerctl.effects.browser import open_browser, unusable
from brokerctl.effects.loopback import TIMEOUT_S, Loopback, nobody_answered
from brokerctl.errors import BrokerError, LoginNeededError, shell_word
from brokerctl.model import FLOWS
from brokerctl.oauth.steps import Listen, Send, ShowUserCode, Visit, Wait
from brokerctl.platform.work_clock import work_time
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from brokerctl.effects.paste import Paste
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.oauth.steps import Steps
    from brokerctl.oauth.tokens import TokenAnswer

    class Http(Protocol):
        """What sends requests: effects/http.py, or a test's own."""

        def send(self, request: HttpRequest, deadline: float) -> HttpResponse:
            """Send one request; `deadline` is of the work clock."""

    class Io(Protocol):
        """Who carries out the steps: `PersonInteraction`, or one that wraps it."""

        def do(self, step: Step) -> Any:  # noqa: ANN401 - each step has an answer of its own
            """Carry out one step and return what came of it."""


Step = Send | Wait | ShowUserCode | Listen | Visit
_URL_CHARS = 16384
_QR_CHARS = 512


def run(steps: Steps, io: Io) -> TokenAnswer:
    """Drive a flow to its end and return its answer; what a step raises is raised in the flow."""
    try:
        step = next(steps)
        while True:
            try:
                answer = io.do(step)
            except BrokerError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        answered: TokenAnswer = end.value
        return answered
    finally:
        steps.close()


class PersonInteraction:
    """A person's terminal, browser and loopback listener, and the sender to the issuer."""

    def __init__(
        self,
        http: Http,
        environ: Mapping[str, str],
        *,
        paste: Paste | None = None,
        no_browser: bool = False,
        port: int | None = None,
        timeout_s: float = TIMEOUT_S,
        request_s: float = 20.0,
    ) -> None:
        self.http = http
        self.environ = environ
        self.paste = paste
        self.no_browser = no_browser
        self.port = port
        self.timeout_s = timeout_s
        self.request_s = request_s
        self._loopback: Loopback | None = None
        self._is_peer_known = True
        self._ends_at: float | None = None  # of a device's wait

    def do(self, step: Step) -> Any:  # noqa: ANN401 - each step has an answer of its own
        """Carry out one step and return what came of it."""
        if isinstance(step, Send):
            return self.http.send(step.request, work_time() + self.request_s)
        if isinstance(step, Wait):
            if self._ends_at is not None and time.monotonic() >= self._ends_at:
                raise nobody_answered(self.timeout_s)
            return time.sleep(step.seconds)
        if isinstance(step, ShowUserCode):
            return self._show_user_code(step)
        if isinstance(step, Listen):
            self.close()
            self._loopback = Loopback(step.port or self.port, _say)
            return self._loopback.redirect_uri
        return self._visit(step)

    def close(self) -> None:
        """Stop listening, however the login ended."""
        if self._loopback is not None:
            self._loopback.close()
            self._loopback = None

    def _visit(self, step: Visit) -> str:
        assert self._loopback is not None  # noqa: S101 - a flow listens before it visits
        with nullcontext() if self.paste is None else self.paste.whole_lines():
            self._show_address(step, self._loopback)
            query = self._loopback.wait(step.accept, self.timeout_s, self.paste)
        self._is_peer_known = self._loopback.is_peer_known
        return query

    def _show_address(self, step: Visit, loopback: Loopback) -> None:
        """Open a browser where there is one, and say where else to go."""
        # Security: all users of the machine can read a browser's command line, so `state` is not
        # in it. Our own terminal, where the address itself is shown, is ours alone.
        is_open = not self.no_browser and open_browser(
            loopback.offer(step.url), self.environ, has_terminal=self.paste is not None
        )
        why = None if is_open or self.no_browser else unusable(self.environ)
        if is_open:
            _say("log in with the browser that has opened; if none has, visit")
        elif self.no_browser or self.paste is not None:
            if why is not None:
                _say(f"note: {why}")
            _say("to log in, visit")
        else:
            raise LoginNeededError(
                why or "no browser could be started", hint="try --no-browser or '--flow device'"
            )
        _say(f"  {safe(step.url, _URL_CHARS)}")
        if self.paste is not None:
            _say("if the browser is on another machine, paste the address that it ends at here")

    def doubt(self, sub: str | None) -> Callable[[], bool] | None:
        """Return the question whether to keep a login that may be another user's; None: no doubt.

        Security: where the owner of the socket that brought the answer can't be found, only the
        person at the terminal knows whose name it should be. Where nobody can be asked, the login
        is kept and a note is shown.
        """
        if self._is_peer_known:
            return None
        who = f"logged in as {safe(sub)}" if sub else "logged in (the issuer does not say as whom)"
        if self.paste is None:
            _say(f"note: {who}; which user of this machine did it can't be told")
            return None
        return partial(self.paste.confirm, f"{who}: keep it?", self.timeout_s)

    def _show_user_code(self, step: ShowUserCode) -> None:
        self._ends_at = time.monotonic() + self.timeout_s
        left_s = min(step.expires_at - time.time(), self.timeout_s)
        minutes = max(1, round(left_s / 60))
        _say(f"to log in, visit {safe(step.verification_uri, _URL_CHARS)}")
        _say(f"and enter the code {safe(step.user_code)} within {minutes} min")
        target = step.complete or step.verification_uri
        if self._has_room_for_qr() and target == safe(target, _QR_CHARS):
            _show_qr(target)

    def _has_room_for_qr(self) -> bool:
        return (
            sys.stderr.isatty()
            and not self.environ.get("CI")
            and self.environ.get("TERM") not in {None, "", "dumb"}
            and (sys.stderr.encoding or "").lower() in {"utf-8", "utf8"}
        )


def refuse_without_person(
    interaction: PersonInteraction, name: str, flow: str, *, is_asked: bool
) -> None:
    """Raise LoginNeededError where no person can be reached (contract, section 1).

    With `CI` set a device code is shown only if the command asked for that flow.
    """
    environ = interaction.environ
    if FLOWS[flow].shows_code:
        can_show = is_asked or not environ.get("CI")
    else:
        can_show = (
            interaction.no_browser or bool(environ.get("BROWSER")) or interaction.paste is not None
        )
    if not can_show:
        raise LoginNeededError(
            f"nobody is there to log in to '{name}'",
            hint=f"run 'brokerctl login {shell_word(name)}' on a terminal, or with --no-browser",
        )


def _show_qr(text: str) -> None:
    import segno  # noqa: PLC0415 - only the device flow on a terminal needs it

    # Half blocks without escape sequences: NO_COLOR has nothing to take away.
    segno.make(text, error="l", micro=False).terminal(sys.stderr, border=2, compact=True)


def _say(line: str) -> None:
    try:
        os.write(2, f"brokerctl: {line}\n".encode())
    except OSError:
        return  # nobody reads; the login may still succeed
