"""Whatever bytes a server sends: an answer within the limits, or IssuerError, and soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokerctl.effects.http import MAX_BODY, Http
from brokerctl.errors import IssuerError
from brokerctl.oauth.message import post_form
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from tests.hostile import serving

if TYPE_CHECKING:
    import socket

LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.0 200",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 999 X",
        b"HTTP/1.1 302 Found",
        b"location: http://127.0.0.1:1/",
        b"content-length: 5",
        b"content-length: -1",
        b"content-length: 99999999999999999999",
        b"transfer-encoding: chunked",
        b"content-encoding: gzip",
        b"content-encoding: deflate",
        b"",
        b"connection: upgrade",
        b"set-cookie: a=b",
        b"5",
        b"hello",
        b"0",
        b"ffffffffffffffff",
        b"x:",
        b": y",
        b"\xff\xfe: \x00",
        b"content-type: application/json",
        b'{"a":1}',
        b"\x1f\x8b\x08\x00",
    ]
)  # fmt: skip - one line each would fill a page
BYTES = st.lists(LINES | st.binary(max_size=20), max_size=8).map(b"\r\n".join)
SECRET = "rt-secret"


@settings(max_examples=60, deadline=None)
@given(BYTES)
@example(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nab")
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, and more than was promised")
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    """No other exception comes out, nothing is followed, and the secret is in no message."""

    def act(link: socket.socket) -> None:
        link.sendall(data)

    with serving() as serve:
        request = post_form(serve(act).url, [("refresh_token", Secret(SECRET))])
        start = work_time()
        try:
            got = Http().send(request, start + 3)
        except IssuerError as error:
            said = f"{error.message}{error.hint}"
        else:
            said = repr(got)
            assert len(got.body) <= MAX_BODY
            assert all(name == name.lower() for name, _ in got.headers)
    assert work_time() - start < 10
    assert SECRET not in said
    assert said.isprintable()
