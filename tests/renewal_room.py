"""One session with a file, whose token is due at once: what the tests of its renewal share."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from brokerctl.errors import StoreError
from brokerctl.model import AccessToken, Profile, Requester, TokenRequest
from brokerctl.platform.system import SYSTEM, System
from brokerctl.secret import Secret
from brokerctl.session import ExecRequest, Tools
from brokerctl.session.cleanup import SessionEnd
from brokerctl.session.environment import ChildVariable
from brokerctl.session.leftovers import parse_session
from brokerctl.session.renewal import Renewal, Spans, TokenInFiles
from tests.session_room import NoLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOON_S = 60.0
QUICK = Spans(look_s=0.02, least_s=0.0, most_s=SOON_S, steps_s=(0.01,))
PROFILE = Profile(
    name="p", issuer="https://issuer.example", flow="client_credentials", client_id="c"
)
REQUEST = TokenRequest(profile="p", requester=Requester(uid=0, pid=1, session="ab" * 16))


def make_token(number: int, left_s: float = 3600.0, life_s: float = 3600.0) -> AccessToken:
    """Return a token with so much left of its life."""
    now = time.time()
    return AccessToken(
        value=Secret(f"token {number} " + "x" * 3000),
        token_type="Bearer",
        expires_at=now + left_s,
        scopes=(),
        profile="p",
        issuer=PROFILE.issuer,
        subject=None,
        resource=(),
        fingerprint=f"{number:032}",
        source="issue",
        issued_at=now + left_s - life_s,
    )


class Room:
    """One session with a file, whose token is due at once, and what happened in it."""

    def __init__(self, folder: Path, system: System = SYSTEM, *, is_own: bool = False) -> None:
        self.events: list[tuple[str, Any]] = []
        self.get: Callable[[TokenRequest], AccessToken] = lambda _: make_token(2)
        self.check: Callable[[TokenRequest], object] = lambda _: None
        self.grants: tuple[str, ...] = ()
        self.refused = 0  # how many entries more the store does not take
        os.chmod(folder, 0o700)
        request = REQUEST.replace(is_own=is_own)
        tools = self.make_tools(folder, system)
        self.ends = SessionEnd("ab" * 16, ("p",) if is_own else (), tools, has_files=True)
        first = make_token(1, left_s=600.0)
        self.entry: bytes | None = None
        self.ends.begin()
        self.path = self.ends.fill({"F": first.value}, first.expires_at)["F"]
        self.events.clear()
        where = ChildVariable(profile=PROFILE, variables=(), files=("F",))
        self.tokens = {"p": first}
        self.held = TokenInFiles(ExecRequest(command=("x",)), request, where, self.tokens)
        self.renewal = Renewal([self.held], self.ends, tools, spans=QUICK)

    def make_tools(self, folder: Path, system: System) -> Tools:
        """Return the tools of a session, which note what they are used for."""

        def get(request: TokenRequest) -> AccessToken:
            self.events.append(("get", request))
            return self.get(request)

        def check(request: TokenRequest) -> object:
            self.events.append(("check", request))
            return self.check(request)

        def note(event: str, value: Any) -> None:  # noqa: ANN401 - whatever it was
            self.events.append((event, value))

        store: Any = self
        tools = Tools(
            profiles={"p": PROFILE},
            environ={"XDG_RUNTIME_DIR": str(folder)},
            default_profile=None,
            requester=lambda _: REQUEST.requester,
            get=get,
            revoke_own=lambda *_: [],
            record=note,
            store=store,
            name_of=lambda session_id: session_id,
            say=lambda _: None,
            warn=lambda text: note("warn", text),
            system=system,
            check=check,
            grants_of=lambda _: self.grants,
        )
        return tools.replace(open_again=lambda: tools)

    def put_sealed(self, _kind: int, _name: str, data: bytes) -> None:
        """Note when the last token ends, and what the file has at that moment."""
        if self.refused:
            self.refused -= 1
            raise StoreError("disk full")
        session = parse_session(data)
        assert session is not None
        path = f"{session.folder}/F"
        self.entry = data
        before = read(path) if os.path.isfile(path) else ""
        self.events.append(("entry", (session.ends_at, session.grants, before[:7])))

    def find_sealed(self, _kind: int, _name: str) -> bytes | None:
        """Return the session's entry."""
        return self.entry

    def lock_entry(self, _name: str) -> NoLock:
        """Return a lock that nobody else wants."""
        return NoLock()

    def drop_sealed(self, _kind: int, _name: str) -> None:
        """Note it."""
        self.entry = None
        self.events.append(("dropped", None))

    def values(self, event: str) -> list[Any]:
        """Return what was noted of an event."""
        return [value for name, value in self.events if name == event]

    def begin(self) -> None:
        """Let the thread run; what it has hidden is an event as well."""
        self.renewal.begin(lambda values: self.events.append(("hide", values)))

    def wait_for(self, what: Callable[[], object]) -> None:
        """Wait until something is so, and end the thread."""
        until = time.monotonic() + SOON_S
        while not what():
            assert time.monotonic() < until
            time.sleep(0.001)
        assert self.renewal.finish()


def read(path: str) -> str:
    """Return what a file has."""
    with open(path, encoding="utf-8") as file:
        return file.read()
