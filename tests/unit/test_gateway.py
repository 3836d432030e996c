"""The gateway: who may use it, what goes to the upstream, and what comes back."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any

import h11
import pytest

from brokerctl import jsonlite
from brokerctl.effects.dial import Dialer
from brokerctl.errors import (
    AuditError,
    DeniedError,
    IssuerError,
    LockTimeoutError,
    LoginNeededError,
    SessionEndedError,
    StoreError,
    UsageError,
    UsedUpError,
)
from brokerctl.session.serve.desk import UnknownProfileError
from brokerctl.session.serve.gateway import Gateway
from tests.gateway_room import TOKEN, WAIT_S, Asking, FakeDesk, gateway_room, profile
from tests.idp.tls import make_tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerctl.errors import BrokerError


def echo(asking: Asking) -> None:
    """Answer with the body that came."""
    asking.answer(200, asking.body(), Content_Type="application/octet-stream")


def empty(asking: Asking) -> None:
    """Answer with nothing."""
    asking.body()
    asking.answer(200)


def test_the_credential_is_added_and_the_child_s_own_dropped() -> None:
    """The child's Authorization goes nowhere, in no spelling; the upstream gets the token."""
    with gateway_room(empty) as room:
        given = ("Authorization: Bearer mine", "authorization: x", "Proxy-Authorization: y")
        room.ask("GET", "/a/b?c=d", *given, "Cookie: kept", "X-Other: 1")
        seen = room.upstream.seen[0]
        named = [value for name, value in seen.raw if name.lower() == b"authorization"]
        assert named == [f"Bearer {room.desk.token()}".encode()]
        assert seen.target == "/a/b?c=d"
        assert seen.headers["host"] == room.upstream.url.partition("://")[2]
        assert seen.headers["cookie"] == "kept"
        assert (b"X-Other", b"1") in seen.raw
        assert "proxy-authorization" not in seen.headers
        asked = room.desk.asked[0]
        assert (asked.method, asked.path, asked.tool) == ("GET", "/a/b", "gateway")
        assert asked.url == f"{room.upstream.url}/a/b"


@pytest.mark.parametrize(
    ("present", "header", "value"),
    [
        (("header", "X-Api-Key"), "x-api-key", "{token}"),
        (("basic", "robot"), "authorization", "Basic {pair}"),
    ],
)
def test_a_profile_says_how_its_token_is_shown(
    present: tuple[str, str], header: str, value: str
) -> None:
    """In a header of its own or as a password; the child's is dropped, in each spelling."""

    def answer(asking: Asking) -> None:
        asking.body()
        asking.answer(200, b"", X_Echo=asking.headers[header])

    with gateway_room(answer, present=present) as room:
        token = room.desk.token()
        pair = base64.b64encode(f"robot:{token}".encode()).decode()
        mine = ("X-Api-Key: mine", "x_api_key: mine", "Authorization: mine")
        found = room.ask("GET", "/", *(mine if present[0] == "header" else mine[2:]))
        seen = [text for name, text in room.upstream.seen[0].raw if name.lower() == header.encode()]
        assert seen == [value.format(token=token, pair=pair).encode()]
        assert b"mine" not in b"".join(text for _, text in room.upstream.seen[0].raw)
        assert token not in found.headers["x-echo"]
        assert pair[12:-4] not in found.headers["x-echo"]


