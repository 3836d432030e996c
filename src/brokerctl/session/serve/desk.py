"""The desk of a session: the one way by which what it serves gets tokens.

Each request is decided anew: configuration and rules are read as they are at that moment, with one
layer more, which is what the session was started with. The key stays in this process's memory, and
no request opens it again. Threads share nothing of a broker but the counts of hand-outs.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext

from brokerctl.config import layers as config_layers
from brokerctl.config.rules import ALLOW, DEFAULT_DENY, Rule, RuleLayer
from brokerctl.errors import BrokerError, SessionEndedError, UsageError
from brokerctl.home import Home, working_folder
from brokerctl.model import TokenRequest, Value
from brokerctl.platform.process import parent_of, read_requester
from brokerctl.platform.system import os
from brokerctl.policy import Rules
from brokerctl.policy.layers import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from brokerctl.identity import Job
    from brokerctl.model import AccessToken, Profile, Requester
    from brokerctl.session import Tools
    from brokerctl.session.cleanup import SessionEnd
    from brokerctl.session.serve import DeskRequest
    from brokerctl.store.file import FileStore
    from brokerctl.store.values import LimitCount

_ENDED = "this session has ended"
_SHOWN = 8  # characters of a session's id
_SOURCES = "whose tokens the session's profiles exchange"


class Narrowing(Value):
    """What the flags of a session leave; None: they say nothing of it."""

    session: str  # its id
    scopes: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    audience: tuple[str, ...] | None = None
    max_ttl_s: float | None = None
    uses: int | None = None
    rate: tuple[int, int] | None = None  # so many in so many seconds
    hosts: tuple[str, ...] | None = None  # to which its tokens may go, in canonical form


class SessionTerms(Value):
    """What a session may ask for, for whom, and how much of it."""

    id: str
    profiles: tuple[str, ...]
    own: tuple[str, ...] = ()  # those with tokens of the session's own
    subject: str | None = None
    agent: str | None = None
    purpose: str | None = None
    narrowings: tuple[Narrowing, ...] = ()  # its own, before it those of the sessions it is in
    is_kept: bool = False  # --keep: a token that never ends may be given too


def layers_of(terms: SessionTerms, sources: tuple[str, ...]) -> tuple[RuleLayer, ...]:
    """Return the policy layers of a session, one for each narrowing.

    `sources` are the profiles whose tokens its own exchange: each such request is decided too.
    """
    inner = Rule(name=_SOURCES, effect=ALLOW, when={"profile": list(sources)})
    layers = []
    for one in terms.narrowings:
        when: dict[str, Any] = {"profile": list(terms.profiles)}
        if one.hosts is not None:
            when["host"] = list(one.hosts)
        rule = Rule(
            name=f"flags of session {one.session[:_SHOWN]}",
            effect=ALLOW,
            when=when,
            scopes=one.scopes,
            resource=one.resource,
            audience=one.audience,
            max_ttl_s=None if one.max_ttl_s is None else int(one.max_ttl_s),
            uses=one.uses,
            rate=one.rate,
        )
        rules = (rule, inner) if sources else (rule,)
        layers.append(RuleLayer(label=SESSION, default=DEFAULT_DENY, rules=rules))
    return tuple(layers)


class SessionHome(Home):
    """A home as one request of a session sees it: configuration of now, the session's layers."""

    __slots__ = ("_first", "desk", "pid", "terms")

    desk: SessionDesk  # which has opened it

    def __init__(
        self,
        first: Home,
        terms: SessionTerms,
        pid: int,
        profile: str | None = None,
    ) -> None:
        """`first` is the home that the session was started with; `pid` is that of the requester."""
        self._first, self.terms, self.pid = first, terms, pid
        environ = first.environ
        layers = config_layers.read_layers(environ, working_folder())
        audit = None if first.is_kept else lambda: first.log.folder
        super().__init__(environ, first.folder, first.ring, layers, audit, profile)

    @property
    def offered(self) -> Mapping[str, Profile]:
        """The profiles of the session, as far as there still are such."""
        profiles = self.plan.profiles
        return {name: profiles[name] for name in self.terms.profiles if name in profiles}

    @property
    def kept_for(self) -> tuple[str, ...]:
        """No tool's own credentials are seen in a session."""
        return ()

    def find_rules(
        self, profile: Profile | None, request: TokenRequest, job: Job | None
    ) -> Rules | None:
        """Return the rules in force, and those of the session."""
        found = super().find_rules(profile, request, job)
        names = tuple(self._source_names()) if request.for_profile is not None else ()
        layers = layers_of(self.terms, names)
        if found is None:
            from brokerctl.broker.evidence import Evidence  # noqa: PLC0415 - as in Home

            evidence = Evidence(self.store_of(job), self.issuer, profile, request, job)
            return Rules(layers, None, time.time(), evidence)
        return Rules((*found.layers, *layers), found.digest, found.now, found.read)

    def store_of(self, job: Job | None) -> FileStore:
        """Return where the tokens of a job are kept: in a session there is one such place."""
        return self._first.store_of(job)

    def get_token(self, request: TokenRequest) -> AccessToken:
        """Return a token, unless the session has ended meanwhile, or may not have this one."""
        token = super().get_token(request)
        self.desk.refuse_ended(self, token)
        return token

    def make_request(self, profile: str, tool: str, url: str | None = None) -> TokenRequest:
        """Make a request of the process that asks, by the terms of the session."""
        return TokenRequest(
            profile=profile,
            requester=self.requester(tool),
            subject=self.terms.subject,
            purpose=self.terms.purpose,
            url=url,
            is_own=profile in self.terms.own,
            is_reused=True,
        )

    def requester(self, tool: str) -> Requester:
        """Return who asks; its number is not in what is sent, so nobody asks as another."""
        found = read_requester(self.environ, tool, self.terms.id, self.pid)
        return found.replace(agent=self.terms.agent)

    def _source_names(self) -> Iterator[str]:
        """Yield the names of the profiles whose tokens the session's exchange, at any depth."""
        seen: set[str] = set()
        left = list(self.terms.profiles)
        while left:
            profile = self.plan.profiles.get(left.pop())
            for name in () if profile is None else profile.source_names:
                if name not in seen:
                    seen.add(name)
                    left.append(name)
                    yield name


