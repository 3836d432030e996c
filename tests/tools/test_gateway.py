"""Real clients behind `exec --gateway`: none gets a token, and each lives through a new one."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import h11
import pytest

from tests.gateway_room import Upstream
from tests.idp import main_job
from tests.idp.tls import make_tls
from tests.program import ROOT, require_tool
from tests.tools.git_server import BEARER, GitServer
from tests.tools.index_server import WHEEL, make_wheel
from tests.tools.room import hosts
from tests.tools.test_git import AUTHOR, log_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway_room import Asking
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program, Result

TOOLS_PYTHON = os.path.join(ROOT, "build", "test-tools", "bin", "python")
STREAM = (b"one", b"two", b"three")
URLLIB = """
import os, urllib.request
base = os.environ["BROKERCTL_GATEWAY_SERVICE"]
for path in ("/hello", "/spoil", "/hello", "/stream"):
    print(urllib.request.urlopen(base + path).read().decode())
request = urllib.request.Request(base + "/echo", data=b"x" * 100_000)
print(len(urllib.request.urlopen(request).read()))
"""
REQUESTS = """
import os, requests
base = os.environ["BROKERCTL_GATEWAY_SERVICE"]
session = requests.Session()
for path in ("/hello", "/spoil", "/hello", "/stream"):
    print(session.get(base + path).text)
print(len(session.post(base + "/echo", data=iter([b"x" * 50_000] * 2)).content))
"""
HTTPX = """
import os, httpx2
base = os.environ["BROKERCTL_GATEWAY_SERVICE"]
with httpx2.Client() as client:
    for path in ("/hello", "/spoil", "/hello", "/stream"):
        print(client.get(base + path).text)
    print(len(client.post(base + "/echo", content=b"x" * 100_000).content))
"""
AIOHTTP = """
import asyncio, os, aiohttp
base = os.environ["BROKERCTL_GATEWAY_SERVICE"]
async def main():
    async with aiohttp.ClientSession() as session:
        for path in ("/hello", "/spoil", "/hello", "/stream"):
            async with session.get(base + path) as answer:
                print(await answer.text())
        async with session.post(base + "/echo", data=b"x" * 100_000) as answer:
            print(len(await answer.read()))
asyncio.run(main())
"""
NODE = """
const base = process.env.BROKERCTL_GATEWAY_SERVICE;
(async () => {
  for (const path of ["/hello", "/spoil", "/hello", "/stream"])
    console.log(await (await fetch(base + path)).text());
  const half = new TextEncoder().encode("x".repeat(50000));
  const body = new ReadableStream({ start(c) { c.enqueue(half); c.enqueue(half); c.close(); } });
  const answer = await fetch(base + "/echo", { method: "POST", body, duplex: "half" });
  console.log((await answer.text()).length);
})();
"""
CURL = """
for path in hello spoil hello stream; do
  curl -sf --max-time 60 "$BROKERCTL_GATEWAY_SERVICE/$path"; echo
done
head -c 100000 /dev/zero | curl -sf -T - -X POST "$BROKERCTL_GATEWAY_SERVICE/echo" | wc -c
"""
CLIENTS = {
    "urllib": (sys.executable, "-c", URLLIB),
    "requests": (TOOLS_PYTHON, "-c", REQUESTS),
    "httpx2": (TOOLS_PYTHON, "-c", HTTPX),
    "aiohttp": (TOOLS_PYTHON, "-c", AIOHTTP),
    "node": ("node", "-e", NODE),
    "curl": ("sh", "-c", CURL),
}


class Api:
    """An API whose tokens are the issuer's; it ends the one that `/spoil` was asked with."""

    def __init__(self, issuer: DemoIssuer, folder: str, *, is_tls: bool = False) -> None:
        self.issuer = issuer
        self.tokens: list[str] = []
        self.statuses: list[int] = []
        tls = make_tls(folder) if is_tls else None
        self.ca_file = tls.ca_file if tls else None
        self.upstream = Upstream(self.answer, tls.server_file if tls else None)

    def answer(self, asking: Asking) -> None:
        """Answer one request."""
        token = asking.headers.get("authorization", "").removeprefix("Bearer ")
        body = asking.body()
        status = self.issuer.use(token).status
        self.statuses.append(status)
        if token not in self.tokens:
            self.tokens.append(token)
        if status != 200:
            asking.answer(401, b"no", WWW_Authenticate='Bearer error="invalid_token"')
        elif asking.target == "/stream":
            asking.send(
                h11.Response(status_code=200, headers=[("Content-Type", "text/event-stream")])
            )
            asking.send(*(h11.Data(data=b"data: " + text + b"\n\n") for text in STREAM))
            asking.send(h11.EndOfMessage())
        elif asking.target == "/spoil":
            self.issuer.post("/token/revocation", "basic", token=token)
            asking.answer(200, b"spoilt " + token.encode(), Content_Type="text/plain")
        elif asking.target == "/echo":
            asking.answer(200, body, Content_Type="application/octet-stream")
        else:
            asking.answer(200, b"hello", Content_Type="text/plain")


