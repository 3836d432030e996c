"""The client of a session's socket, for our own programs in the session.

It is written by hand on the interpreter's own sockets, since importing an HTTP library costs more
than all else; at the other end stands `serve.unix_socket`, and nothing else is read from it.
"""

from __future__ import annotations

import _socket
import time

from brokerctl import __version__, jsonlite
from brokerctl.config.paths import SOCKET_VARIABLE
from brokerctl.errors import (
    AuditError,
    BrokerError,
    DeniedError,
    IssuerError,
    LockTimeoutError,
    LoginNeededError,
    SessionEndedError,
    StoreError,
    UsageError,
)
from brokerctl.model import AccessToken, Profile
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_WAIT_S = 60.0  # as the supervisor may wait for an issuer, and for another process before
_READ_BYTES = 1 << 16
_MOST_BYTES = 1 << 22
_ERRORS: dict[int, type[BrokerError]] = {
    2: UsageError,
    3: LoginNeededError,
    4: DeniedError,
    5: IssuerError,
    6: StoreError,
    7: AuditError,
    8: LockTimeoutError,
}
_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def profiles_of(found: list[dict[str, Any]]) -> dict[str, Profile]:
    """Return the profiles of a listing, as far as a session shows them."""
    return {
        one["name"]: Profile(
            name=one["name"],
            issuer=one["issuer"],
            flow=one["flow"],
            client_id="",
            scopes=tuple(one["scopes"]),
            resource=tuple(one["resource"]),
            audience=tuple(one["audience"]),
            hosts=tuple(one["hosts"]),
            username=one["username"],
            env=one["env"],
        )
        for one in found
    }


def token_target(name: str, pairs: list[tuple[str, str]]) -> str:
    """Return the target of a request for a profile's token; "": of the profile that `for` names."""
    path = f"/token/{quote(name)}" if name else "/token"
    query = "&".join(f"{key}={quote(value)}" for key, value in pairs)
    return f"{path}?{query}" if query else path


def quote(text: str) -> str:
    """Return text as a part of a URL (RFC 3986, section 2.1)."""
    return "".join(
        chr(byte) if chr(byte) in _SAFE else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def read_token(answer: dict[str, Any]) -> AccessToken:
    """Return the token of an answer; its end is a text that nobody here compares."""
    return AccessToken(
        value=Secret(answer["access_token"]),
        token_type=answer["token_type"],
        expires_at=None if answer["expires_in"] is None else time.time() + answer["expires_in"],
        scopes=tuple(answer["scopes"]),
        profile=answer["profile"],
        issuer=answer["issuer"],
        subject=answer["subject"],
        resource=tuple(answer["resource"]),
        audience=tuple(answer["audience"]),
        fingerprint="",
        source="session",
    )


def ask(environ: Mapping[str, str], method: str, target: str, body: bytes = b"") -> dict[str, Any]:
    """Send one request to the session's socket, and return its answer; raises BrokerError."""
    status, data = exchange(environ[SOCKET_VARIABLE], method, target, body)
    try:
        answer = jsonlite.loads(data)
        if status == 200:  # noqa: PLR2004 - the status OK
            return dict(answer)
        error = answer["error"]
        raise error_of(status, error)
    except (ValueError, KeyError, TypeError) as problem:
        raise IssuerError("the session's socket answers with something else") from problem


def error_of(status: int, told: dict[str, Any]) -> BrokerError:
    """Return the error that the supervisor raised, with its exit code."""
    text, rule = str(told["message"]), told.get("rule")
    if status == 410:  # noqa: PLR2004 - the status Gone
        return SessionEndedError(text, rule=rule)
    if status == 404:  # noqa: PLR2004 - none of the session's
        return DeniedError(text, rule=rule)
    known = _ERRORS.get(told.get("code", 2), BrokerError)
    return known(text, rule=rule, hint="ask whoever started this session")


def exchange(path: str, method: str, target: str, body: bytes) -> tuple[int, bytes]:
    """Send one request over a Unix socket; return status and body, which ends the connection."""
    head = f"{method} {target} HTTP/1.1\r\nHost: session\r\nBrokerctl-Client: {__version__}\r\n"
    head += f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(_WAIT_S)
        sock.connect(path)
        sock.sendall(head.encode("ascii") + body)
        data = b""
        while piece := sock.recv(_READ_BYTES):
            data += piece
            if len(data) > _MOST_BYTES:
                raise IssuerError("the session's socket answers without end")
    except OSError as error:
        if isinstance(error, ConnectionRefusedError | FileNotFoundError):
            raise SessionEndedError("this session has ended: nobody is at its socket") from error
        raise IssuerError("the session's socket does not answer") from error
    finally:
        sock.close()
    head_bytes, found, rest = data.partition(b"\r\n\r\n")
    words = head_bytes.split(b" ", 2)
    if not found or len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004 - version and status
        raise IssuerError("the session's socket answers with something else")
    return int(words[1]), rest