def test_a_record_that_cannot_be_written_is_said_and_nothing_else_is_lost(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The end of a session goes on: its tokens are revoked after this."""
    with gateway_room(empty) as room:
        room.ask("GET", "/")
        room.desk.record_error = AuditError("the disk is full")
        room.gateway.close()
        assert "not in the record: the disk is full" in capfd.readouterr().err
        room.desk.record_error = None
        room.gateway.close()
        assert [one["count"] for _, one in room.desk.records] == [1]  # it was not forgotten


def test_a_fresh_token_that_is_refused_is_one_use_and_our_error() -> None:
    """What was sent is counted once, by the upstream's answer."""

    def answer(asking: Asking) -> None:
        asking.body()
        room.desk.error = LoginNeededError("no")
        asking.answer(401, WWW_Authenticate="Bearer")

    with gateway_room(answer) as room:
        found = room.ask("GET", "/")
        assert (found.status, found.headers["brokerctl-error"]) == (401, "login_needed")
        assert "www-authenticate" not in found.headers
        room.gateway.close()
        assert [(one["answer"], one["count"]) for _, one in room.desk.records] == [("4xx", 1)]


def test_what_belongs_to_a_connection_does_not_go_on() -> None:
    """RFC 9110, 7.6.1: nor what Connection names; a length that it names stays."""
    hop = ("Connection: close, X-Mine, content-length", "X-Mine: 1", "TE: trailers", "Trailer: X")
    with gateway_room(echo) as room:
        more = ("Keep-Alive: 5", "Proxy-Connection: x", "Upgrade: h2c")
        answer = room.ask("POST", "/", *hop, *more, body=b"hello")
        assert answer.body == b"hello"
        seen = room.upstream.seen[0].headers
        gone = ("x-mine", "te", "trailer", "keep-alive", "proxy-connection", "upgrade")
        assert not [name for name in gone if name in seen]
        assert seen["content-length"] == "5"


@pytest.mark.parametrize(
    "change",
    [
        lambda prefix: prefix.replace("/api", "/other"),
        lambda _: "/" + "A" * 43 + "/api",
        lambda prefix: prefix[:-5] + "/api",
        lambda prefix: prefix.rpartition("/")[0],
        lambda prefix: prefix + "x",
        lambda _: "/",
    ],
)
def test_a_wrong_key_or_profile_is_not_found_and_says_nothing(change: Callable[[str], str]) -> None:
    """All of them get the same answer, and nobody is asked."""
    with gateway_room(empty) as room:
        room.prefix = change(room.prefix)
        answer = room.ask("GET", "/x")
        assert answer.status == 404
        assert jsonlite.loads(answer.body)["error"] == {"name": "request", "message": "not found"}
        assert not room.desk.asked
        assert not room.upstream.seen


@pytest.mark.parametrize("name", ["evil.test", "127.0.0.1", "127.0.0.1:1", "localhost.evil.test"])
def test_a_host_that_lies_is_misdirected(name: str) -> None:
    """A page of the web that points its own name here is no client of ours."""
    with gateway_room(empty) as room, room.client() as client:
        client.send(f"GET {room.prefix}/ HTTP/1.1\r\nHost: {name}\r\n\r\n")
        assert client.read().status == 421
        assert not room.desk.asked


def test_localhost_is_ours_and_the_upstream_hears_its_own_name() -> None:
    """The child may say `localhost`, in any case."""
    with gateway_room(empty) as room, room.client() as client:
        client.send(f"GET {room.prefix}/ HTTP/1.1\r\nHost: LocalHost:{room.port}\r\n\r\n")
        assert client.read().status == 200
        assert room.upstream.seen[0].headers["host"] in room.upstream.url


def test_trace_is_refused() -> None:
    """Its answer would be the request itself, with the credential."""
    with gateway_room(empty) as room:
        assert room.ask("TRACE", "/").status == 405
        assert not room.upstream.seen


def test_a_key_is_of_one_profile() -> None:
    """The key of one profile does not open another."""
    with gateway_room(empty) as room:
        both = [room.profile, profile("b", hosts=room.profile.hosts)]
        gateway = Gateway(FakeDesk(*both), both, Dialer({}).connect)
        urls = gateway.variables()
        keys = [url.split("/")[3] for url in urls.values()]
        assert len(set(keys)) == 2
        assert all(len(key) == 43 for key in keys)
        gateway.close()


def test_a_path_goes_below_the_profile_s_prefix() -> None:
    """The host's own path comes first, and cannot be left."""
    with gateway_room(empty, path="/v4") as room:
        room.ask("GET", "/projects")
        room.ask("GET", "")
        assert [seen.target for seen in room.upstream.seen] == ["/v4/projects", "/v4"]
        assert room.ask("GET", "/../v3").status == 400
        assert room.ask("GET", "/%2e%2e/v3").status == 400
        assert len(room.upstream.seen) == 2


def test_what_an_upstream_echoes_is_starred_at_its_length() -> None:
    """In each header, in the reason and in text, however it is cut."""
    token = f"{TOKEN}1".encode()

    def answer(asking: Asking) -> None:
        asking.body()
        body = b'{"t": "' + token + b'"}'
        head = [
            (b"Set-Cookie", b"t=" + token),
            (b"Location", b"/?t=" + token),
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode()),
        ]
        asking.send(h11.Response(status_code=302, headers=head, reason=b"see " + token))
        for at in range(len(body)):
            asking.send(h11.Data(data=body[at : at + 1]))
        asking.send(h11.EndOfMessage())

    with gateway_room(answer) as room:
        found = room.ask("GET", "/")
        stars = b"*" * len(token)
        assert found.status == 302
        assert found.body == b'{"t": "' + stars + b'"}'
        assert found.headers["set-cookie"] == f"t={stars.decode()}"
        assert found.headers["location"] == f"/?t={stars.decode()}"
        assert found.reason == b"see " + stars


