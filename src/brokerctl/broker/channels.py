"""Where the answer to a question comes from: this terminal, another one, or a command.

A command speaks the shape of OpenID AuthZEN's Access Evaluation 1.0: JSON in, JSON out. Nothing but
a whole object whose `decision` is true, from a command that ended well and in time, is a yes.
"""

from __future__ import annotations

import pwd
import time

from brokerctl import jsonlite
from brokerctl.broker.approval import USUAL_WAIT_S, Approval
from brokerctl.broker.question import (
    COMMAND,
    ELSEWHERE,
    LEASE_HELP,
    NOBODY,
    ONCE_HELP,
    PROMPT,
    SESSION_HELP,
    TERMINAL,
    Answer,
    parse_answer,
    render_lines,
)
from brokerctl.config.duration import render_duration
from brokerctl.errors import shell_word
from brokerctl.freshness import timestamp
from brokerctl.platform.commands import environ_for, run_bounded
from brokerctl.platform.signals import HANGUP, TERMINATE, InterruptedBySignal, raise_on_default
from brokerctl.platform.work_clock import work_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from brokerctl.audit.append import Log
    from brokerctl.broker import Broker
    from brokerctl.broker.approval import Channel, Look
    from brokerctl.config.plan import Plan
    from brokerctl.store.file import FileStore
    from brokerctl.store.values import ApprovalQuestion

    # Writes lines and a prompt to the terminal, and returns what was typed within so many seconds;
    # None where `look` says that it is answered. TimeoutError, or UsageError without a terminal.
    AskUntil = Callable[[Sequence[str], str, float, Look], str | None]
    # Runs the command: gets its input and a time in seconds, returns exit code and output.
    Run = Callable[[bytes, float, dict[str, Any]], tuple[int, bytes]]

    class AskingHome(Protocol):
        """What an answer needs of an open Home."""

        plan: Plan
        store: FileStore
        log: Log
        broker: Broker
        environ: Mapping[str, str]
        is_kept: bool


ANSWER_BYTES = 64 * 1024
_TRIES = 3
_POLL_S = 0.1


def open_approval(
    home: AskingHome,
    is_interactive: Callable[[Mapping[str, str]], bool],
    ask_until: AskUntil,
    note: Callable[[str], object],
) -> Approval:
    """Return what finds answers: for a command of ours that may ask, at its terminal."""
    plan = home.plan
    wait_s = float(plan.approve_wait_s or USUAL_WAIT_S)
    channel: Channel | None = None
    if plan.approve_command:
        channel = CommandChannel(_runner(home), wait_s)
    elif home.broker.asks_here and is_interactive(home.environ):
        channel = TerminalChannel(ask_until, wait_s)
    elif plan.approve_wait_s is not None and home.is_kept:  # else nobody can see what is asked
        channel = ElsewhereChannel(note, wait_s)
    return Approval(home.store, home.log, channel, wait_s)


def too_late(wait_s: float) -> Answer:
    """Return the no of nobody."""
    why = f"nobody has answered within {render_duration(int(wait_s))}"
    return Answer(is_yes=False, by=NOBODY, why=why)


class TerminalChannel:
    """Asks the person at the terminal of this process."""

    by = TERMINAL

    def __init__(self, ask_until: AskUntil, wait_s: float) -> None:
        self._ask_until, self._wait_s = ask_until, wait_s

    def ask(self, question: ApprovalQuestion, about: dict[str, Any], look: Look) -> Answer | None:
        """Ask until there is a clear answer; a signal that ends us is a no."""
        back = raise_on_default((HANGUP, TERMINATE))
        try:
            return self._ask(question, about, look)
        except TimeoutError:
            return too_late(self._wait_s)
        except InterruptedBySignal as stop:
            why = "the terminal hung up" if stop.number == HANGUP else "the one who asks was ended"
            return Answer(is_yes=False, by=NOBODY, why=why)
        finally:
            back()

    def _ask(self, question: ApprovalQuestion, about: dict[str, Any], look: Look) -> Answer | None:
        deadline = work_time() + self._wait_s
        may_lease = question.lease_name is not None
        has_session = question.session_lease_name is not None
        words = [LEASE_HELP if may_lease else ONCE_HELP, *([SESSION_HELP] if has_session else ())]
        lines = [*render_lines(about), *words]
        for _ in range(_TRIES):
            typed = self._ask_until(lines, PROMPT, deadline - work_time(), look)
            if typed is None:
                return None
            answer = parse_answer(typed, has_session=has_session, may_lease=may_lease)
            if answer is not None:
                return answer
            lines = ["that is no answer", *words]
        return Answer(is_yes=False, by=TERMINAL, why="there was no clear answer")


