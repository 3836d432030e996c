"""The gateway's bodies: streamed both ways, each piece when it comes, and ended as they were."""

from __future__ import annotations

import base64
import socket
import threading
from typing import TYPE_CHECKING

import h11
import pytest

from brokerctl.effects.dial import Dialer
from brokerctl.session.serve.gateway import Gateway
from tests.gateway_room import TOKEN, WAIT_S, Asking, FakeDesk, gateway_room
from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway_room import Client

SECRET = f"{TOKEN}1".encode()


def empty(asking: Asking) -> None:
    """Answer with nothing."""
    asking.body()
    asking.answer(200)


def until(client: Client, end: bytes) -> bytes:
    """Read until what was read ends so."""
    data = b""
    while not data.endswith(end):
        more = client.sock.recv(1 << 16)
        assert more, data
        data += more
    return data


def begin_stream(asking: Asking, kind: str = "text/event-stream") -> None:
    """Send the head of a stream without a length."""
    asking.body()
    asking.send(h11.Response(status_code=200, headers=[("Content-Type", kind)]))


@pytest.mark.parametrize("is_tls", [False, True])
def test_each_event_arrives_before_the_next_is_sent(is_tls: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    """Nothing waits for more, and a token is starred in it, whole or in base64."""
    tls = make_tls(str(tmp_path))
    go_on = threading.Semaphore(0)
    coded = base64.b64encode(b"x:" + SECRET)

    def answer(asking: Asking) -> None:
        begin_stream(asking)
        for text in (b"one", SECRET, coded):
            asking.send(h11.Data(data=b"data: " + text + b"\n\n"))
            go_on.acquire(timeout=WAIT_S)
        asking.send(h11.EndOfMessage())

    more = {"tls_file": tls.server_file, "ca_file": tls.ca_file} if is_tls else {}
    with gateway_room(answer, **more) as room, room.client() as client:
        client.send(room.head("GET", "/"))
        assert b"data: one" in until(client, b"\n\n\r\n")
        go_on.release()
        assert b"data: " + b"*" * len(SECRET) in until(client, b"\n\n\r\n")
        go_on.release()
        third = until(client, b"\n\n\r\n")
        assert b"****" in third
        assert SECRET[:8] not in base64.b64decode(third.split(b"data: ")[1][:8] + b"====")
        go_on.release()
        assert until(client, b"0\r\n\r\n")


def test_a_token_is_found_however_a_stream_is_cut() -> None:
    """Byte by byte in chunks."""

    def answer(asking: Asking) -> None:
        begin_stream(asking, "application/json")
        for at in range(len(SECRET)):
            asking.send(h11.Data(data=SECRET[at : at + 1]))
        asking.send(h11.Data(data=b"!"), h11.EndOfMessage())

    with gateway_room(answer) as room:
        assert room.ask("GET", "/").body == b"*" * len(SECRET) + b"!"


def test_what_only_looks_like_the_beginning_of_a_token_is_shown_after_a_pause() -> None:
    """A prompt that ends in the token's first letter does not wait for the next."""
    go_on = threading.Event()

    def answer(asking: Asking) -> None:
        begin_stream(asking, "text/plain")
        asking.send(h11.Data(data=b"ask " + SECRET[:2]))
        go_on.wait(WAIT_S)
        asking.send(h11.EndOfMessage())

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("GET", "/"))
        data = b""
        while b"ask " not in data or SECRET[:2] not in data:
            data += client.sock.recv(1 << 16)
        go_on.set()
        assert until(client, b"0\r\n\r\n")


