"""What every server of these tests is: it runs in a thread, on loopback, behind TLS if asked."""

from __future__ import annotations

import ssl
import threading
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler


class Serving:
    """A server that runs as long as the `with` does; `host` has its port, `ca_file` its CA."""

    ca_file = ""

    def listen(
        self,
        handler: type[BaseHTTPRequestHandler],
        tls_folder: str | None = None,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        """Take the port; with a folder for the certificates it speaks TLS."""
        self._http = ThreadingHTTPServer(address, handler)
        if tls_folder is not None:
            files = make_tls(tls_folder)
            self.ca_file = files.ca_file
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.server_file)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.host = f"{address[0]}:{self._http.server_port}"
        self.url = f"http{'s' if tls_folder is not None else ''}://{self.host}"

    def __enter__(self) -> Self:
        """Start to serve."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()
