"""What a flow asks its driver to do. The driver sends the result in, or throws the error in.

| step | is answered with |
|---|---|
| Send | HttpResponse; IssuerError is thrown in (BrokenError where the connection broke) |
| Wait | None, after that many seconds |
| ShowUserCode | None, at once |
| Listen | the redirect URI that is now listened on |
| Visit | the first callback query string that its `accept` does not refuse |
| Identify | Proof; UsageError or IssuerError is thrown in |
| Run | what the command printed, bytes; UsageError is thrown in |
| ReadFile | the file's bytes; UsageError is thrown in |
| FetchSvid | Svid; UsageError or IssuerError is thrown in |
"""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from brokerctl.oauth.message import HttpRequest
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.secret import Secret

    Step = "Send | Wait | ShowUserCode | Listen | Visit | Identify | Run | ReadFile | FetchSvid"
    Steps = Generator["Send | Wait | ShowUserCode | Listen | Visit", Any, TokenAnswer]


class Send(Value):
    """Send one HTTP request."""

    request: HttpRequest
    share: float = 1.0  # the largest part of the remaining time that it may take


class Wait(Value):
    """Do nothing for some seconds, unless the user ends it."""

    seconds: float


class ShowUserCode(Value):
    """Show a person where to go and what to type (RFC 8628, 3.3)."""

    user_code: str  # as the issuer wrote it
    verification_uri: str
    complete: str | None  # the URI with the code in it, for a QR code
    expires_at: float


class Listen(Value):
    """Open the loopback listener; None means any port."""

    port: int | None = None


class Visit(Value):
    """Send a person's browser to the URL and wait for the callback, by listener or pasted.

    `accept(query)` says whether a callback belongs to this login. Security: False means that it is
    somebody else's (another `state`) and must be answered with an error and forgotten, while the
    waiting goes on: otherwise any page could end a login.
    """

    url: str
    redirect_uri: str
    state: Secret
    accept: Callable[[str], bool]


class Identify(Value):
    """Have the platform that we run on sign who this job is, for one audience, anew."""

    audience: str


class Proof(Value):
    """Who this job is, as its platform signed it, and what is kept of the claims (JSON)."""

    token: Secret
    claims: str
    job: str | None = None  # the job that this very token is of; None: it can't be known


class Run(Value):
    """Run a command of the profile's, with no shell and a deadline; `given` is its input."""

    words: tuple[str, ...]
    given: bytes | None = None
    what: str = "an identity"  # that it is asked for, in a message


class ReadFile(Value):
    """Read a token's file, which may belong to root, as in a pod."""

    path: str


class FetchSvid(Value):
    """Ask a SPIFFE agent for this workload's JWT-SVID (Workload API, section 6)."""

    socket: str  # its path
    audience: str


class Svid(Value):
    """A JWT-SVID, and the SPIFFE id that its agent says it is of."""

    token: Secret
    id: str
