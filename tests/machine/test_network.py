"""What an environment and a home say about the network: no secret goes where they point."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.machine.room import answers, behaves, refused, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import OidcProvider
    from tests.machine.room import Machine
    from tests.program import Program

FRESH = ("get", "person", "--fresh")


class Listener:
    """A server of somebody else's: it keeps what it is sent and says nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(65536))

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Return a listener."""
    made = Listener()
    yield made
    made.close()


def test_no_proxy_for_loopback(machine: Machine, listener: Listener) -> None:
    """Security: whatever names a proxy and whatever NO_PROXY says, we ask this machine itself."""
    for scheme in ("http", "https", "socks5"):
        proxy = f"{scheme}://user:pw@127.0.0.1:{listener.port}"
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        env = dict.fromkeys(names, proxy) | {"NO_PROXY": "example.com", "no_proxy": ""}
        answers(machine.under([], *FRESH, env=env))
    machine.log_is_whole()
    assert listener.heard == []


BAD_PROXIES = (
    "http://[::1",
    "socks9://x:y",
    "\udcff",
    "http://a b",
    "://",
    "x" * 5000,
    "http://:0",
)


@pytest.mark.parametrize("proxy", BAD_PROXIES, ids=range(len(BAD_PROXIES)))
def test_a_proxy_that_is_none(machine: Machine, proxy: str) -> None:
    """A variable that can't be meant is refused where it would be used, and nowhere else."""
    env = {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "ALL_PROXY": proxy}
    answers(machine.under([], "get", "person", env=env))
    with open(machine.config, encoding="utf-8") as file:
        text = file.read().replace(machine.issuer.url, "https://issuer.invalid")
    machine.program.config(text)
    refused(machine.under([], "get", "service", env=env), 2, 5)


def test_a_proxy_sees_names_alone(machine: Machine, listener: Listener) -> None:
    """A hostile one is asked for a tunnel, gets no secret, and is called what failed."""
    with open(machine.config, encoding="utf-8") as file:
        text = file.read().replace(machine.issuer.url, "https://issuer.invalid")
    machine.program.config(text)
    env = {"HTTPS_PROXY": f"http://127.0.0.1:{listener.port}"}
    refused(machine.under([], "get", "service", env=env), 5)
    assert listener.heard
    assert all(
        data.startswith(b"CONNECT issuer.invalid:443 HTTP/1.1\r\n") for data in listener.heard
    )
    secret = (machine.issuer.secrets["basic"] or "").encode()
    assert not any(secret in data or b"uthorization" in data for data in listener.heard)


def test_files_of_other_tools(machine: Machine) -> None:
    """Security: no .netrc and no .curlrc adds credentials to a request of ours."""
    lines = "machine 127.0.0.1 login evil password evil\ndefault login evil password evil\n"
    write_private(os.path.join(machine.home, ".netrc"), lines)
    write_private(os.path.join(machine.home, ".curlrc"), "proxy = http://127.0.0.1:1\n")
    env = {"NETRC": os.path.join(machine.home, ".netrc"), "CURL_HOME": machine.home}
    answers(machine.under([], *FRESH, env=env))
    answers(machine.under([], "get", "service", "--fresh", env=env))


def test_no_key_log(brokerctl: Program, tls_issuer: OidcProvider) -> None:
    """Security: with SSLKEYLOGFILE set, what was said over TLS stays secret."""
    log = os.path.join(brokerctl.home, "keys.log")
    brokerctl.env |= {"BROKERCTL_KEEPER": "file", "SSLKEYLOGFILE": log}
    name = main_job.service(brokerctl, tls_issuer)
    answers(brokerctl("get", name))
    answers(brokerctl("get", name, "--fresh"))
    behaves(brokerctl("revoke", name))
    assert not os.path.exists(log)
