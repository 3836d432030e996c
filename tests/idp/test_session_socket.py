"""`exec --socket` against an issuer: what a child gets there, what it does not, and the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.idp.main_job import service
from tests.idp.test_demo_issuer import DemoIssuer
from tests.socket_room import HeldSession, ask, ask_as, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import OidcProvider
    from tests.program import Program

NOBODY = 65534
RULES = """
[policy]
default = "{default}"
[[policy.rule]]
name = "of the test"
when = {{ profile = "service" }}
effect = "{effect}"
"""


@pytest.fixture(autouse=True)
def profiles(brokerctl: Program, http_issuer: OidcProvider) -> str:
    """Make the profiles `service` and `other`; return the configuration."""
    service(brokerctl, http_issuer, scopes='["read", "write"]', hosts='["https://api.example"]')
    path = os.path.join(brokerctl.home, "config.toml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    brokerctl.config(text + text.replace("profile.service", "profile.other"))
    os.mkdir(os.path.join(brokerctl.home, "run"), 0o700)
    brokerctl.env["XDG_RUNTIME_DIR"] = os.path.join(brokerctl.home, "run")
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.fixture
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """An embedded issuer, whose tokens can be made short."""
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir)) as running:
        yield running


def records(brokerctl: Program, *events: str) -> list[dict[str, Any]]:
    """Return the records of these events."""
    lines = brokerctl("audit", "log", "--json").stdout.splitlines()
    return [one for one in map(json.loads, lines) if one["event"] in events]


def test_the_socket_is_the_owner_s_alone(brokerctl: Program) -> None:
    """It lies in a private folder, and a process of another user that reaches it is refused."""
    reachable: dict[str, str | None] = {"XDG_RUNTIME_DIR": None}  # it lies in /dev/shm
    with HeldSession(brokerctl, "-p", "service", "--socket", env=reachable) as session:
        folder = os.path.dirname(session.path)
        assert (os.stat(session.path).st_mode & 0o777, os.stat(folder).st_mode & 0o777) == (
            0o600,
            0o700,
        )
        assert ask_as(NOBODY, session.path, "/token/service") == 403
        assert session.ask("/").status == 200
    assert not os.path.exists(folder)


def test_a_listing_has_the_session_s_profiles_and_nothing_else(brokerctl: Program) -> None:
    """What exists outside is not told, neither by the list nor by how a request is refused."""
    with HeldSession(brokerctl, "-p", "service", "--socket", "--purpose", "a test") as session:
        found = session.ask("/").json
        assert [one["name"] for one in found["profiles"]] == ["service"]
        assert (found["purpose"], found["agent"]) == ("a test", None)
        there, nowhere = session.ask("/token/other"), session.ask("/token/nowhere")
        assert there.problem == nowhere.problem == (404, 2, "usage")
        for answer, name in ((there, "other"), (nowhere, "nowhere")):
            assert answer.json["error"]["message"] == f"this session has no profile '{name}'"


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/token/service", "POST", 405),
        ("/token/service", "HEAD", 405),
        ("/helper", "GET", 405),
        ("/session", "GET", 405),
        ("/nothing", "GET", 404),
        ("/token/service/more", "GET", 404),
        ("/token/..%2fservice", "GET", 404),
        ("/token/service%00", "GET", 404),
        ("/token/service?nonsense=1", "GET", 400),
        ("/token/service?min_ttl=soon", "GET", 400),
        ("/token/service?fresh=1&fresh=1", "GET", 400),
        ("/token/service?scope", "GET", 400),
        ("/in/wrong/token/service", "GET", 410),
    ],
)
def test_what_it_does_not_answer(brokerctl: Program, target: str, method: str, status: int) -> None:
    """Each wrong request has a status of its own, and no token is made for it."""
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        link = raw(session.path, f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert link.startswith(f"HTTP/1.1 {status} ".encode())
    assert records(brokerctl, "token.issued") == []


@pytest.mark.parametrize(
    "head",
    [
        "POST /helper HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
        "POST /helper HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4",
        "POST /helper HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c",
        "GET http://x/token/service HTTP/1.1\r\nHost: x",
        "GET /token/service HTTP/1.1",
    ],
)
def test_what_two_programs_read_in_two_ways(brokerctl: Program, head: str) -> None:
    """It is refused before anything is looked up."""
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        assert raw(session.path, f"{head}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")
        assert raw(session.path, b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")[9:12] == b"405"


def test_scopes_narrow_and_never_widen(brokerctl: Program) -> None:
    """A narrower request gets a narrower token; what the session was not given is 403."""
    words = ("-p", "service", "--socket", "--scope", "read")
    with HeldSession(brokerctl, *words) as session:
        assert session.ask("/token/service").json["scopes"] == ["read"]
        assert session.ask("/token/service?scope=read").json["scopes"] == ["read"]
        for query in ("?scope=write", "?scope=read+write", "?resource=https://x.example"):
            assert session.ask(f"/token/service{query}").problem[:2] == (403, 4)
    denied = records(brokerctl, "token.denied")
    assert len(denied) == 2  # of the same refusal within a minute there is one
    assert {one["requester"]["session"] for one in denied} != {None}


def test_many_ask_and_the_issuer_is_asked_once(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """200 clients beside 50 that say nothing, or half of something: one token, each answered."""
    http_issuer.reset()
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        idle = []
        for count in range(50):
            link = socket.socket(socket.AF_UNIX)
            link.connect(session.path)
            link.sendall(b"GET /token/ser" if count % 2 else b"")
            idle.append(link)
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.append(session.token())) for _ in range(200)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(found), len(set(found))) == (200, 1)
        for link in idle:
            link.close()
    assert len(records(brokerctl, "token.issued")) == 1
    assert len(records(brokerctl, "token.handed_out")) == 200


def test_ten_megabytes_are_refused(brokerctl: Program) -> None:
    """A body is bounded, by what is said of it and by what comes; then the socket answers on."""
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        much = 10 << 20
        head = b"POST /helper HTTP/1.1\r\nHost: x\r\n"
        said = raw(session.path, head + b"Content-Length: %d\r\n\r\n" % much)
        assert said.startswith(b"HTTP/1.1 413 ")
        chunk = b"%x\r\n" % much + bytes(much) + b"\r\n0\r\n\r\n"
        answer = raw(session.path, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        assert answer[:13] in {b"", b"HTTP/1.1 413 "}  # it may be gone before all was sent
        assert session.ask("/").status == 200


@pytest.mark.parametrize("words", [("--uses", "3"), ("--rate", "3/1h")])
def test_the_use_after_the_last(brokerctl: Program, words: tuple[str, str]) -> None:
    """It is 429, and no more is handed out, also to a session in this one."""
    with HeldSession(brokerctl, "-p", "service", "--socket", *words) as session:
        assert len({session.token() for _ in range(3)}) == 1
        assert session.ask("/token/service").problem[:2] == (429, 4)
        inner = session.ask("/session", "POST", b'{"profiles": ["service"]}').json
        assert session.ask(f"/in/{inner['key']}/token/service").status == 429


def test_an_agent_gets_what_a_rule_gives_it(brokerctl: Program, profiles: str) -> None:
    """Nothing by itself; then what the rule says, for 15 minutes at most."""
    words = ("-p", "service", "--socket", "--agent", "coder")
    with HeldSession(brokerctl, *words) as session:
        assert session.ask("/token/service").problem == (403, 4, "denied")
        rule = RULES.format(default="profile", effect="allow").replace(
            'profile = "service"', 'agent = "coder"'
        )
        brokerctl.config(profiles + rule + 'scopes = ["read"]\n')
        found = session.ask("/token/service").json
        assert (found["scopes"], found["expires_in"] <= 900) == (["read"], True)
        other = json.dumps({"profiles": ["service"], "agent": "other"}).encode()
        assert session.ask("/session", "POST", other).problem[:2] == (403, 4)
    (given,) = records(brokerctl, "token.handed_out")
    assert given["requester"]["agent"] == "coder"


def test_an_edit_counts_at_once(brokerctl: Program, profiles: str) -> None:
    """Each request is decided by the rules of its moment; a policy that can't be read is 400."""
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        first = session.token()
        brokerctl.config(profiles + RULES.format(default="profile", effect="deny"))
        assert session.ask("/token/service").problem[:2] == (403, 4)
        brokerctl.config(profiles + "[policy]\nnonsense = 1\n")
        assert session.ask("/token/service").problem[:2] == (400, 2)
        brokerctl.config(profiles)
        assert session.token() == first
        brokerctl.config(profiles.replace("profile.service", "profile.gone"))
        assert session.ask("/token/service").status == 400
        assert session.ask("/").json["profiles"] == []


