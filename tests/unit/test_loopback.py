"""The loopback listener ends a login with the right callback, and with nothing else."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.effects.loopback import Loopback, read_callback, read_pasted
from brokerctl.effects.paste import Paste, open_paste
from brokerctl.effects.peer import FOREIGN, GONE, OURS, UNKNOWN
from brokerctl.errors import LoginNeededError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT = "code=c&state=right"


def accept(query: str) -> bool:
    """Take the right state alone, as a flow does."""
    return "state=right" in query.split("&")


class Waiting:
    """A listener that waits in a thread, and a client for it."""

    def __init__(self, timeout_s: float = 10) -> None:
        self.listener = Loopback()
        self.host = self.listener.host
        self.answers: list[str] = []
        self._thread = threading.Thread(target=self._wait, args=(timeout_s,))
        self._thread.start()

    def _wait(self, timeout_s: float) -> None:
        self.answers.append(self.listener.wait(accept, timeout_s))

    def send(self, request: str) -> str:
        """Send raw bytes, return all that comes back; "" where the connection was refused."""
        try:
            with self.connect() as link:
                link.sendall(request.encode())
                reply = b""
                while chunk := link.recv(4096):
                    reply += chunk
                return reply.decode()
        except (ConnectionResetError, ConnectionRefusedError):
            return ""

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout=10)

    def get(self, target: str, method: str = "GET", host: str | None = None) -> str:
        """Send one plain request."""
        return self.send(f"{method} {target} HTTP/1.1\r\nHost: {host or self.host}\r\n\r\n")

    def end(self) -> str:
        """Return what the wait returned."""
        self._thread.join(10)
        assert len(self.answers) == 1
        return self.answers[0]


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    """A listener; a test that does not end it itself has it ended with the right callback."""
    found = Waiting()
    yield found
    if not found.answers:
        found.get(f"/callback?{RIGHT}")
    found.end()


def test_right(waiting: Waiting) -> None:
    """The right callback ends the wait; its page is static and kept by nobody."""
    reply = waiting.get(f"/callback?{RIGHT}&x=%3Cscript%3E")
    assert waiting.end() == f"{RIGHT}&x=%3Cscript%3E"
    head, _, body = reply.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ")
    assert "Cache-Control: no-store" in head
    assert "Referrer-Policy: no-referrer" in head
    assert "default-src 'none'" in head
    assert "script" not in body
    assert "code" not in body


def test_wrong_states_first(waiting: Waiting) -> None:
    """Fifty forged callbacks are refused and forgotten; the right one after them still counts."""
    for number in range(50):
        assert waiting.get(f"/callback?code=evil&state=wrong{number}").startswith("HTTP/1.1 400")
    assert not waiting.answers
    waiting.get(f"/callback?{RIGHT}")
    assert waiting.end() == RIGHT


@pytest.mark.parametrize(
    ("target", "method", "host", "status"),
    [
        (f"/callback?{RIGHT}", "GET", "evil.example", 421),
        (f"/callback?{RIGHT}", "GET", "localhost:1", 421),
        (f"/callback?{RIGHT}", "POST", None, 405),
        (f"/callback?{RIGHT}", "HEAD", None, 405),
        (f"/callback/?{RIGHT}", "GET", None, 404),
        (f"/CALLBACK?{RIGHT}", "GET", None, 404),
        (f"http://127.0.0.1/callback?{RIGHT}", "GET", None, 404),
        ("/favicon.ico", "GET", None, 404),
        ("/", "GET", None, 404),
        ("/callback", "GET", None, 400),
        ("/callback?state=wrong&error=access_denied", "GET", None, 400),
        (f"/callback?{RIGHT} HTTP/1.1 x", "GET", None, 400),
    ],
)
def test_refused(waiting: Waiting, target: str, method: str, host: str | None, status: int) -> None:
    """Anything but a GET of the callback on our own host is refused and does not end the login."""
    reply = waiting.get(target, method, host)
    assert reply.startswith(f"HTTP/1.1 {status} ")
    assert "right" not in reply
    assert not waiting.answers


@pytest.mark.parametrize(
    "head",
    [
        b"GET /callback?state=right HTTP/1.1\r\n\r\n",
        b"GET /callback?state=right HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        b"GET /callback?state=right HTTP/1.1\r\nHost: h\r\nhost: evil\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_heads(head: bytes) -> None:
    """Without exactly one Host, or where it is no HTTP at all, nothing is taken."""
    assert read_callback(head, "h", accept)[1] is None


def test_silent_clients(waiting: Waiting) -> None:
    """A hundred connections that say nothing, or half a request, hold up nobody."""
    with contextlib.ExitStack() as held:
        for number in range(100):
            link = held.enter_context(waiting.connect())
            link.sendall(b"GET /callback?state=right HTTP/1.1\r\n" if number % 2 else b"")
        before = time.monotonic()
        assert waiting.get(f"/callback?{RIGHT}").startswith("HTTP/1.1 200")
        assert waiting.end() == RIGHT
        assert time.monotonic() - before < 2


def test_byte_by_byte(waiting: Waiting) -> None:
    """A request that arrives a byte at a time is read like any other."""
    with waiting.connect() as link:
        for byte in f"GET /callback?{RIGHT} HTTP/1.1\r\nHost: {waiting.host}\r\n\r\n".encode():
            link.sendall(bytes([byte]))
        assert link.recv(20).startswith(b"HTTP/1.1 200")
    assert waiting.end() == RIGHT


def test_too_long(waiting: Waiting) -> None:
    """A head without an end is cut off."""
    reply = waiting.send("GET /callback?" + "x" * 40000)
    assert reply == "" or reply.startswith("HTTP/1.1 431")
    assert not waiting.answers


def test_single_use(waiting: Waiting) -> None:
    """After the right callback the port is closed, and a second one gets nothing."""
    waiting.get(f"/callback?{RIGHT}")
    waiting.end()
    with pytest.raises(ConnectionRefusedError):
        waiting.connect()


def test_bound_to_loopback(waiting: Waiting) -> None:
    """The kernel's own table says that the listener is on 127.0.0.1 and nowhere else."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        ours = [line.split()[1] for line in table if f":{waiting.listener.port:04X}" in line]
    assert ours
    assert {address.split(":")[0] for address in ours} == {"0100007F"}
    assert waiting.listener.redirect_uri == f"http://127.0.0.1:{waiting.listener.port}/callback"


