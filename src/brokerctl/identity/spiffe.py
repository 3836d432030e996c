"""SPIFFE: a JWT-SVID in a file, or from the Workload API of the agent on this machine.

Source: the SPIFFE specifications JWT-SVID, section 3, Workload API, section 6, and Workload
Endpoint, section 4 (`unix:///path`). The variable SPIFFE_ENDPOINT_SOCKET counts for nothing: a
profile names the socket.
"""

from __future__ import annotations

from brokerctl.errors import IssuerError
from brokerctl.identity.file import TokenFile, expand
from brokerctl.platform.system import os, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

SCHEME = "unix://"
_ID = "spiffe://"


class Spiffe(TokenFile):
    """A workload that a SPIFFE agent knows, or whose JWT-SVID lies in a file."""

    def find_ids(self, source: Reference, environ: Mapping[str, str]) -> tuple[str, ...] | None:
        """Return the SVID's id as the file has it now; None where the agent has to be asked."""
        is_asked = find_socket(source.target[0], environ) is not None
        return None if is_asked else super().find_ids(source, environ)

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:
        """Yield the question to the agent, or the reading of the file."""
        from brokerctl.identity.proof import as_token, read_jwt  # noqa: PLC0415 - as in file.py
        from brokerctl.oauth.steps import FetchSvid  # noqa: PLC0415 - as above

        socket = find_socket(source.target[0], environ)
        if socket is None:
            return (yield from super().ask(source, environ, audience))
        svid = yield FetchSvid(socket=socket, audience=audience)
        token = as_token(svid.token.reveal(), self.traits.title)
        _, claims = read_jwt(token)
        if claims is not None and not _is_of(claims.get("sub"), svid.id):
            raise IssuerError(f"{self.traits.title} gave a token that is not of the id beside it")
        return token, True


def find_socket(target: str, environ: Mapping[str, str]) -> str | None:
    """Return the path of the agent's socket; None where the profile names a token's file."""
    if target.startswith(SCHEME):
        return target.removeprefix(SCHEME)
    try:
        is_socket = stat.S_ISSOCK(os.stat(expand(target, environ)).st_mode)
    except OSError:
        return None
    return target if is_socket else None


def _is_of(sub: object, svid_id: str) -> bool:
    return isinstance(sub, str) and sub == svid_id and sub.startswith(_ID)