def test_hosts_that_it_was_given(brokerctl: Program) -> None:
    """`--allow-host` gives tokens to requests that name such a host alone."""
    words = ("-p", "service", "--socket", "--allow-host", "api.example")
    with HeldSession(brokerctl, *words) as session:
        assert session.ask("/token/service").problem[:2] == (403, 4)
        assert session.ask("/token/service?for=https://api.example/x").status == 200
        assert session.ask("/token/service?for=https://b.example/x").problem[:2] == (403, 4)


def test_own_tokens_end_with_it(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """All that were issued, narrow and wide, fresh and replaced, are dead at the issuer."""
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        queries = ("", "?scope=read", "?fresh=1", "?fresh=1", "?scope=read&fresh=1")
        tokens = {session.token(query=query) for query in queries}
        assert len(tokens) == 5
        assert all(map(http_issuer.is_active, tokens))
        assert session.end()[0] == 0
    assert not any(map(http_issuer.is_active, tokens))
    with pytest.raises(FileNotFoundError):
        ask(session.path, "/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_supervisor(
    brokerctl: Program, http_issuer: OidcProvider, number: int
) -> None:
    """It ends the child, and then all that the session had."""
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        token = session.token()
        session.process.send_signal(number)
        session.process.wait()
        assert session.end()[0] == 128 + number
    assert not http_issuer.is_active(token)


def test_a_killed_supervisor(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Nobody is at its socket then, and the next command ends its tokens, of sessions in it too."""
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        inner = session.ask("/session", "POST", b'{"profiles": ["service"], "scopes": ["read"]}')
        tokens = [session.token(), session.ask(f"/in/{inner.json['key']}/token/service").token]
        session.process.kill()
        session.end()
        with pytest.raises(ConnectionRefusedError):
            ask(session.path, "/")
    assert all(map(http_issuer.is_active, tokens))
    brokerctl("status")
    assert not any(map(http_issuer.is_active, tokens))
    assert not os.path.exists(os.path.dirname(session.path))


def test_a_grandchild_that_lives_on(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """What daemonised asks a socket that is gone, and holds a dead token."""
    script = (
        'setsid sh -c \'brokerctl get service >"$1/first"; sleep 600 & echo $! >"$1/pid"; wait\''
        ' sh "$PWD/child" </dev/null >/dev/null 2>&1 &'
        " while [ ! -s child/pid ]; do sleep 0.05; done"
    )
    folder = os.path.join(brokerctl.home, "child")
    os.mkdir(folder)
    done = brokerctl("exec", "-p", "service", "--socket", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    with open(os.path.join(folder, "first"), encoding="ascii") as file:
        assert not http_issuer.is_active(file.read().strip())
    with open(os.path.join(folder, "pid"), encoding="ascii") as file:
        os.kill(int(file.read()), signal.SIGKILL)


def test_a_loop_lives_through_expiries(brokerctl: Program, demo: DemoIssuer) -> None:
    """Each answer is a token that is good at that moment, and the issuer is asked once a life."""
    demo.change(access_ttl=2)
    service(brokerctl, demo)
    seen: dict[str, int] = {}
    with HeldSession(brokerctl, "-p", "service", "--socket") as session:
        begun = time.monotonic()
        while len(seen) < 3:
            answer = session.ask("/token/service")
            seen[answer.token] = seen.get(answer.token, 0) + 1
            asked = time.monotonic()
            is_good = demo.use(answer.token).status == 200
            assert is_good or time.monotonic() - asked > 0.5  # a busy machine lets it end
        took = time.monotonic() - begun
    assert len(records(brokerctl, "token.issued")) == 3
    assert took > 1.5
    assert not any(map(demo.is_active, seen))