def test_timeout() -> None:
    """A login that nobody answers ends, and asks for a person."""
    with pytest.raises(LoginNeededError, match="nobody answered"):
        Loopback().wait(accept, 0.05)


def test_port_taken() -> None:
    """A fixed port that another program holds is a usage error that names it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            Loopback(port)


def test_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without IPv4 the listener is on [::1]."""
    made = socket.socket

    def no_ipv4(family: int, *args: int) -> socket.socket:
        if family == socket.AF_INET:
            raise OSError(97, "Address family not supported by protocol")
        return made(family, *args)

    monkeypatch.setattr(socket, "socket", no_ipv4)
    try:
        listener = Loopback()
    except UsageError:
        pytest.skip("no IPv6 loopback here")
    assert listener.redirect_uri.startswith("http://[::1]:")
    listener.close()


@pytest.mark.parametrize(
    ("line", "query"),
    [
        (f"http://127.0.0.1:9/callback?{RIGHT}\n", RIGHT),
        (f"  http://127.0.0.1:9/callback?{RIGHT}#fragment  ", RIGHT),
        ("http://127.0.0.1:9/callback?code=c&state=wrong", None),
        (f"http://127.0.0.1:8/callback?{RIGHT}", None),
        (f"http://evil.example/callback?{RIGHT}", None),
        (RIGHT, None),
        ("nonsense", None),
    ],
)
def test_pasted(line: str, query: str | None) -> None:
    """A pasted address counts if it is this login's own."""
    assert read_pasted(line, "http://127.0.0.1:9/callback", accept) == query


def typed_on(slave: int) -> Paste:
    """Return a terminal whose foreground we are, whatever the test runner's is."""
    os.set_blocking(slave, False)
    return Paste(slave, lambda _: True)


