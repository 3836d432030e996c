"""A session: one supervised `exec`, from the request for its tokens to their end.

This file has the room's two inputs: what a command line asks for (`ExecRequest`), and what the
rooms below provide (`Tools`). Both parsers, the hand-written one of the front door and Typer, make
an `ExecRequest`, with which `session.run.run` is called.
"""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Protocol, Self

    from brokerctl.model import AccessToken, Profile, Requester, TokenRequest
    from brokerctl.platform.system import System

    class SealedEntry(Protocol):
        """One entry as the store lists it; `value` is None where it is damaged."""

        @property
        def name(self) -> str: ...  # noqa: D102 - the class says it
        @property
        def value(self) -> object: ...  # noqa: D102 - the class says it

    class Ended(Protocol):
        """How one token of a session ended; `brokerctl.broker.revoke` makes them."""

        @property
        def profile(self) -> str: ...  # noqa: D102 - the class says it
        @property
        def outcome(self) -> str: ...  # noqa: D102 - revoked | expired | local_only | unknown
        @property
        def until(self) -> float | None: ...  # noqa: D102 - what is not dead lives until then
        @property
        def reason(self) -> str: ...  # noqa: D102 - the class says it
        @property
        def notice(self) -> str: ...  # noqa: D102 - what people must be told at once

    class Services(Protocol):
        """What serves the child of a session that has terms (`ExecRequest.is_bounded`)."""

        def get(self, request: TokenRequest, /) -> AccessToken:
            """Return a token for the child's variables or files, by the terms of the session."""

        def variables(self) -> Mapping[str, str]:
            """Return what tells the child where to ask."""

        def start(self) -> None:
            """Begin to answer, after the child was started: no thread is there before."""

        def close(self) -> bool:
            """Answer nothing any more; False where a token may be on its way all the same."""

    # Of its request, id, own profiles, purpose, and its `cleanup.SessionEnd`.
    Serve = Callable[[Any, str, tuple[str, ...], str | None, Any], "Services"]

    class HeldLock(Protocol):
        """The lock of one entry, as a context."""

        def __enter__(self) -> Self: ...
        def __exit__(self, *_: object) -> None: ...
        def remove(self) -> None: ...  # noqa: D102 - the entry is gone and comes no more

    class SessionStore(Protocol):
        """What a session needs of the store: sealed blobs by kind and name."""

        def find_sealed(self, kind: int, name: str) -> bytes | None: ...  # noqa: D102 - store's
        def lock_entry(self, name: str) -> HeldLock: ...  # noqa: D102 - store's

        def put_sealed(self, kind: int, name: str, data: bytes) -> None: ...  # noqa: D102 - store's
        def drop_sealed(self, kind: int, name: str) -> object: ...  # noqa: D102 - store's
        def entries(self, kind: int) -> Iterator[SealedEntry]: ...  # noqa: D102 - store's


SOCKET, GATEWAY = "socket", "gateway"
SERVED = (SOCKET, GATEWAY)
AWS = "aws"  # as the session's entry has it


class ExecRequest(Value):
    """What one `exec` command line asks for; None means "as the profile says"."""

    command: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()  # (variable, profile)
    files: tuple[tuple[str, str], ...] = ()  # (variable, profile)
    subject: str | None = None
    scopes: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    audience: tuple[str, ...] | None = None
    ttl_s: float | None = None
    min_ttl_s: float | None = None
    purpose: str | None = None
    is_own: bool | None = None  # --revoke | --keep | neither
    is_clean: bool = False
    is_masked: bool | None = None  # --mask | --no-mask | neither
    agent: str | None = None
    uses: int | None = None
    rate: tuple[int, int] | None = None  # so many hand-outs in so many seconds
    hosts: tuple[str, ...] | None = None  # --allow-host, in canonical form
    serves: tuple[str, ...] = ()  # of SERVED: what the child can ask, in place of a variable
    aws: str | None = None  # the profile whose credentials AWS's SDKs ask for by themselves

    @property
    def is_bounded(self) -> bool:
        """Whether the session has terms, by which each hand-out in it is decided anew."""
        given = (self.agent, self.uses, self.rate, self.hosts, self.aws)
        return bool(self.serves) or any(one is not None for one in given)


class Tools(Value):
    """What a session needs from the rooms below; `session.start` makes it from an open Home."""

    profiles: Mapping[str, Profile]
    environ: Mapping[str, str]
    default_profile: str | None
    requester: Callable[[str], Requester]  # of a session id
    get: Callable[[TokenRequest], AccessToken]
    # Revokes every token that `get` obtained for a session id, of these profiles. A token that
    # could not be revoked now is queued and returned as `unknown`. If it raises, the session's
    # entry stays, and a later command tries again (leftovers.py).
    revoke_own: Callable[[str, tuple[str, ...]], Iterable[Ended]]
    record: Callable[[str, dict[str, object]], object]
    store: SessionStore
    name_of: Callable[[str], str]  # a session id's name in the store
    say: Callable[[str], None]  # one line for people, on stderr
    warn: Callable[[str], None]  # a warning for people, which is made safe
    system: System
    notices: Callable[[AccessToken], list[str]] = lambda token: list(filter(None, [token.warning]))
    # The names of the grants that these profiles lead to, for who comes after a SIGKILL.
    grants_of: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda _: ()
    # Opens what a session with terms serves: its request, id, own profiles, purpose and entry.
    serve: Serve | None = None
    umask: int | None = None  # the caller's own, if ours was changed
    # Whether later commands find a profile's tokens; else they end with this process.
    is_kept: Callable[[str], bool] = lambda _: True
    # Raises what `get` would, as far as that is known without the issuer; nothing is recorded.
    check: Callable[[TokenRequest], object] = lambda _: None
    # The same for another thread, with configuration and policy as they are then.
    open_again: Callable[[], Tools] | None = None
