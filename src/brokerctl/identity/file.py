"""A token that lies in a file: Kubernetes' projected one, a JWT-SVID, or any other's.

It is read anew each time, as whoever writes it replaces it before its end. Source: kubernetes.io,
"Managing Service Accounts"; the SPIFFE JWT-SVID specification, section 3.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.identity.by_variables import ByVariables
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

_MAX_BYTES = 65536
_CLUSTER = "kubernetes.io"  # the claim of a service account's token


class TokenFile(ByVariables):
    """A token in a file that the profile names."""

    def find_ids(self, source: Reference, environ: Mapping[str, str]) -> tuple[str, ...] | None:
        """Return the pod's uid or the SVID's id, as the file has it now; of any other, its `sub`.

        Security: nothing of it is believed here: it only keeps apart what is stored.
        """
        from brokerctl.identity.proof import read_jwt  # noqa: PLC0415 - it reads what is asked for
        from brokerctl.secret import Secret  # noqa: PLC0415 - as above

        try:
            text = _read(source.target[0], environ)
        except OSError:
            return None  # `ask` says what is wrong
        _, claims = read_jwt(Secret(text.strip()))
        return None if claims is None else ids_of(claims)

    def find_proven_id(self, claims: dict[str, Any]) -> str:
        """Return the same of the token that is exchanged; empty where it says nothing of it.

        Security: another token may lie in the file by then, and be another job's.
        """
        ids = ids_of(claims)
        return "" if ids is None else jsonlite.dumps([self.name, *ids])

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - it is set where the file is made
        """Yield the reading of the file."""
        from brokerctl.identity.proof import as_token  # noqa: PLC0415 - as above
        from brokerctl.oauth.steps import ReadFile  # noqa: PLC0415 - as above

        data = yield ReadFile(path=source.target[0])
        try:
            text = data.decode("ascii").strip()
        except UnicodeDecodeError:
            text = ""
        if not text:
            raise UsageError(
                f"{source.target[0]} holds no token", hint=f"it needs {self.traits.permission}"
            )
        return as_token(text, self.traits.title), False

    def describe(self, claims: dict[str, Any]) -> dict[str, Any]:
        """Return the service account as who acts, and its namespace."""
        found = claims.get(_CLUSTER)
        account = _member(_member(found, "serviceaccount"), "name")
        if not isinstance(account, str):
            return {}
        return {"actor": account, "environment": _member(found, "namespace")}


def ids_of(claims: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the pod's uid, or whom a token is of and who says so; None for none of it."""
    if _CLUSTER in claims:
        uid = _member(_member(claims[_CLUSTER], "pod"), "uid")
        return (uid,) if isinstance(uid, str) and uid else None
    sub, issuer = claims.get("sub"), claims.get("iss")
    if not isinstance(sub, str) or not sub:
        return None
    return (issuer, sub) if isinstance(issuer, str) else (sub,)


def _member(table: object, name: str) -> object:
    return table.get(name) if isinstance(table, dict) else None


def expand(path: str, environ: Mapping[str, str]) -> str:
    """Return a path of a profile's without its `~`."""
    return environ.get("HOME", "") + path[1:] if path.startswith("~/") else path


def _read(path: str, environ: Mapping[str, str]) -> str:
    fd = os.open(expand(path, environ), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(fd, _MAX_BYTES).decode("ascii", "replace")
    finally:
        os.close(fd)