def test_pasted_on_a_terminal() -> None:
    """What is typed races the browser: nonsense is answered, the right address ends the wait."""
    master, slave = pty.openpty()
    listener = Loopback()
    paste = typed_on(slave)
    os.write(master, b"nonsense\n\n")
    os.write(master, f"{listener.redirect_uri}?{RIGHT}\n".encode())
    assert listener.wait(accept, 5, paste) == RIGHT
    seen = b""
    while b"copy it whole" not in seen and select.select([master], [], [], 5)[0]:
        seen += os.read(master, 4096)  # the echo and the answer may come apart
    assert b"copy it whole" in seen
    paste.close()
    os.close(master)


def test_terminal_that_ends() -> None:
    """A terminal that hangs up does not end the wait, nor make it spin."""
    master, slave = pty.openpty()
    os.close(master)
    before = time.process_time()
    with pytest.raises(LoginNeededError):
        Loopback().wait(accept, 0.5, typed_on(slave))
    assert time.process_time() - before < 0.3
    os.close(slave)


def test_no_terminal() -> None:
    """A file, a missing terminal and one that is not ours are no place to paste."""
    assert open_paste("/dev/null") is None
    assert open_paste("/nonexistent") is None
    _, slave = pty.openpty()
    assert open_paste(os.ttyname(slave)) is None


class Owned(Waiting):
    """A listener whose visitors belong to whom the test says."""

    peer: tuple[str, int | None] = (OURS, 0)

    def __init__(self) -> None:
        self.told: list[str] = []
        self.listener = Loopback(None, self.told.append, lambda _: self.peer)
        self.host = self.listener.host
        self.answers = []
        self.start = self.listener.offer("https://issuer.example/auth?state=right&a=%20é")
        self._thread = threading.Thread(target=self._wait, args=(10,))
        self._thread.start()

    def visit(self) -> str:
        """Open the start address."""
        return self.get(self.start.partition(self.host)[2])


@pytest.fixture
def owned() -> Iterator[Owned]:
    """A listener that a browser is to be started for, ended like the one above."""
    found = Owned()
    yield found
    found.peer = (OURS, 0)
    if not found.answers:
        found.get(f"/callback?{RIGHT}")
    found.end()


def test_start_leads_once(owned: Owned) -> None:
    """The start address has no `state`, leads to the issuer once, and tells a second visitor."""
    assert "state" not in owned.start
    assert owned.get(owned.start.partition(owned.host)[2], "HEAD").startswith("HTTP/1.1 405")
    assert owned.get(owned.start.partition(owned.host)[2][:-1]).startswith("HTTP/1.1 404")
    first = owned.visit()
    assert first.startswith("HTTP/1.1 303 ")
    assert "\r\nLocation: https://issuer.example/auth?state=right&a=%20%C3%A9\r\n" in first
    assert "Referrer-Policy: no-referrer" in first
    second = owned.visit()
    assert second.startswith("HTTP/1.1 410 ")
    assert "opened once before" in second
    assert "right" not in second
    assert owned.told == ["the address that the browser got was opened a second time"]


@pytest.mark.parametrize("peer", [(FOREIGN, 65534), (GONE, None)])
def test_others_are_refused(owned: Owned, peer: tuple[str, int | None]) -> None:
    """Another user gets neither the way to the issuer nor a callback taken, and uses up nothing."""
    owned.peer = peer
    for reply in (owned.visit(), owned.get(f"/callback?{RIGHT}"), owned.get("/")):
        assert reply.startswith("HTTP/1.1 403 ")
        assert "right" not in reply
    assert not owned.answers
    assert len(owned.told) == (peer[0] == FOREIGN)
    owned.peer = (OURS, 0)
    assert owned.visit().startswith("HTTP/1.1 303 ")
    owned.get(f"/callback?{RIGHT}")
    assert owned.end() == RIGHT
    assert owned.listener.is_peer_known


@pytest.mark.parametrize("peers", [(UNKNOWN, UNKNOWN), (UNKNOWN, OURS), (OURS, UNKNOWN)])
def test_unknown_is_let_through(owned: Owned, peers: tuple[str, str]) -> None:
    """A browser that no table names is let through, and its login is in doubt."""
    owned.peer = (peers[0], None)
    assert owned.visit().startswith("HTTP/1.1 303 ")
    owned.peer = (peers[1], None)
    assert owned.get(f"/callback?{RIGHT}").startswith("HTTP/1.1 200 ")
    assert owned.end() == RIGHT
    assert not owned.listener.is_peer_known
