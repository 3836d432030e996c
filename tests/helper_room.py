"""A home whose profiles have tokens, asked by helpers outside of a session and by those in one."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.helpers import HelperReply, load
from brokerctl.helpers.session_answer import answer_question
from brokerctl.helpers.session_question import (
    HelperQuestion,
    SessionReply,
    make_question,
    parse_question,
    parse_reply,
    render_question,
    render_reply,
)
from brokerctl.home import Home, make_token_request, open_home
from brokerctl.model import NOT_BEARER, Token, TokenKey
from brokerctl.secret import Secret
from brokerctl.store.values import Change, Grant
from tests.program import PROGRAM, TIMEOUT_S
from tests.store_room import soon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.helpers import Helper
    from brokerctl.model import Profile, TokenRequest
    from tests.program import Program

LIFETIME_S = 3600
SESSION = "5e55"


class Answer(NamedTuple):
    """What a tool and a person saw."""

    stdout: bytes
    exit_code: int
    stderr: str


class SessionHome(Home):
    """A home as a session's supervisor has it: what is asked is asked by the session."""

    __slots__ = ()

    @property
    def offered(self) -> Mapping[str, Profile]:
        """Return all but what is another's."""
        return {name: one for name, one in self.plan.profiles.items() if name != "others"}

    @property
    def kept_for(self) -> tuple[str, ...]:
        """Return no tool."""
        return ()

    def make_request(self, profile: str, tool: str, url: str | None = None) -> TokenRequest:
        """Make a request of the session."""
        asked = make_token_request(profile, self.environ, tool, url)
        return asked.replace(requester=asked.requester.replace(session=SESSION, pid=1))


class HelperRoom:
    """One home; `env` is what a supervisor and a helper outside of sessions have around them."""

    def __init__(self, program: Program, config: str) -> None:
        program.config(config)
        self.env = program.environment({"BROKERCTL_KEEPER": "file"})
        self.cwd = program.home

    def leave_home(self) -> None:
        """Be in a CI job without a home from now on: keys and store are this process's."""
        del self.env["BROKERCTL_HOME"], self.env["BROKERCTL_KEEPER"]
        self.env["CI"] = "true"

    def open_home(self) -> Home:
        """Open it as for the process here."""
        return open_home(self.env, may_use_memory=True)

    def open_session(self) -> Home:
        """Open it with the terms of a session."""
        home = self.open_home()
        home.__class__ = SessionHome
        return home

    def hold(
        self,
        name: str,
        value: str,
        session: str | None = None,
        lifetime_s: float | None = LIFETIME_S,
        subject: str | None = None,
    ) -> None:
        """Have a token in a profile's slot, or in the slot of a session's own."""
        home = self.open_home()
        profile, now = home.plan.profiles[name], time.time()
        key = home.key_of(profile, subject)
        token = Token(
            value=Secret(value),
            fingerprint=home.ring.fingerprint(value),
            token_type="Bearer" if profile.flow != "aws_web_identity" else NOT_BEARER,
            scopes=profile.scopes,
            issued_at=now,
            expires_at=None if lifetime_s is None else now + lifetime_s,
        )
        slot = TokenKey(
            grant=key,
            actor=session,
            scopes=profile.scopes,
            resource=profile.resource,
            audience=profile.audience,
            extra=profile.extra,
        )
        with home.store.lock_grant(key, soon()) as locked:
            held = locked.state.grant or Grant(
                key=key, profile=name, flow=profile.flow, generation=0, obtained_at=now
            )
            grant = held.replace(generation=held.generation + 1)
            locked.commit(Change(grant=grant, token_key=slot, token=token, profile=name))

    def direct(
        self, words: list[str], data: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> Answer:
        """Run the real helper as its tool would, outside of any session."""
        done = subprocess.run(
            [PROGRAM, "helper", *words],
            input=data,
            env={**self.env, **(environ or {})},
            cwd=self.cwd,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Answer(done.stdout, done.returncode, done.stderr.decode())

    def inside(
        self,
        words: list[str],
        data: bytes = b"",
        environ: Mapping[str, str] | None = None,
        opened: Callable[[], Home] | None = None,
    ) -> Answer:
        """Ask as a helper in a session does; what crosses the socket is text."""
        helper = load(words[0])
        said = {**self.env, **(environ or {})}
        asked = make_question(helper, words, data, said)
        if isinstance(asked, HelperReply):
            return Answer(asked.stdout, asked.exit_code, asked.note or "")
        question = parse_question(render_question(asked))
        assert question == asked
        reply = self.answer(question, opened)
        return Answer(reply.stdout, reply.exit_code, "".join(f"{line}\n" for line in reply.lines))

    def answer(
        self, question: HelperQuestion, opened: Callable[[], Home] | None = None
    ) -> SessionReply:
        """Answer in a thread of its own, as a supervisor does."""
        sent: list[bytes] = []
        results: list[bool] = []

        def run() -> None:
            opener = opened or self.open_session
            results.append(
                answer_question(question, opener, lambda reply: sent.append(render_reply(reply)))
            )

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert results == [True]
        (one,) = sent
        return parse_reply(one)


def greeted(helper: Helper, answer: Answer) -> Answer:
    """Return an answer after the greeting that a tool's process writes first."""
    return answer._replace(stdout=helper.traits.greeting + answer.stdout)


def records(program: Program) -> list[str]:
    """Return the lines of the log."""
    path = os.path.join(program.home, "state", "v1", "audit", "log")
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()