def test_a_body_that_is_no_text_goes_through_as_it_is() -> None:
    """Neither a token in it nor its coding is touched."""
    with gateway_room(echo) as room:
        body = bytes(range(256)) * 40_000 + f"{TOKEN}1".encode()
        assert room.ask("POST", "/", body=body).body == body


def test_the_upstream_is_asked_for_what_can_be_read() -> None:
    """Identity, unless the child refuses that."""
    with gateway_room(empty) as room:
        for given in ("gzip, br", "identity;q=0, gzip", "gzip, *;q=0", "gzip;q=0.5, *;q=0.1"):
            room.ask("GET", "/", f"Accept-Encoding: {given}")
        seen = [one.headers["accept-encoding"] for one in room.upstream.seen]
        assert seen == ["identity", "identity;q=0, gzip", "gzip, *;q=0", "identity"]


def test_a_refused_token_is_replaced_once_and_the_request_repeated() -> None:
    """The body goes again, and the child sees the second answer alone."""

    def answer(asking: Asking) -> None:
        body = asking.body()
        fits = asking.headers["authorization"].endswith("2")
        asking.answer(200 if fits else 401, body)

    with gateway_room(answer) as room:
        found = room.ask("POST", "/", body=b"b" * 60_000)
        assert (found.status, len(found.body)) == (200, 60_000)
        assert room.desk.fresh == 1
        assert len(room.upstream.seen) == 2


def test_a_large_body_is_not_repeated() -> None:
    """More than 64 KiB is not held: the 401 passes, and no token is asked for in vain."""

    def answer(asking: Asking) -> None:
        asking.body()
        asking.answer(401, WWW_Authenticate="Bearer")

    with gateway_room(answer) as room:
        found = room.ask("POST", "/", body=b"b" * 70_000)
        assert found.status == 401
        assert found.headers["www-authenticate"] == "Bearer"
        assert room.desk.fresh == 0


