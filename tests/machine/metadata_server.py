"""Google's metadata server at its own address, in a network namespace that has nothing else.

Run by `unshare -n`: `metadata_server.py TOKEN PROGRAM WORD…` gives loopback the link-local address,
answers there with the token, runs the program, and prints (JSON) each request's path and headers,
the exit code and both streams.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "169.254.169.254"
_SET_ADDRESS, _SET_FLAGS, _UP = 0x8916, 0x8914, 1  # netdevice(7)


def add_address() -> None:
    """Bring loopback up, with the address beside its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        fcntl.ioctl(link, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
        quad = socket.inet_aton(ADDRESS)
        request = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, quad)
        fcntl.ioctl(link, _SET_ADDRESS, request)


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the token."""

    seen: list[dict[str, str]] = []  # noqa: RUF012 - of this process, which serves one program

    def do_GET(self) -> None:
        """Note the request, and answer."""
        self.seen.append({"path": self.path} | {k.lower(): v for k, v in self.headers.items()})
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve one program."""
    add_address()
    server = ThreadingHTTPServer((ADDRESS, 80), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = subprocess.run(
        sys.argv[2:], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    found = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
    sys.stdout.write(json.dumps(found | {"seen": Handler.seen}))


if __name__ == "__main__":
    main()
