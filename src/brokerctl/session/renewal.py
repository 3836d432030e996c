"""Renews the tokens in a session's files before they end: a thread of the supervisor.

From 80 % of a token's life on, its successor is asked for as any token is: with configuration and
policy as they are then. A session's own is issued anew; a shared one is the one that everybody else
gets, so that of many sessions one asks the issuer. A session without files does not import this.

Where none is to be had (a rule denies it now, the login ended, the issuer is down) the file keeps
its token, also once that has ended: the service that it is shown to says so, while a file that is
empty or missing makes tools ask a person, or go on as nobody. It is said once, and tried again.

The token that was replaced is left to its expiry: a program may have read it just before, a fifth
of its life is left at most, and a revocation for each renewal would double what the issuer has to
do, and at some issuers end the login. The session's end revokes all that live by then.
"""

from __future__ import annotations

import os
import threading
import time

from brokerctl.broker.obtain import JITTER, STEPS_S
from brokerctl.errors import BrokerError, IssuerError, SessionEndedError, StoreError
from brokerctl.freshness import LOCK_WAIT_S, last_end, timestamp
from brokerctl.model import Value, size_of
from brokerctl.platform.system import take_no_signal
from brokerctl.platform.work_clock import work_time
from brokerctl.session.environment import refuse_endless, secrets_of
from brokerctl.session.token_files import FileGoneError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.model import AccessToken, TokenRequest
    from brokerctl.session import ExecRequest, Tools
    from brokerctl.session.cleanup import SessionEnd
    from brokerctl.session.environment import ChildVariable
_ENDED = "this session was ended by another command"


class Spans(Value):
    """How long things take."""

    share: float = 0.8  # of a token's life, from which on it is renewed
    look_s: float = 30.0  # at most between two looks at the clock, which may jump
    least_s: float = 1.0  # between two tokens for one file
    most_s: float = LOCK_WAIT_S  # for one renewal, of the work clock
    steps_s: tuple[float, ...] = STEPS_S  # between attempts


class Due:
    """A moment by both clocks: the wall's may jump, and the other one stands still in a suspend."""

    __slots__ = ("_monotonic", "_wall")

    def __init__(self, after_s: float) -> None:
        self._wall = time.time() + after_s
        self._monotonic = time.monotonic() + after_s

    def left_s(self) -> float:
        """Return the seconds until the first clock is there; not above 0 once one is."""
        return min(self._wall - time.time(), self._monotonic - time.monotonic())


class TokenInFiles:
    """One profile's token, the files that hold it, and when it is to be renewed."""

    def __init__(
        self,
        ask: ExecRequest,
        request: TokenRequest,
        where: ChildVariable,
        tokens: dict[str, AccessToken],
    ) -> None:
        """`tokens` are those of the session by profile, and kept as they are now."""
        self.ask, self.request, self.names = ask, request, where.files
        self.tokens = tokens
        self.token = tokens[request.profile]
        self.next: AccessToken | None = None  # obtained, and not yet in each file
        self.min_ttl_s = ask.min_ttl_s if ask.min_ttl_s is not None else where.profile.min_ttl_s
        self.attempts = 0  # that failed since the last renewal
        self.due: Due | None = None  # None: never

    def plan(self, spans: Spans, least_s: float = 0.0) -> None:
        """Plan the renewal of the token that is in the files now."""
        after_s = renewal_s(self.token, time.time(), spans.share, self.min_ttl_s)
        self.due = None if after_s is None else Due(max(least_s, after_s))

    def next_request(self, spans: Spans, *, is_shared: bool) -> TokenRequest:
        """Return the request for a token that ends later than the one in the files.

        `is_shared`: others of the session have a token of its own, too.
        """
        request = self.request.replace(deadline=work_time() + spans.most_s)
        end = self.token.expires_at
        if end is None or (request.is_own and not is_shared):
            return request
        # What somebody else has got meanwhile has more left, and serves.
        return request.replace(min_ttl_s=max(0.0, end - time.time()))

    def put_next(self) -> None:
        """Note that the files hold the next token."""
        assert self.next is not None  # noqa: S101 - it was just written
        self.token, self.next, self.attempts = self.next, None, 0
        self.tokens[self.request.profile] = self.token


def renewal_s(
    token: AccessToken, now: float, share: float, min_ttl_s: float | None
) -> float | None:
    """Return in how many seconds a token is to be renewed; None if it never ends.

    With `min_ttl_s` sooner than by its share, and yet not before half of its life.
    """
    end = token.expires_at
    if end is None:
        return None
    life_s = end - (now if token.issued_at is None else token.issued_at)
    return end - max((1 - share) * life_s, min(min_ttl_s or 0.0, life_s / 2)) - now


