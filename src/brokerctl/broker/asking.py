"""What a decision needs beside its rules: a yes where a rule asks, and a count where one counts.

No lock of a grant is held when somebody is asked. A request that is made under one, for the token
that another profile exchanges, says so by AskFirst: the lock is given up, and the road begins again
with the answer.
"""

from __future__ import annotations

import _thread
import time

from brokerctl.broker.limits import start_count, take, untake
from brokerctl.broker.question import LOGIN, TOKEN, Asked
from brokerctl.broker.request import REFUSED, AskFirst, denied, refuse_circle
from brokerctl.errors import BrokerError, DeniedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    from brokerctl.broker.request import Approver, DecidedRequest
    from brokerctl.model import TokenRequest
    from brokerctl.store.values import LimitCount

    class Asker(Protocol):
        """What is asked and counted for: `broker.Broker`."""

        within: tuple[str, ...]
        counts: dict[tuple[str, str], LimitCount]
        answered: dict[str, tuple[tuple[str, Any], ...]]

        def approval(self) -> Approver:
            """Return what finds the answers."""

        def record_refusal(self, asked: DecidedRequest | TokenRequest, error: BrokerError) -> None:
            """Record that a token was refused."""

    Found = TypeVar("Found")


_counting = _thread.allocate_lock()


def settle(broker: Asker, decided: DecidedRequest) -> None:
    """Ask where a rule asks, and count where one counts; a refusal is recorded, then raised."""
    try:
        if decided.decision.effect == "ask":
            refuse_circle(broker.within, decided.profile.name)
            ask(broker, decided)
        count(broker, decided)
    except BrokerError as error:
        broker.record_refusal(decided, error)
        raise
    except BaseException as stop:  # recorded, and raised again
        if not isinstance(stop, Exception):  # a signal, while somebody was asked
            broker.record_refusal(decided, DeniedError("the one who asks was stopped"))
        raise


def settle_login(broker: Asker | None, decided: DecidedRequest) -> None:
    """Refuse a login that is denied, and ask where a rule asks; nothing is recorded here."""
    if decided.decision.effect == "ask" and broker is not None:
        ask(broker, decided, LOGIN)
    elif decided.decision.effect in REFUSED:
        raise denied(decided)


def asked_of(decided: DecidedRequest, action: str = TOKEN) -> Asked:
    """Return what somebody is to be asked about a request."""
    return Asked(
        action=action,
        label=decided.profile.name,
        profile=decided.profile,
        request=decided.request,
        decision=decided.decision,
    )


def ask(broker: Asker, decided: DecidedRequest, action: str = TOKEN) -> None:
    """Note who says yes, where a rule asks; DeniedError where nobody does.

    AskFirst where the request is made for another one, whose grant's lock is held.
    """
    approval, asked = broker.approval(), asked_of(decided, action)
    if decided.request.for_profile is None:
        held = approval.ask(asked)
    else:
        name = approval.name_of(asked)
        found = broker.answered.get(name) or approval.find_held(asked)
        if found is None:
            raise AskFirst(decided)
        broker.answered[name] = held = found
    decided.decision = decided.decision.replace(approval=held)


def asking_first(
    broker: Asker | None, run: Callable[[], Found], first: AskFirst | None = None
) -> Found:
    """Return what `run` does; where it meets AskFirst, somebody is asked, and it runs again."""
    try:
        while True:
            if first is not None and broker is not None:
                _ask_first(broker, first.decided)
            try:
                return run()
            except AskFirst as another:
                if broker is None:
                    raise
                first = another
    finally:
        if broker is not None:
            broker.answered.clear()


def _ask_first(broker: Asker, decided: DecidedRequest) -> None:
    approval, asked = broker.approval(), asked_of(decided)
    try:
        broker.answered[approval.name_of(asked)] = approval.ask(asked)
    except BrokerError as error:
        broker.record_refusal(decided, error)
        raise


def count(broker: Asker, decided: DecidedRequest) -> None:
    """Count a session's request by the rules that say how many; DeniedError for one too many.

    A session's requests, and those of sessions in it, come from one process, the supervisor, whose
    memory this is; its threads ask at once.
    """
    limits = decided.decision.limits
    if decided.request.requester.session is None or not limits:
        return
    with _counting:
        now, taken = time.time(), {}
        for limit in limits:
            key = (limit.layer, limit.rule)
            taken[key] = take(broker.counts.get(key) or start_count(limit), now)
        broker.counts |= taken


def give_back(broker: Asker, decided: DecidedRequest) -> None:
    """Give back what was counted for a request that was allowed, and is not handed out.

    Security: nothing was handed out for it, and only what it had taken itself is given back, so
    that there are never more hand-outs than uses. One that is killed meanwhile has had its use.
    """
    held = dict(decided.decision.approval)
    if "lease" in held:
        try:
            broker.approval().give_back(asked_of(decided), held["lease"])
        except BrokerError:
            pass  # it stays used: the request has an error of its own
    if decided.request.requester.session is None:
        return
    with _counting:
        for limit in decided.decision.limits:
            key = (limit.layer, limit.rule)
            if key in broker.counts:
                broker.counts[key] = untake(broker.counts[key])
