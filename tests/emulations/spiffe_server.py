"""A SPIFFE agent: the Workload API's JWT-SVIDs, over gRPC on a Unix socket.

It is a process of its own, `python -m tests.emulations.spiffe_server SOCKET`, started by
spiffe_agent.py: gRPC's threads and a test's many forks do not go together. It prints its JWKS, and
then, for each line on stdin (JSON: the arguments of `Agent.set`), the audiences of all requests so
far.

It answers as SPIRE's agent does (pkg/agent/endpoints of github.com/spiffe/spire, facts alone):
without the metadata `workload.spiffe.io: true`, or without an audience, it is INVALID_ARGUMENT; a
workload that it does not know is PERMISSION_DENIED; a JWT-SVID is given again until half of its
lifetime is over. What it can't tell is who asks, which SPIRE reads from the kernel.

Messages are read and written here byte by byte, by the published field numbers, so that a mistake
about them is not shared with the program; tests/tools has another client of the protocol ask.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.emulations.authority import FORGERIES, Authority
from tests.emulations.jobs import ISSUERS
from tests.emulations.service import MIB
from tests.emulations.spiffe_agent import ID

ELSEWHERE = "https://elsewhere.example"
CODES = {
    "permission": grpc.StatusCode.PERMISSION_DENIED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "unimplemented": grpc.StatusCode.UNIMPLEMENTED,
    "internal": grpc.StatusCode.INTERNAL,
}
_METHOD = "FetchJWTSVID"
_TEXT = 2  # the wire type of strings and messages


class Agent:
    """What it answers; each attribute can be set from outside."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.ids = [ID]  # of the workload, the default first
        self.lifetime_s = 300
        self.has_iss = True
        self.fault = ""
        self.seconds = 0.0
        self.seen: list[list[str]] = []
        self._kept: dict[tuple[str, str], tuple[float, str]] = {}

    def set(self, age: float = 0.0, **changes: Any) -> None:  # noqa: ANN401 - values of JSON
        """Change attributes, and make all that it keeps older."""
        for name, value in changes.items():
            setattr(self, name, value)
        for (svid_id, audience), (made, _) in list(self._kept.items()):
            self._kept[svid_id, audience] = self._sign(svid_id, audience, made - age)

    def answer(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's own
        """Answer one request."""
        if dict(context.invocation_metadata()).get("workload.spiffe.io") != "true":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        fields = read_message(request)
        audiences = [value.decode() for number, value in fields if number == 1]
        self.seen.append(audiences)
        if not audiences:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "audience must be specified")
        if self.fault in CODES:
            context.abort(CODES[self.fault], "no identity issued")
        if self.fault == "silence":
            _wait(context, self.seconds)
        return self._message(audiences[0])

    def _message(self, audience: str) -> bytes:
        if self.fault == "garbage":
            return b"\xff\xff\xff<html>"
        if self.fault == "empty":
            return b""
        if self.fault == "huge":
            return write_field(1, write_field(1, ID.encode()) + write_field(2, b"x" * MIB))
        return b"".join(write_field(1, self._svid(one, audience)) for one in self.ids)

    def _svid(self, svid_id: str, audience: str) -> bytes:
        named = "spiffe://example.org/other" if self.fault == "other id" else svid_id
        return write_field(1, named.encode()) + write_field(
            2, self.token(svid_id, audience).encode()
        )

    def token(self, svid_id: str, audience: str) -> str:
        """Return the JWT-SVID of an id, or what the fault makes of it."""
        claims = {"sub": svid_id, "aud": [audience], "nbf": None, "jti": None}
        if self.fault == "not a jwt":
            return "nonsense"
        if self.fault in FORGERIES:
            return self.authority.forge(self.fault, claims)
        if self.fault == "audience":
            return self.authority.sign({**claims, "aud": [ELSEWHERE]})
        now = time.time()
        made, token = self._kept.get((svid_id, audience), (0.0, ""))
        if now - made > self.lifetime_s / 2:
            made, token = self._kept[svid_id, audience] = self._sign(svid_id, audience, now)
        return f"{token} {token}" if self.fault == "two" else token

    def _sign(self, svid_id: str, audience: str, made: float) -> tuple[float, str]:
        times = {"iat": int(made), "exp": int(made + self.lifetime_s), "nbf": None, "jti": None}
        more = {} if self.has_iss else {"iss": None}
        claims = {"sub": svid_id, "aud": [audience], **times, **more}
        return made, self.authority.sign(claims)


def _wait(context: Any, seconds: float) -> None:  # noqa: ANN401 - gRPC's own
    end = time.monotonic() + seconds
    while context.is_active() and time.monotonic() < end:
        time.sleep(0.02)


# --- the wire format (protobuf.dev, "Encoding"): a number and a kind, a length, the bytes ---------


def write_field(number: int, value: bytes) -> bytes:
    """Return a string, or a message within a message."""
    return _varint(number << 3 | _TEXT) + _varint(len(value)) + value


def read_message(data: bytes) -> list[tuple[int, bytes]]:
    """Return the fields of a message that holds strings alone."""
    found, at = [], 0
    while at < len(data):
        key, at = _read_varint(data, at)
        assert key & 7 == _TEXT
        size, at = _read_varint(data, at)
        found.append((key >> 3, data[at : at + size]))
        at += size
    return found


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def main() -> None:
    """Serve until stdin ends."""
    agent = Agent(Authority(ISSUERS["spiffe"]))
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(agent.answer)
    service = grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {_METHOD: handler})
    server.add_generic_rpc_handlers((service,))
    assert server.add_insecure_port(f"unix:{sys.argv[1]}")
    server.start()
    _say(agent.authority.jwks)
    for line in sys.stdin:
        agent.set(**json.loads(line))
        _say(agent.seen)
    server.stop(None).wait()


def _say(found: object) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
