"""What a session serves its child: a socket, a gateway, the endpoints that SDKs know by themselves.

All of it lives in the supervisor's process, in threads of their own, and only where the command
line asks for it. Nothing here opens the store: whatever is handed out comes from the `desk`.
"""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from brokerctl.model import AccessToken, Profile

    class Desk(Protocol):
        """The one way by which everything that is served gets tokens."""

        def get(self, asked: DeskRequest) -> AccessToken: ...  # noqa: D102 - decided, counted, recorded
        def profile(self, name: str) -> Profile: ...  # noqa: D102 - UsageError: none of the session's
        def record(self, name: str, fields: dict[str, object]) -> None: ...  # noqa: D102 - one line


class DeskRequest(Value):
    """What is asked of the desk; None means "as the session says"."""

    profile: str
    scopes: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    audience: tuple[str, ...] | None = None
    min_ttl_s: float | None = None
    margin: tuple[float, float] | None = None  # what a tool needs left: see `TokenRequest`
    is_fresh: bool = False
    url: str | None = None  # where the token goes
    method: str | None = None  # of the request that it goes with
    path: str | None = None
    tool: str
    purpose: str | None = None
    pid: int | None = None  # of the process that asks; 0: we can't see it