class Renewal(threading.Thread):
    """The thread; it is started once the child runs, and told to finish before anything ends."""

    def __init__(
        self,
        held: Iterable[TokenInFiles],
        ends: SessionEnd,
        tools: Tools,
        get: Callable[[TokenRequest], AccessToken] | None = None,
        spans: Spans | None = None,
    ) -> None:
        """`get` goes by the terms of a session that has some."""
        super().__init__(daemon=True)
        self._spans = Spans() if spans is None else spans
        self._held = list(held)
        self._ends = ends
        self._tools = tools
        self._get = get
        self._hide: Callable[[list[str]], None] = lambda _: None
        self._hidden: list[AccessToken] = []
        self._is_ending = threading.Event()
        for one in self._held:
            one.plan(self._spans)

    def begin(self, hide: Callable[[list[str]], None]) -> None:
        """Start; `hide` has values masked in the child's output. RuntimeError: no more threads."""
        self._hide = hide
        self.start()

    def run(self) -> None:
        """Renew what is due until the session ends."""
        take_no_signal()  # the main thread waits for them
        while self._wait():
            for one in self._held:
                if one.due is not None and one.due.left_s() <= 0:
                    self._renew(one)

    def finish(self) -> bool:
        """Begin no further renewal and wait for one that is under way; False if it is too late.

        No token is asked for afterwards, unless it is False.
        """
        self._is_ending.set()
        self.join(self._spans.most_s + self._spans.least_s)
        return not self.is_alive()

    def _wait(self) -> bool:
        """Wait until something is due, or may be; return whether there is anything left to do."""
        dues = [one.due for one in self._held if one.due is not None]
        if not dues:
            return False
        left_s = min(due.left_s() for due in dues)
        return not self._is_ending.wait(max(0.0, min(left_s, self._spans.look_s)))

    def _renew(self, one: TokenInFiles) -> None:
        if self._is_ending.is_set():
            return
        try:
            self._try(one)
        except FileGoneError as gone:
            one.due = None
            self._tools.warn(f"{gone.message}: no token of '{one.request.profile}' is put there")
        except SessionEndedError:
            self._is_ending.set()  # whoever ended it has said so
        except BrokerError as error:
            self._failed(one, error)
        except Exception as error:  # noqa: BLE001 - a bug must not end the renewal of other files
            self._failed(one, BrokerError(f"unexpected {type(error).__name__}"))

    def _try(self, one: TokenInFiles) -> None:
        assert self._tools.open_again is not None  # noqa: S101 - else nothing is renewed
        tools = self._tools.open_again()
        if self._ends.is_ended(tools.store):
            raise SessionEndedError(_ENDED)
        with self._ends.open_files() as folder:
            for name in one.names:
                folder.check(name)
        if one.next is None:
            one.next = self._obtain(one, tools)
        if self._is_ending.is_set():
            return  # it ends with the others
        self._put(one, one.next, tools)
        one.put_next()
        one.plan(self._spans, self._spans.least_s)

    def _obtain(self, one: TokenInFiles, tools: Tools) -> AccessToken:
        request = one.next_request(self._spans, is_shared=self._get is not None)
        if one.attempts and self._get is None:
            tools.check(request)  # what is still refused is not recorded again
        if request.is_own:
            self._ends.note_grants(tools)
        token = (self._get or tools.get)(request)
        refuse_endless(one.ask, token)
        if token.fingerprint == one.token.fingerprint and token.expires_at == one.token.expires_at:
            # While the issuer is down, a token that is still good is what everybody gets.
            tools.check(request)
            raise IssuerError(f"the issuer of '{token.profile}' gives the same token still")
        return token

    def _put(self, one: TokenInFiles, token: AccessToken, tools: Tools) -> None:
        now = time.time()
        living = [each for each in self._hidden if each.expires_at is None or each.expires_at > now]
        self._hidden = [*living, token]
        self._hide(secrets_of(self._hidden))
        others = [each for name, each in one.tokens.items() if name != token.profile]
        try:
            if self._ends.session.ends_at is not None:
                self._ends.note(tools.store, ends_at=last_end([*others, token]))
            elif self._ends.is_ended(tools.store):
                raise SessionEndedError(_ENDED)
            with self._ends.open_files() as folder:
                for name in one.names:
                    folder.replace(name, token.value)
        except StoreError:
            if not one.attempts:
                self._record_undelivered(token, tools)
            raise

    @staticmethod
    def _record_undelivered(token: AccessToken, tools: Tools) -> None:
        fields: dict[str, object] = {
            "profile": token.profile,
            "fingerprint": token.fingerprint,
            "size": size_of(token.value),
            "outcome": "failed",
        }
        tools.record("token.not_delivered", fields)

    def _failed(self, one: TokenInFiles, error: BrokerError) -> None:
        """Say so once, and try again later: sooner at first, never at the same time as others."""
        one.attempts += 1
        if one.attempts == 1:
            end = one.token.expires_at
            until = "" if end is None else f", which ends at {timestamp(end)}"
            hint = error.hint or error.usual_hint
            more = f"; {hint}" if hint else ""
            name = one.request.profile
            self._tools.warn(
                f"the files keep the old token of '{name}'{until}: {error.message}{more}"
            )
        step_s = self._spans.steps_s[min(one.attempts, len(self._spans.steps_s)) - 1]
        share = int.from_bytes(os.urandom(4), "big") / (1 << 32)
        one.due = Due(step_s * (1 + JITTER * share))