@pytest.fixture
def api(issuer: DemoIssuer, trace_dir: str) -> Iterator[Api]:
    """Return the API over http."""
    found = Api(issuer, trace_dir)
    yield found
    found.upstream.close()


def run(program: Program, *words: str) -> Result:
    """Run a command behind the gateway of the profile `service`."""
    return program("exec", "-p", "service", "--gateway", "--", *words)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_lives_through_a_new_token_and_never_sees_one(
    brokerctl: Program, issuer: DemoIssuer, api: Api, name: str
) -> None:
    """First call, a token that ends between two calls, a stream, and a body both ways."""
    require_tool(CLIENTS[name][0])
    main_job.service(brokerctl, issuer, hosts=hosts(api.upstream.url))
    done = run(brokerctl, *CLIENTS[name])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines[0] == "hello"
    assert lines[1] == "spoilt " + "*" * len(api.tokens[0])
    assert lines[2] == "hello"
    assert done.stdout.endswith("100000\n")
    assert all(f"data: {text.decode()}" in lines for text in STREAM)
    assert api.statuses.count(401) == 1
    assert len(api.tokens) == 2
    assert not any(token in done.stdout + done.stderr for token in api.tokens)
    assert not any(map(issuer.is_active, api.tokens))  # the session has ended


def test_the_environment_holds_no_token(brokerctl: Program, issuer: DemoIssuer, api: Api) -> None:
    """A base URL with a key is all that the child is given, and opens nothing afterwards."""
    main_job.service(brokerctl, issuer, hosts=hosts(api.upstream.url))
    done = run(brokerctl, "sh", "-c", "env; curl -s $BROKERCTL_GATEWAY_SERVICE/hello")
    named = [line for line in done.stdout.splitlines() if line.startswith("BROKERCTL_")]
    (base,) = [line for line in named if line.startswith("BROKERCTL_GATEWAY_SERVICE=")]
    assert "SERVICE_TOKEN" not in done.stdout
    assert api.tokens
    assert not any(token in done.stdout for token in api.tokens)
    url = base.partition("=")[2]
    after = subprocess.run(["curl", "-s", url], capture_output=True, check=False)
    assert after.returncode == 7  # nobody listens there


def test_each_hand_out_and_the_use_are_in_a_record_that_verifies(
    brokerctl: Program, issuer: DemoIssuer, api: Api
) -> None:
    """One line a minute for the token and one for what went through; nothing of path and query."""
    main_job.service(brokerctl, issuer, hosts=hosts(api.upstream.url))
    ask = "for n in 1 2 3; do curl -s $BROKERCTL_GATEWAY_SERVICE/hello/x?secret=1; done"
    assert run(brokerctl, "sh", "-c", ask).returncode == 0
    log = brokerctl("audit", "log", "--json").stdout
    records = [json.loads(line) for line in log.splitlines()]
    handed = [one for one in records if one["event"] == "token.handed_out"]
    assert len(handed) in {1, 2}  # it may be the end of a minute
    assert {one["requester"]["tool"] for one in handed} == {"gateway"}
    assert {one["url"] for one in handed} == {api.upstream.url}
    used = [one for one in records if one["event"] == "gateway.used"]
    assert sum(one["count"] for one in used) == 3
    assert {(one["method"], one["path"], one["answer"]) for one in used} == {
        ("GET", "/hello", "2xx")
    }
    assert len({one["requester"]["session"] for one in [*used, *handed]}) == 1
    assert "secret" not in log
    assert brokerctl("audit", "verify").returncode == 0