@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_a_body_goes_on_while_it_comes(frame: str) -> None:
    """The upstream has the first half before the child sends the second."""
    arrived = threading.Event()

    def answer(asking: Asking) -> None:
        body = b""
        for event in asking.events():
            if isinstance(event, h11.Data):
                body += event.data
                arrived.set()
        asking.answer(200, body)

    with gateway_room(answer) as room, room.client() as client:
        half = b"x" * 1000
        if frame == "length":
            client.send(room.head("POST", "/", "Content-Length: 2000").encode() + half)
        else:
            head = room.head("POST", "/", "Transfer-Encoding: chunked")
            client.send(head.encode() + b"3e8\r\n" + half + b"\r\n")
        assert arrived.wait(WAIT_S)
        client.send(
            half if frame == "length" else b"3e8\r\n" + half + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
        )
        assert client.read().body == half * 2
        client.send(room.head("GET", "/"))
        assert client.read().status == 200  # the connection is still good


def test_continue_comes_from_the_upstream() -> None:
    """100 passes, and then the body is sent."""

    def answer(asking: Asking) -> None:
        assert asking.headers["expect"] == "100-continue"
        asking.send(h11.InformationalResponse(status_code=100, headers=[]))
        asking.answer(200, asking.body())

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("POST", "/", "Expect: 100-continue", "Content-Length: 3"))
        assert until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send("abc")
        assert client.read().body == b"abc"


def test_an_upstream_that_ignores_expect_gets_the_body_all_the_same() -> None:
    """A client that has waited long enough just sends."""

    def answer(asking: Asking) -> None:
        body = b"".join(bytes(one.data) for one in asking.events() if isinstance(one, h11.Data))
        asking.answer(200, body)

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("POST", "/", "Expect: 100-continue", "Content-Length: 3") + "abc")
        assert client.read().body == b"abc"


@pytest.mark.parametrize("expect", [True, False])
def test_an_early_refusal_reaches_a_child_that_still_sends(expect: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """413 before the body was read: the child gets it, and the connection ends."""

    def answer(asking: Asking) -> None:
        asking.answer(413, b"too large", Connection="close")

    with gateway_room(answer) as room, room.client() as client:
        more = ("Expect: 100-continue",) if expect else ()
        client.send(room.head("POST", "/", "Content-Length: 1000000", *more))
        if not expect:
            client.send(b"x" * 1000)
        found = client.read()
        assert (found.status, found.body) == (413, b"too large")
        assert found.headers["connection"] == "close"


def test_a_401_before_the_body_is_repeated_and_then_the_body_sent() -> None:
    """With Expect nothing was read yet, so a body of any size can follow."""

    def answer(asking: Asking) -> None:
        if asking.headers["authorization"].endswith("1"):
            asking.answer(401, Connection="close")
            return
        asking.send(h11.InformationalResponse(status_code=100, headers=[]))
        asking.answer(200, str(len(asking.body())).encode())

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("PUT", "/", "Expect: 100-continue", "Content-Length: 500000"))
        assert until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(b"x" * 500_000)
        assert client.read().body == b"500000"


def test_both_directions_at_once() -> None:
    """An upstream that answers each piece before the next is sent."""

    def answer(asking: Asking) -> None:
        asking.send(h11.Response(status_code=200, headers=[("Content-Type", "a/b")]))
        for event in asking.events():
            if isinstance(event, h11.Data):
                asking.send(h11.Data(data=bytes(event.data)))
        asking.send(h11.EndOfMessage())

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("POST", "/", "Transfer-Encoding: chunked"))
        for at in range(5):
            client.send(f"5\r\nping{at}\r\n")
            assert f"ping{at}".encode() in until(client, f"ping{at}\r\n".encode())
        client.send("0\r\n\r\n")
        assert until(client, b"0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_keeps_the_connection(status: int) -> None:
    """As HEAD does, whose length is that of what GET would have."""

    def answer(asking: Asking) -> None:
        asking.body()
        if asking.method == "HEAD":
            asking.send(h11.Response(status_code=200, headers=[("Content-Length", "12345")]))
        else:
            asking.send(h11.Response(status_code=status, headers=[("ETag", "x")]))
        asking.send(h11.EndOfMessage())

    with gateway_room(answer) as room, room.client() as client:
        for _ in range(2):
            client.send(room.head("GET", "/"))
            assert client.read().status == status
            client.send(room.head("HEAD", "/"))
            assert client.read("HEAD").headers["content-length"] == "12345"
        assert room.upstream.connections == 1


def test_early_hints_pass_and_trailers_do_not() -> None:
    """103 goes on; what comes after a body in chunks is dropped, and echoes nothing."""

    def answer(asking: Asking) -> None:
        asking.body()
        link = [("Link", "</a>"), ("X-T", SECRET.decode())]
        asking.send(h11.InformationalResponse(status_code=103, headers=link))
        asking.send(h11.Response(status_code=200, headers=[("Trailer", "X-T")]))
        trailers = [("X-T", SECRET.decode())]
        asking.send(h11.Data(data=b"a"), h11.EndOfMessage(headers=trailers))

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("GET", "/"))
        found = client.read()
        (hint,) = found.early
        assert dict(hint.headers)[b"x-t"] == b"*" * len(SECRET)
        assert found.body == b"a"
        assert "trailer" not in found.headers


