"""A PostgreSQL server on loopback that takes a live token as the password, by way of RADIUS."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider

SECRET = "between-two"
ACCEPT, REJECT = 2, 3
PASSWORD_ATTRIBUTE = 2
BLOCK = 16


def find_programs() -> str:
    """Return the folder of `initdb` and `pg_ctl`; without them this is skipped, in CI too.

    Debian's package would make a cluster and start it, which a test must not do to a machine.
    """
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found or shutil.which("psql") is None:
        pytest.skip("no PostgreSQL server on this machine")
    return os.path.dirname(found[-1])


class Radius:
    """Answers the server's question whether a password is right (RFC 2865): it asks the issuer."""

    def __init__(self, issuer: OidcProvider) -> None:
        self._issuer = issuer
        self.answers: list[int] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                request, sender = self._socket.recvfrom(4096)
            except OSError:
                return
            live = self._issuer.use(_password(request)).status == 200
            code = ACCEPT if live else REJECT
            self.answers.append(code)
            head = bytes((code, request[1])) + (20).to_bytes(2, "big")
            proof = hashlib.md5(head + request[4:20] + SECRET.encode()).digest()  # noqa: S324 - RADIUS has no other
            self._socket.sendto(head + proof, sender)


def _password(request: bytes) -> str:
    """Return the password of an Access-Request (RFC 2865, section 5.2)."""
    at = 20
    while request[at] != PASSWORD_ATTRIBUTE:
        at += request[at + 1]
    hidden, last, plain = request[at + 2 : at + request[at + 1]], request[4:20], b""
    for start in range(0, len(hidden), BLOCK):
        block = hidden[start : start + BLOCK]
        pad = hashlib.md5(SECRET.encode() + last).digest()  # noqa: S324 - as above
        plain += bytes(a ^ b for a, b in zip(block, pad, strict=True))
        last = block
    return plain.rstrip(b"\0").decode()


class Postgres:
    """A server with the role `alice`; as root it runs as the user `postgres`, since it must."""

    def __init__(self, issuer: OidcProvider) -> None:
        self._programs = find_programs()
        self._user = "postgres" if os.getuid() == 0 else None
        self.radius = Radius(issuer)
        self._folder = tempfile.mkdtemp(
            prefix="pg-", dir="/tmp"
        )  # its user can't enter a private one
        if self._user:
            shutil.chown(self._folder, self._user)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port: int = server.getsockname()[1]

    def __enter__(self) -> Self:
        """Make it and start it."""
        data = os.path.join(self._folder, "data")
        self._run("initdb", "-D", data, "-U", "alice", "-A", "trust", "--no-sync")
        options = (
            f'radiusservers="127.0.0.1" radiusports="{self.radius.port}" radiussecrets="{SECRET}"'
        )
        with open(os.path.join(data, "pg_hba.conf"), "w", encoding="utf-8") as file:
            file.write(f"host all all 127.0.0.1/32 radius {options}\n")
        told = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder} -F"
        log = os.path.join(self._folder, "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-o", told, "-w", "-t", "30", "start")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove it."""
        self._run("pg_ctl", "-D", os.path.join(self._folder, "data"), "-m", "immediate", "stop")
        self.radius.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [os.path.join(self._programs, program), *words],
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            user=self._user,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
