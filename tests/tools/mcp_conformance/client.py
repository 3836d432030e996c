"""A client of MCP (the Model Context Protocol) in a few lines, whose tokens are all brokerctl's.

MCP's conformance suite starts it as `python client.py URL`, with the scenario and what it needs in
MCP_CONFORMANCE_SCENARIO and MCP_CONFORMANCE_CONTEXT. It finds the server's issuer (RFC 9728),
writes a configuration for brokerctl, and lists the server's tools with the token that
`brokerctl get` printed. It sends no request to an issuer itself.

With REFUSED_SCOPE it goes on as a workload whose assertions must fail: two that brokerctl has to
keep to itself, then a scope that the issuer refuses. For mistakes that the suite has to find,
SUBJECT names the assertion of the first request, and SECRET a secret that is not the scenario's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any, NamedTuple

VERSION = os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
# What must fail, and its exit code: an audience is for the user to set right, the rest is refused.
FAILING = {"wrong_audience": 2, "expired": 5, "refused": 5}


class Server(NamedTuple):
    """The MCP server: its address, which is the resource too, and the issuer of its tokens."""

    url: str
    issuer: str


def discover(url: str) -> Server:
    """Ask without a token; the refusal names the metadata that names the issuer."""
    challenge = ""
    try:
        call(url, "", initialize())
    except urllib.error.HTTPError as error:
        challenge = error.headers["WWW-Authenticate"]
        error.close()
    found = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert found, "the server does not say where its metadata is"
    with urllib.request.urlopen(found[1]) as answer:
        metadata = json.load(answer)
    assert metadata["resource"] == url
    return Server(url, metadata["authorization_servers"][0])


def private_file(name: str, text: str) -> str:
    """Write a file that only we can read; return it as a reference of the configuration."""
    path = os.path.join(os.environ["HOME"], name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return f'{{ file = "{path}" }}'


def profile(name: str, server: Server, client_id: str, **keys: str) -> str:
    """Return a profile's lines."""
    issuer, resource = f'"{server.issuer}"', f'["{server.url}"]'
    given = {"issuer": issuer, "client_id": f'"{client_id}"', "resource": resource, **keys}
    return "\n".join([f"[profile.{name}]", *(f"{key} = {value}" for key, value in given.items())])


def with_secret(context: dict[str, str]) -> dict[str, str]:
    """Return the keys of a client with a secret."""
    secret = os.environ.get("SECRET", context["client_secret"])
    return {
        "client_auth": '"client_secret_basic"',
        "client_secret": private_file("secret", secret),
    }


def of_basic(server: Server, context: dict[str, str]) -> list[str]:
    """Return a profile for the client credentials grant with a secret."""
    keys = {"flow": '"client_credentials"', **with_secret(context)}
    return [profile("mcp", server, context["client_id"], **keys)]


def of_key(server: Server, context: dict[str, str]) -> list[str]:
    """Return a profile for the client credentials grant with an assertion of our own."""
    keys = {
        "flow": '"client_credentials"',
        "client_auth": '"private_key_jwt"',
        "client_key": private_file("key.pem", context["private_key_pem"]),
    }
    return [profile("mcp", server, context["client_id"], **keys)]


def of_workload(server: Server, context: dict[str, str]) -> list[str]:
    """Return a profile for each assertion of the workload, and one for a scope that is refused."""
    shown = {name: private_file(name, context[name]) for name in context if name.endswith("_jwt")}
    first = {"identity": shown["valid_jwt"]}
    if "SUBJECT" in os.environ:  # sent as it is, for an identity would be read first
        first = {"exchange": f"{{ subject = {shown[os.environ['SUBJECT']]} }}"}
    refused = f'["{os.environ.get("REFUSED_SCOPE", "none")}"]'
    profiles = {
        "mcp": first,
        "wrong_audience": {"identity": shown["wrong_audience_jwt"]},
        "expired": {"identity": shown["expired_jwt"]},
        "refused": {"identity": shown["valid_jwt"], "scopes": refused},
    }
    return [
        profile(name, server, context["client_id"], flow='"jwt_bearer"', **keys)
        for name, keys in profiles.items()
    ]


def of_enterprise(server: Server, context: dict[str, str]) -> list[str]:
    """Return a chain: the ID token for a grant (ID-JAG) at its issuer, the grant for a token."""
    subject = private_file("id_token", context["idp_id_token"])
    asked = f'{{ subject = {subject}, subject_type = "id_token", requested_type = "id-jag" }}'
    idp = server._replace(issuer=context["idp_issuer"])
    grant = {"flow": '"token_exchange"', "exchange": asked}
    target = {"flow": '"jwt_bearer"', "exchange": '{ subject = { profile = "grant" } }'}
    return [
        profile("grant", idp, context["idp_client_id"], **grant),
        profile("mcp", server, context["client_id"], **target, **with_secret(context)),
    ]


PROFILES = {
    "auth/client-credentials-basic": of_basic,
    "auth/client-credentials-jwt": of_key,
    "auth/wif-jwt-bearer": of_workload,
    "auth/enterprise-managed-authorization": of_enterprise,
}


def get(name: str) -> str:
    """Return the token of a profile; what goes wrong is shown by brokerctl itself."""
    words = ["brokerctl", "get", name]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def initialize() -> dict[str, Any]:
    """Return the first request of a session."""
    about = {"name": "brokerctl-test", "version": "1"}
    params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": about}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


def call(url: str, token: str, message: dict[str, Any]) -> None:
    """Send one message with a token, or without one where that is empty."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    request = urllib.request.Request(url, json.dumps(message).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        answer.read()


def main(url: str) -> None:
    """Use the server with a token of brokerctl's."""
    server, context = discover(url), json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])
    profiles = PROFILES[os.environ["MCP_CONFORMANCE_SCENARIO"]](server, context)
    with open(
        os.open(os.environ["BROKERCTL_CONFIG"], os.O_WRONLY | os.O_CREAT, 0o600), "w"
    ) as file:
        file.write("\n".join(profiles) + "\n")
    token = get("mcp")
    call(url, token, initialize())
    call(url, token, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    call(url, token, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
    if "REFUSED_SCOPE" in os.environ:
        for name, code in FAILING.items():
            done = subprocess.run(["brokerctl", "get", name, "--fresh"], check=False)
            assert done.returncode == code, f"{name}: {done.returncode}"


if __name__ == "__main__":
    main(sys.argv[1])