def test_an_answer_that_breaks_is_seen_to_be_broken() -> None:
    """Half a body is not passed on as a whole one, whatever its framing."""

    def answer(asking: Asking) -> None:
        asking.body()
        head = [("Content-Length", "10")] if asking.target == "/length" else []
        asking.send(h11.Response(status_code=200, headers=head), h11.Data(data=b"half"))
        asking.sock.shutdown(socket.SHUT_RDWR)

    for path in ("/length", "/chunks"):
        with gateway_room(answer) as room, pytest.raises(h11.RemoteProtocolError):
            room.ask("GET", path)


def test_a_child_that_leaves_ends_the_request_upstream() -> None:
    """Nobody goes on paying for an answer that nobody reads."""
    has_begun, has_ended = threading.Event(), threading.Event()

    def answer(asking: Asking) -> None:
        asking.body()
        has_begun.set()
        if asking.sock.recv(1) == b"":
            has_ended.set()

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("GET", "/"))
        assert has_begun.wait(WAIT_S)
        client.sock.close()
        assert has_ended.wait(WAIT_S)


def test_connections_are_used_again_and_a_stale_one_is_replaced() -> None:
    """Three requests on one connection, and none is lost when the upstream has closed it."""
    close_next = threading.Event()

    def answer(asking: Asking) -> None:
        asking.body()
        if close_next.is_set() and asking.target == "/stale":
            close_next.clear()
            asking.sock.shutdown(socket.SHUT_RDWR)  # as a server that has just given up waiting
            return
        asking.answer(200)

    def ask(method: str, path: str) -> int:
        client.send(room.head(method, path))
        return client.read().status

    with gateway_room(answer) as room, room.client() as client:
        assert [ask("GET", "/") for _ in range(3)] == [200] * 3
        assert room.upstream.connections == 1
        close_next.set()
        assert ask("GET", "/stale") == 200
        assert room.upstream.connections == 2
        close_next.set()
        assert ask("POST", "/stale") == 502  # it may have been done


def test_what_an_upstream_says_unasked_is_no_answer() -> None:
    """A second answer behind the first is not the next request's: the connection is given up."""
    is_read, sent = threading.Event(), threading.Event()

    def answer(asking: Asking) -> None:
        asking.body()
        asking.answer(200, b"right")
        if asking.target == "/first":
            is_read.wait(WAIT_S)
            asking.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
            sent.set()

    with gateway_room(answer) as room, room.client() as client:
        client.send(room.head("GET", "/first"))
        assert client.read().body == b"right"
        is_read.set()
        assert sent.wait(WAIT_S)
        client.send(room.head("GET", "/second"))
        assert client.read().body == b"right"
        assert room.upstream.connections == 2