class SessionDesk:
    """Hands out a session's tokens, to as many threads as ask, until the session ends."""

    def __init__(
        self,
        home: Home,
        terms: SessionTerms,
        entry: SessionEnd,
        make_end: Callable[[SessionTerms, str | None], SessionEnd],
        tools_of: Callable[[Home], Tools],
    ) -> None:
        """`entry` is the session's in the store, where another process can mark it as ended.

        `make_end` makes the entry of a session in this one, of its terms and command.
        """
        self._home = home
        self.terms = terms
        self._entry, self._make_end, self._tools_of = entry, make_end, tools_of
        self._noted = home.layers.fingerprint_parts()  # whose grants the entry names
        self.counts: dict[tuple[str, str], LimitCount] = {}
        self.noted: set[tuple[object, ...]] = set()
        self._outer: SessionDesk | None = None
        self._busy = 0
        self._is_closed = False
        self._quiet = threading.Condition()

    @property
    def is_ended(self) -> bool:
        """Whether the session has ended, by itself or by another process."""
        return self.is_over(self._home)

    def inside(self, terms: SessionTerms, command: str | None) -> tuple[SessionDesk, SessionEnd]:
        """Return desk and entry of a session in this one, which shares what is counted."""
        entry = self._make_end(terms, command)
        desk = SessionDesk(self._home, terms, entry, self._make_end, self._tools_of)
        desk.counts, desk.noted, desk._outer = self.counts, self.noted, self
        return desk, entry

    def may_be_own(self, name: str) -> bool:
        """Return whether a session can have a token of its own for a profile."""
        return not self.profile(name).refresh_ends_previous

    def get(self, asked: DeskRequest) -> AccessToken:
        """Return a token, decided, counted and recorded; raises BrokerError as `Broker.get`.

        SessionEndedError after the end; UsageError for a profile that is none of the session's.
        """
        with self.busy():
            home = self.open(asked.pid or 0, asked.profile)
            request = _request(home, asked)
            self._refuse_other(home, request)
            return home.get_token(request)

    def open(self, pid: int, profile: str | None = None) -> SessionHome:
        """Open the home anew, for one request; SessionEndedError after the end."""
        known = profile if profile in self.terms.profiles else None
        home = SessionHome(self._home, self.terms, pid, known)
        home.desk = self
        if self.is_over(home):
            raise SessionEndedError(_ENDED)
        self._note_grants(home)
        home.broker.counts, home.broker.noted = self.counts, self.noted
        return home

    def is_over(self, home: Home) -> bool:
        """Return whether it has ended, by a store that no other thread uses meanwhile."""
        if self._outer is not None and self._outer.is_over(home):
            return True
        return self._is_closed or self._entry.is_ended(home.store)

    def _note_grants(self, home: Home) -> None:
        """Note where an edited configuration leads to, before a token comes of it.

        Who comes after a SIGKILL finds the session's own tokens by these names.
        """
        with self._quiet:
            found = home.layers.fingerprint_parts()
            if found != self._noted:
                self._entry.note_grants(self._tools_of(home))
                self._noted = found

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Return a context in which the session does not end: whoever ends it waits."""
        with nullcontext() if self._outer is None else self._outer.busy():
            with self._quiet:
                if self._is_closed:
                    raise SessionEndedError(_ENDED)
                self._busy += 1
            try:
                yield
            finally:
                with self._quiet:
                    self._busy -= 1
                    self._quiet.notify_all()

    def refuse_ended(self, home: Home, token: AccessToken) -> None:
        """Raise SessionEndedError where the session was ended while the token was obtained.

        The token is ended with the session, by whoever ends that.
        """
        is_endless = token.expires_at is None and not self.terms.is_kept
        if is_endless or self.is_over(home):
            home.broker.not_delivered(token)
            if is_endless:
                raise UsageError(f"the token of '{token.profile}' never expires: it is the grant")
            raise SessionEndedError(_ENDED)

    def profile(self, name: str) -> Profile:
        """Return a profile as it is now; UsageError if it is none of the session's."""
        profiles = self.open(0, name).offered
        if name not in profiles:
            raise unknown(name)
        return profiles[name]

    def not_delivered(self, token: AccessToken) -> None:
        """Record that a token could not be written to who asked for it."""
        self._home.broker.not_delivered(token)

    def record(self, name: str, fields: Mapping[str, object]) -> None:
        """Append one record of the session as a whole."""
        from brokerctl.broker.events import event  # noqa: PLC0415 - few need it

        whose = {"uid": os.getuid(), "tool": name.partition(".")[0], "session": self.terms.id}
        self._home.log.append(*event(name, fields, requester=whose))

    def close(self, wait_s: float) -> bool:
        """Hand out nothing any more, and wait for those who are being answered.

        Returns False where one still is: a token may be on its way.
        """
        end = time.monotonic() + wait_s
        with self._quiet:
            self._is_closed = True
            while self._busy and (left := end - time.monotonic()) > 0:
                self._quiet.wait(left)
            return not self._busy

    def _refuse_other(self, home: SessionHome, request: TokenRequest) -> None:
        if request.profile not in home.terms.profiles:
            error = unknown(request.profile)
            home.broker.record_refusal(request, error)
            raise error


class UnknownProfileError(UsageError):
    """It is none of the session's profiles, whether or not there is such a profile outside."""


def unknown(name: str) -> BrokerError:
    """Return the refusal of a profile that is none of the session's."""
    return UnknownProfileError(f"this session has no profile '{name}'")


def asker_of(peer: int, *, is_ours: bool) -> int:
    """Return the process that asks: the peer, or where that is a program of ours, its parent."""
    return parent_of(peer) if is_ours and peer else peer


def _request(home: SessionHome, asked: DeskRequest) -> TokenRequest:
    sent = None if asked.method is None else (asked.method, asked.path or "/")
    request = home.make_request(asked.profile, asked.tool, asked.url)
    return request.replace(
        scopes=asked.scopes,
        resource=asked.resource,
        audience=asked.audience,
        min_ttl_s=asked.min_ttl_s,
        margin=asked.margin,
        is_fresh=asked.is_fresh,
        purpose=asked.purpose or request.purpose,
        sent=sent,
    )