class ElsewhereChannel:
    """Waits for `brokerctl approve` in another terminal of the same user."""

    by = ELSEWHERE

    def __init__(
        self,
        note: Callable[[str], object],
        wait_s: float,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._note, self._wait_s, self._sleep = note, wait_s, sleep

    def ask(self, question: ApprovalQuestion, about: dict[str, Any], look: Look) -> Answer | None:  # noqa: ARG002 - as `Channel` has it
        """Wait until somebody has answered, or it is too late."""
        self._note(
            f"waiting up to {render_duration(int(self._wait_s))} for 'brokerctl approve yes"
            f" {shell_word(question.id)}' in another terminal"
        )
        deadline = work_time() + self._wait_s
        while work_time() < deadline:
            if look():
                return None
            self._sleep(_POLL_S)
        return None if look() else too_late(self._wait_s)


class CommandChannel:
    """Asks a command, which stands for a person: a chat, a phone, a policy server."""

    by = COMMAND

    def __init__(self, run: Run, wait_s: float) -> None:
        """`run` gives it bytes, and returns exit code and output as `run_bounded` does."""
        self._run, self._wait_s = run, wait_s

    def ask(self, question: ApprovalQuestion, about: dict[str, Any], look: Look) -> Answer:  # noqa: ARG002 - as `Channel` has it
        """Return what it answers; whatever goes wrong is a no."""
        text = jsonlite.dumps(evaluation(question, about)).encode() + b"\n"
        try:
            code, output = self._run(text, self._wait_s, about)
        except TimeoutError:
            span = render_duration(int(self._wait_s))
            return _no(f"the command of approve gave no answer within {span}")
        except OSError as error:
            why = (error.strerror or str(error) or "it asks at a terminal").lower()
            return _no(f"the command of approve failed: {why}")
        if code != 0:
            return _no(f"the command of approve ended with exit code {code}")
        decision = parse_decision(output)
        if decision is None:
            return _no("the command of approve answered with no decision")
        return Answer(is_yes=decision, by=COMMAND)


def _no(why: str) -> Answer:
    return Answer(is_yes=False, by=COMMAND, why=why)


def _runner(home: AskingHome) -> Run:
    """Return what runs the command, with the profile that is asked for among those within."""
    from brokerctl.broker.issuer import secret_variables  # noqa: PLC0415 - for a command alone

    hidden = secret_variables(home.plan.profiles.values())

    def run(given: bytes, timeout_s: float, about: dict[str, Any]) -> tuple[int, bytes]:
        name = about["profile"] or f"{about['requester']['tool']}:kept"
        profiles = tuple(dict.fromkeys((*home.broker.within, name)))
        child = environ_for("approve", home.environ, hidden=hidden, within=profiles)
        return run_bounded(home.plan.approve_command, child, timeout_s, ANSWER_BYTES, given=given)

    return run


def parse_decision(output: bytes) -> bool | None:
    """Return the decision of an answer; None for anything that is not one."""
    try:
        found = jsonlite.loads(output)
    except (ValueError, RecursionError):
        return None
    decision = found.get("decision") if isinstance(found, dict) else None
    return decision if isinstance(decision, bool) else None


def evaluation(question: ApprovalQuestion, about: dict[str, Any]) -> dict[str, Any]:
    """Return the request of an access evaluation: subject, action, resource and context."""
    requester = about["requester"]
    name = _user(requester["uid"])
    return {
        "subject": {"type": "user", "id": name, "properties": requester},
        "action": {
            "name": about["action"],
            "properties": {
                **{key: about[key] for key in ("scopes", "audience", "max_ttl_s", "is_own")},
                "purpose": about["purpose"],
            },
        },
        "resource": {
            "type": "profile" if about["profile"] else "kept credential",
            "id": about["profile"] or about["what"],
            "properties": {key: about[key] for key in ("issuer", "subject", "resource", "url")},
        },
        "context": {
            "question": question.id,
            "time": timestamp(question.asked_at),
            "until": timestamp(question.ends_at),
            **{key: about[key] for key in ("rule", "layer", "reason", "policy", "for_profile")},
            "is_insecure": about["is_insecure"],
        },
    }


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)  # in a container the user may have no name