def test_a_revoked_grant_is_said_at_the_next_request(
    brokerctl: Program, issuer: DemoIssuer, api: Api
) -> None:
    """The API's 401 asks for a fresh token, which needs a person: our 401 says so by its name."""
    log_in(brokerctl, issuer, hosts=hosts(api.upstream.url))
    url = "$BROKERCTL_GATEWAY_PERSON"
    script = f"curl -s {url}/hello {url}/spoil; read x; curl -si {url}/hello"
    with brokerctl.start("exec", "-p", "person", "--gateway", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        text = ""
        while "spoilt" not in text:
            text += process.stdout.read(1)
        assert brokerctl("revoke", "person").returncode == 0
        process.stdin.write("\n")
        process.stdin.flush()
        out, err = process.communicate(timeout=120)
    assert "HTTP/1.1 401" in out, (out, err)
    assert "Brokerctl-Error: login_needed" in out


def test_pip_installs_from_an_index_that_wants_a_password(
    brokerctl: Program, issuer: DemoIssuer
) -> None:
    """As `present` says; links that are relative to their page stay behind the gateway."""
    page = f'<!DOCTYPE html><a href="../../files/{WHEEL}">{WHEEL}</a>'.encode()

    def answer(asking: Asking) -> None:
        asking.body()
        pair = base64.b64decode(asking.headers["authorization"].removeprefix("Basic ")).decode()
        user, _, token = pair.partition(":")
        assert (user, issuer.use(token).status) == ("robot", 200)
        if asking.target == "/simple/shop/":
            asking.answer(200, page, Content_Type="text/html")
        else:
            asking.answer(200, make_wheel(), Content_Type="application/octet-stream")

    upstream = Upstream(answer)
    main_job.service(brokerctl, issuer, hosts=hosts(upstream.url), present='{ basic = "robot" }')
    pip = f"{TOOLS_PYTHON} -m pip --isolated --disable-pip-version-check download -q --no-deps"
    url = "$BROKERCTL_GATEWAY_SERVICE/simple/"
    done = run(
        brokerctl, "sh", "-c", f"{pip} --no-cache-dir -d got --index-url {url} shop && ls got"
    )
    upstream.close()
    assert done.stdout == f"{WHEEL}\n", done.stderr
    assert [one.target for one in upstream.seen] == ["/simple/shop/", f"/files/{WHEEL}"]


def test_git_clones_and_pushes_through_the_gateway(
    brokerctl: Program, issuer: DemoIssuer, trace_dir: str
) -> None:
    """Over TLS with a CA of the profile's own, which git never hears of."""
    git = require_tool("git")
    with GitServer(tempfile.mkdtemp(prefix="git-", dir=trace_dir), issuer, BEARER) as server:
        server.make("shop.git")
        main_job.service(brokerctl, issuer, hosts=hosts(server.url), ca_file=f'"{server.ca_file}"')
        author = " ".join(AUTHOR)
        script = f"""set -e
            {git} clone -q $BROKERCTL_GATEWAY_SERVICE/shop.git work
            head -c 3000000 /dev/urandom > work/large
            {git} -C work add large
            {git} -C work {author} commit -q -m one
            {git} -C work push -q origin HEAD:main
            {git} clone -q $BROKERCTL_GATEWAY_SERVICE/shop.git again
            cmp work/large again/large
            {git} -C again log --format=%s"""
        done = run(brokerctl, "sh", "-c", script)
        assert (done.returncode, done.stdout) == (0, "one\n"), done.stderr
        assert {user for user, status in server.seen if status < 400} == {"bearer"}