def test_one_profile_never_gets_the_connection_of_another() -> None:
    """Some servers bind what they know of a client to its connection."""
    with gateway_room(empty) as room:
        both = [room.profile.replace(name=name) for name in ("one", "two")]
        gateway = Gateway(FakeDesk(*both), both, Dialer({}).connect)
        gateway.start()
        for url in gateway.variables().values():
            room.port, room.prefix = (
                int(url.split(":")[2].split("/")[0]),
                "/" + url.split("/", 3)[3],
            )
            assert room.ask("GET", "/").status == 200
        assert room.upstream.connections == 2
        gateway.close()


def test_an_old_client_is_answered_by_a_close() -> None:
    """HTTP/1.0 knows neither chunks nor 1xx."""

    def answer(asking: Asking) -> None:
        asking.send(h11.InformationalResponse(status_code=103, headers=[]))
        begin_stream(asking)
        asking.send(h11.Data(data=b"stream"), h11.EndOfMessage())

    with gateway_room(answer) as room, room.client() as client:
        client.send(f"GET {room.prefix}/ HTTP/1.0\r\n\r\n")
        data = b""
        while more := client.sock.recv(1 << 16):
            data += more
        assert data.count(b"HTTP/1.") == 1
        assert data.endswith(b"\r\n\r\nstream")


def test_pipelined_requests_are_answered_in_their_order() -> None:
    """With bodies of each kind between them."""

    def answer(asking: Asking) -> None:
        asking.answer(200, asking.target.encode() + asking.body())

    with gateway_room(answer) as room, room.client() as client:
        chunks = room.head("POST", "/2", "Transfer-Encoding: chunked") + "1\r\nb\r\n0\r\n\r\n"
        length = room.head("POST", "/1", "Content-Length: 1") + "a"
        client.send(room.head("GET", "/0") + length + chunks + room.head("GET", "/3"))
        assert [client.read().body for _ in range(4)] == [b"/0", b"/1a", b"/2b", b"/3"]


def test_a_websocket_is_bytes_both_ways_after_its_head() -> None:
    """Those that came with the head too, until either side closes."""

    def answer(asking: Asking) -> None:
        asking.body()
        assert asking.headers["upgrade"] == "websocket"
        assert asking.headers["sec-websocket-key"] == "k"
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("X-T", SECRET.decode())]
        asking.send(h11.InformationalResponse(status_code=101, headers=headers))
        asking.sock.sendall(b"hello")
        while data := asking.sock.recv(1 << 16):
            asking.sock.sendall(data)

    with gateway_room(answer) as room, room.client() as client:
        more = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
        client.send(room.head("GET", "/", *more) + "early")
        head = until(client, b"early")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"\r\n\r\nhello" in head
        assert SECRET not in head
        client.send(b"\x00\xff")
        assert until(client, b"\x00\xff")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed()


def test_a_websocket_that_is_refused_is_an_answer() -> None:
    """And the connection goes on."""

    def answer(asking: Asking) -> None:
        asking.body()
        asking.answer(403, b"no")

    with gateway_room(answer) as room, room.client() as client:
        for _ in range(2):
            client.send(room.head("GET", "/", "Connection: Upgrade", "Upgrade: websocket"))
            assert client.read().status == 403


def test_use_is_recorded_with_its_bytes() -> None:
    """One record for each kind of request, at the end of the session."""

    def answer(asking: Asking) -> None:
        body = asking.body()
        asking.answer(404 if asking.target.startswith("/no") else 200, body)

    with gateway_room(answer) as room:
        for _ in range(3):
            room.ask("POST", "/repos/a/b?token=secret", body=b"12345")
        room.ask("GET", "/no/x")
        room.gateway.close()
        assert {name for name, _ in room.desk.records} == {"gateway.used"}
        found = [fields for _, fields in room.desk.records]
        shown = sorted(
            (one["method"], one["path"], one["answer"], one["count"], one["sent"], one["received"])
            for one in found
        )
        assert shown == [("GET", "/no", "4xx", 1, 0, 0), ("POST", "/repos", "2xx", 3, 15, 15)]
        assert "secret" not in repr(found)
