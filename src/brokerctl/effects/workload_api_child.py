"""The process that asks a SPIFFE agent for JWT-SVIDs, over gRPC on a Unix socket.

Run as a file by workload_api.py with `python -I`, and by nothing else; imports nothing of ours. One
JSON request on stdin (`socket`, a path; `audience`; `timeout_s`, in seconds), one JSON answer on
stdout: `svid`, `id` and how many there were (`count`), or the `code` of a refusal by gRPC's name,
or the package that is `missing`. Source: the SPIFFE Workload API, sections 3, 4 and 6.
"""

from __future__ import annotations

import json
import os
import sys
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_METHOD = "/SpiffeWorkloadAPI/FetchJWTSVID"
# Section 4.1: what a browser or a proxy that was tricked into asking would not send.
_METADATA = (("workload.spiffe.io", "true"),)
_MAX_BYTES = 262_144  # of an answer; a JWT of more than 32 KiB is none for us
_CHANNEL = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", _MAX_BYTES),
)
# The messages of section 6.2 that we use: each field with its number, whether there can be several
# of it, and the message that it is; "" is a string. Other fields are left unread.
_MESSAGES: dict[str, tuple[tuple[str, int, bool, str], ...]] = {
    "JWTSVIDRequest": (("audience", 1, True, ""), ("spiffe_id", 2, False, "")),
    "JWTSVIDResponse": (("svids", 1, True, "JWTSVID"),),
    "JWTSVID": (("spiffe_id", 1, False, ""), ("svid", 2, False, "")),
}


def make_messages() -> dict[str, Any]:
    """Return the classes of the messages, by their names."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415 - it may be missing

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="workload.proto", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, is_repeated, of in fields:
            message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if is_repeated else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if of else kinds.TYPE_STRING,
                type_name=f".{of}" if of else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for name in _MESSAGES
    }


def fetch(path: str, audience: str, timeout_s: float) -> dict[str, object]:
    """Return the answer to one request, or the code of what went wrong."""
    import grpc  # noqa: PLC0415 - it may be missing

    messages = make_messages()
    with grpc.insecure_channel(f"unix:{quote(path)}", options=_CHANNEL) as channel:
        call = channel.unary_unary(
            _METHOD,
            request_serializer=messages["JWTSVIDRequest"].SerializeToString,
            response_deserializer=messages["JWTSVIDResponse"].FromString,
        )
        request = messages["JWTSVIDRequest"](audience=[audience])
        try:
            answer = call(request, timeout=timeout_s, metadata=_METADATA)
        except grpc.RpcError as error:
            return {"code": error.code().name}
    # Section 5.3, for JWT-SVIDs too: of several identities the first is the default.
    first = answer.svids[0] if answer.svids else messages["JWTSVID"]()
    return {"svid": first.svid, "id": first.spiffe_id, "count": len(answer.svids)}


def main() -> None:
    """Answer the one request."""
    # Security: gRPC's own settings (GRPC_TRACE and the like) are not for whoever sets a variable.
    for name in [name for name in os.environ if name.startswith("GRPC_")]:
        del os.environ[name]
    asked = json.loads(sys.stdin.buffer.read())
    try:
        found = fetch(asked["socket"], asked["audience"], asked["timeout_s"])
    except ImportError as error:
        found = {"missing": error.name}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
