"""A container registry on loopback: Debian's docker-registry, and a realm that wants live tokens.

The realm gives a registry's own short JWT (the registry's "token authentication") to whoever sends
an access token of the issuer as a Basic password, and asks the issuer each time. Anybody may pull
what is below `public/`.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import io
import json
import os
import socket
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.idp.tls import make_tls
from tests.program import require_tool

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider

SERVICE, ISSUER = "the test registry", "the test realm"
START_S, PORTS = 20.0, 3
CONFIG = """
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage: {{ filesystem: {{ rootdirectory: "{folder}/data" }} }}
http:
  addr: 127.0.0.1:{port}
  secret: not-one
  tls: {{ certificate: "{server}", key: "{server}" }}
auth:
  token: {{ realm: "{realm}/token", service: "{service}", issuer: "{issuer}",
           rootcertbundle: "{folder}/realm.pem" }}
"""


class Seen(NamedTuple):
    """One request to the realm: who sent it, for what, and how it was answered."""

    user: str | None
    scope: str
    status: int


class Registry:
    """A running registry and its realm; `seen` has what the realm was asked."""

    def __init__(self, folder: str, issuer: OidcProvider) -> None:
        self.folder = folder
        self.issuer = issuer
        self.seen: list[Seen] = []
        self._program = require_tool("docker-registry")
        tls = make_tls(folder)
        self.ca_file = tls.ca_file
        self._server_file = tls.server_file
        self._key, self._chain = _make_realm_key(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.server_file)
        server = self

        class Handler(_Realm):
            registry = server

        self._realm = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._realm.socket = context.wrap_socket(self._realm.socket, server_side=True)
        self._context = ssl.create_default_context(cafile=tls.ca_file)
        self.port, self.name, self.url = 0, "", ""

    def __enter__(self) -> Self:
        """Start both and wait until the registry listens."""
        threading.Thread(target=self._realm.serve_forever, daemon=True).start()
        for _ in range(PORTS):
            if self._start(_free_port()):
                return self
        raise RuntimeError("the registry did not start")

    def _start(self, port: int) -> bool:
        """Start the registry and wait until it listens; False where another has the port."""
        self.port, self.name = port, f"127.0.0.1:{port}"
        self.url = f"https://{self.name}"
        path = os.path.join(self.folder, "registry.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                CONFIG.format(
                    folder=self.folder,
                    port=port,
                    server=self._server_file,
                    realm=f"https://127.0.0.1:{self._realm.server_port}",
                    service=SERVICE,
                    issuer=ISSUER,
                )
            )
        with open(os.path.join(self.folder, "registry.log"), "wb") as log:
            self._process = subprocess.Popen(
                [self._program, "serve", path], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + START_S
        while self.status("/v2/") != 401:
            if self._process.poll() is not None:
                return False
            assert time.monotonic() < end, "the registry does not listen"
            time.sleep(0.05)
        return True

    def __exit__(self, *_: object) -> None:
        """Stop both."""
        self._process.terminate()
        self._process.wait(timeout=10)
        self._realm.shutdown()
        self._realm.server_close()

    def status(self, path: str) -> int:
        """Return the status that the registry answers to nobody in particular; 0: no answer."""
        handler = urllib.request.HTTPSHandler(context=self._context)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
        try:
            with opener.open(self.url + path, timeout=10) as answer:
                found: int = answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0
        return found

    def users(self) -> set[str | None]:
        """Return who was let in."""
        return {one.user for one in self.seen if one.status == 200}

    def mint(self, user: str, scopes: list[str]) -> str:
        """Return the registry's own token, signed by the key that it knows."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": user,
            "exp": now + 60,
            "nbf": now - 10,
            "iat": now,
            "jti": os.urandom(8).hex(),
            "access": access,
        }
        return jwt.encode({"alg": "ES256", "typ": "JWT", "x5c": self._chain}, claims, self._key)


class _Realm(BaseHTTPRequestHandler):
    """The realm's GET and POST (distribution's "Docker Registry v2 authentication")."""

    registry: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a request with a Basic password, or with none."""
        asked = parse_qs(urlsplit(self.path).query)
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            self._let_in(None, asked.get("scope", []))
            return
        user, _, password = base64.b64decode(value).decode().partition(":")
        self._judge(user, password, asked.get("scope", []))

    def do_POST(self) -> None:
        """Answer the OAuth form, whose identity token would be a refresh token."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = parse_qs(body.decode())
        user, password = asked.get("username", [""])[0], asked.get("password", [""])[0]
        scopes = asked.get("scope", [""])[0].split()
        if asked["grant_type"] != ["password"]:
            self._answer("<token>", scopes, 401, {})
            return
        self._judge(user, password, scopes)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _judge(self, user: str, password: str, scopes: list[str]) -> None:
        if self.registry.issuer.is_active(password):
            self._let_in(user, scopes)
        else:
            self._answer(user, scopes, 401, {"errors": [{"code": "UNAUTHORIZED"}]})

    def _let_in(self, user: str | None, scopes: list[str]) -> None:
        if user is None:
            scopes = [s for s in scopes if s.startswith("repository:public/")]
            scopes = [f"{s.rpartition(':')[0]}:pull" for s in scopes]
        token = self.registry.mint(user or "", scopes)
        body = {"token": token, "access_token": token, "expires_in": 60}
        self._answer(user, scopes, 200, body)

    def _answer(
        self, user: str | None, scopes: list[str], status: int, body: dict[str, Any]
    ) -> None:
        self.registry.seen.append(Seen(user, " ".join(scopes), status))
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def make_image(folder: str, text: str = "hello") -> str:
    """Write an image of one small layer as an OCI layout, and return how skopeo calls it."""
    path = os.path.join(folder, "image")
    blobs = os.path.join(path, "blobs", "sha256")
    os.makedirs(blobs)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as file:
            file.write(data)
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            info = tarfile.TarInfo("hello.txt")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        layer = buffer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(gzip.compress(layer), "layer.v1.tar+gzip")],
    }
    named = put(json.dumps(manifest).encode(), "manifest.v1+json")
    named["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    for name, value in (
        ("index.json", {"schemaVersion": 2, "manifests": [named]}),
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
    ):
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
    return f"oci:{path}:1"


def _make_realm_key(folder: str) -> tuple[ECKey, list[str]]:
    """Write a new certificate where the registry reads it; return its key and itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the test realm")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    with open(os.path.join(folder, "realm.pem"), "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    der = certificate.public_bytes(serialization.Encoding.DER)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return ECKey.import_key(pem), [base64.b64encode(der).decode()]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
