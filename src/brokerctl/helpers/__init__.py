"""Other tools' credential protocols, one file each, and the table that names them.

A protocol is values in, values out: it reads a tool's request and renders one of five outcomes,
*credential, not ours, login needed, denied, failed* (contract, section 6). The I/O around it is
`door`'s, and who may have what is the broker's: a helper is one more way to ask it.
"""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from brokerctl.errors import BrokerError
    from brokerctl.model import AccessToken, Profile
    from brokerctl.secret import Secret

HELPERS = {
    "git": "brokerctl.helpers.git:Git",
}
GET, ERASE = "get", "erase"


class MalformedError(ValueError):
    """A request that no honest tool sends; its text says why, and holds nothing of the request."""


class Wanted(Value):
    """What a tool asks for: the credential of a URL, or that one be used no more."""

    action: str  # get | erase
    url: str
    username: str | None = None
    rejected: Secret | None = None  # of erase: what the server did not take
    can_bearer: bool = False  # the tool sends what it is told to, and the server wants a bearer


class Answer(Value):
    """What the tool is told: bytes for its stdout, and the exit code of its protocol."""

    stdout: bytes = b""
    exit_code: int = 0


if TYPE_CHECKING:

    class Helper(Protocol):
        """One tool's protocol; nothing here reads, writes or waits."""

        def read(self, words: list[str], stdin: bytes) -> Wanted | Answer:
            """Read a request; MalformedError, or the answer where nothing has to be asked."""

        def credential(self, wanted: Wanted, answer: AccessToken, profile: Profile) -> Answer:
            """Render a token."""

        def not_ours(self) -> Answer:
            """Let the tool ask somebody else."""

        def refusal(self, error: BrokerError) -> Answer:
            """Render what brokerctl has said on stderr already: login needed, denied or failed."""