@pytest.mark.parametrize("helps", [True, False])
def test_a_storm_of_refusals_causes_one_fresh_token(helps: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Thirty requests at once: one issue, whether it helps them all or none of them."""
    together = threading.Barrier(30)

    def answer(asking: Asking) -> None:
        asking.body()
        is_first = asking.headers["authorization"].endswith("1")
        if is_first:
            together.wait(WAIT_S)
        asking.answer(200 if helps and not is_first else 401)

    with gateway_room(answer) as room:
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(room.ask("GET", "/").status)

        threads = [threading.Thread(target=ask) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        expected = 200 if helps else 401
        assert statuses == [expected] * 30
        assert room.ask("GET", "/").status == expected
        assert room.desk.fresh == 1


def test_the_same_token_again_is_not_tried_again() -> None:
    """An issuer that gives the refused token once more changes nothing."""

    def answer(asking: Asking) -> None:
        asking.body()
        asking.answer(401)

    with gateway_room(answer) as room:
        room.desk.is_stubborn = True
        assert room.ask("GET", "/").status == 401
        assert len(room.upstream.seen) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DeniedError("no"), 403),
        (LoginNeededError("no"), 401),
        (IssuerError("no"), 502),
        (StoreError("no"), 503),
        (LockTimeoutError("no"), 503),
        (UsedUpError("no"), 429),
        (SessionEndedError("no"), 410),
        (UnknownProfileError("no"), 404),
    ],
)
def test_what_the_desk_refuses_is_told_from_the_upstream_s_own(
    error: BrokerError, status: int
) -> None:
    """A status, our JSON, a header with the error's name, and no WWW-Authenticate."""
    with gateway_room(empty) as room:
        room.desk.error = error
        found = room.ask("GET", "/secret-segment/x")
        assert found.status == status
        assert found.headers["brokerctl-error"] == error.name
        assert "www-authenticate" not in found.headers
        assert jsonlite.loads(found.body)["error"]["message"] == "no"
        assert not room.upstream.seen
        room.gateway.close()
        assert [fields["answer"] for _, fields in room.desk.records] == ["refused"]


def test_after_the_end_everything_is_gone() -> None:
    """410, whoever asks with the right key."""
    with gateway_room(empty) as room:
        room.desk.is_ended = True
        found = room.ask("GET", "/")
        assert (found.status, found.headers["brokerctl-error"]) == (410, "ended")
        assert not room.upstream.seen


def test_an_upstream_that_is_not_there_is_502() -> None:
    """Told from the upstream's own by the header."""
    with gateway_room(empty) as room:
        room.upstream.close()
        found = room.ask("GET", "/")
        assert (found.status, found.headers["brokerctl-error"]) == (502, "upstream")


def test_a_certificate_of_another_ca_is_refused_and_no_token_sent(tmp_path: Path) -> None:
    """The profile's ca_file decides: with it the request arrives, without it nothing does."""
    tls = make_tls(str(tmp_path))
    with gateway_room(echo, tls.server_file) as room:
        found = room.ask("GET", "/")
        assert (found.status, found.headers["brokerctl-error"]) == (502, "upstream")
        assert "certificate" in jsonlite.loads(found.body)["error"]["message"]
        assert not room.upstream.seen
        room.desk.profiles["api"] = room.profile.replace(ca_file=tls.ca_file)
        body = b"x" * 3_000_000
        assert room.ask("POST", "/", body=body).body == body


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"hosts": ("https://*.example.com",)}, "no host"),
        ({}, "no host"),
        ({"hosts": ("https://a.test",), "flow": "aws_web_identity"}, "sign"),
    ],
)
def test_a_profile_that_cannot_be_served_is_refused_before_anything_starts(
    more: dict[str, Any], words: str
) -> None:
    """A usage error with a hint, and nothing listens."""
    one = profile(**more)
    with pytest.raises(UsageError, match=words) as caught:
        Gateway(FakeDesk(one), [one], Dialer({}).connect)
    assert caught.value.hint


def test_variables_are_named_after_profiles() -> None:
    """Upper case, `_` for everything else; two profiles never share one."""
    hosts = ("https://a.test",)
    one, other = profile("git-lab.1", hosts=hosts), profile("git_lab-1", hosts=hosts)
    gateway = Gateway(FakeDesk(one), [one], Dialer({}).connect)
    (name,) = gateway.variables()
    assert name == "BROKERCTL_GATEWAY_GIT_LAB_1"
    gateway.close()
    with pytest.raises(UsageError, match="both want BROKERCTL_GATEWAY_GIT_LAB_1"):
        Gateway(FakeDesk(one, other), [one, other], Dialer({}).connect)


def test_a_wildcard_is_passed_over_for_the_first_exact_host() -> None:
    """The base is the first host that names one server."""
    with gateway_room(empty) as room:
        mixed = room.profile.replace(hosts=("https://*.a.test", *room.profile.hosts))
        room.desk.profiles["api"] = mixed
        gateway = Gateway(room.desk, [mixed], Dialer({}).connect)
        gateway.start()
        url = gateway.variables()["BROKERCTL_GATEWAY_API"]
        room.port, room.prefix = int(url.split(":")[2].split("/")[0]), "/" + url.split("/", 3)[3]
        assert room.ask("GET", "/x").status == 200
        gateway.close()
