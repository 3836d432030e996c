"""Whose program has connected to us: the kernel's tables, asked about a real second uid."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from brokerctl.effects.peer import FOREIGN, GONE, OURS, UNKNOWN, whose
from tests.machine.room import require_root
from tests.program import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
# Connects in one of the ways of the tables below, says so, and waits for its stdin to end.
CLIENT = """
import socket, struct, sys
way, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if way.startswith(("mapped", "ipv6")) else socket.AF_INET
link = socket.socket(family)
if way == "other address":
    link.bind(("127.0.0.2", 0))
host = {"mapped": "::ffff:127.0.0.1", "ipv6": "::1"}.get(way.split()[0], "127.0.0.1")
link.connect((host, port))
link.sendall(b"GET /callback?code=c&state=right HTTP/1.1\\r\\n\\r\\n")
if "half" in way:
    link.shutdown(socket.SHUT_WR)
if "reset" in way:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
if "closed" in way or "reset" in way:
    link.close()
print("done", flush=True)
sys.stdin.read()
"""
WAYS = ("plain", "mapped", "ipv6", "other address", "half", "mapped half")
ENDED = ("closed", "mapped closed", "ipv6 closed", "reset", "mapped reset")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Close what a test opened."""
    with ExitStack() as held:
        yield held


def connected(stack: ExitStack, way: str, uid: int) -> socket.socket:
    """Return our end of a connection that a process of this uid has made in one way."""
    address = ("::1", 0) if way.startswith("ipv6") else ("127.0.0.1", 0)
    family = socket.AF_INET6 if way.startswith("ipv6") else socket.AF_INET
    try:
        listener = stack.enter_context(socket.create_server(address, family=family))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    words = ["/usr/bin/python3", "-c", CLIENT, way, str(listener.getsockname()[1])]
    who = {} if uid == os.geteuid() else {"user": uid, "group": uid, "extra_groups": []}
    client = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        **who,  # type: ignore[call-overload]  # a table of Popen's own
    )
    stack.enter_context(client)
    assert client.stdout.readline() == b"done\n"
    return stack.enter_context(listener.accept()[0])


@pytest.mark.parametrize("way", WAYS)
def test_ours(stack: ExitStack, way: str) -> None:
    """A program of ours is known as such, also through a socket for both families."""
    assert whose(connected(stack, way, os.geteuid())) == (OURS, os.geteuid())


@pytest.mark.parametrize("way", WAYS)
def test_another_user(stack: ExitStack, way: str) -> None:
    """A program of another user's is known by its uid, whatever socket it uses."""
    require_root()
    assert whose(connected(stack, way, NOBODY)) == (FOREIGN, NOBODY)


@pytest.mark.parametrize("way", ENDED)
def test_gone(stack: ExitStack, way: str) -> None:
    """Who hangs up before we ask is nobody: the table would call a closed socket root's."""
    require_root()
    link = connected(stack, way, NOBODY)
    assert whose(link) == (GONE, None)
    assert whose(link, uid=1) == (GONE, None)


def test_root_is_not_told(stack: ExitStack) -> None:
    """A relay of root's, as WSL has one, stands for somebody who isn't known."""
    require_root()
    assert whose(connected(stack, "plain", 0), uid=NOBODY) == (UNKNOWN, 0)


def test_outside_of_this_namespace(stack: ExitStack) -> None:
    """A socket that is in no table of this network namespace is let through as unknown."""
    require_root()
    link = connected(stack, "plain", os.geteuid())
    code = (
        "import socket, sys; from brokerctl.effects.peer import whose;"
        "print(*whose(socket.socket(fileno=int(sys.argv[1]))))"
    )
    words = [require_tool("unshare"), "-n", sys.executable, "-c", code, str(link.fileno())]
    done = subprocess.run(
        words, pass_fds=[link.fileno()], capture_output=True, text=True, check=False
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.stdout.split() == [UNKNOWN, "None"], done.stderr


def test_no_tables(stack: ExitStack) -> None:
    """Where there is no /proc nothing is known, and nobody is kept out."""
    assert whose(connected(stack, "plain", os.geteuid()), tables=("/nonexistent",)) == (
        UNKNOWN,
        None,
    )


@pytest.mark.parametrize("way", ["closed", "reset", "half"])
def test_gone_from_the_tables(stack: ExitStack, way: str) -> None:
    """Who has hung up and is in no table any more was perhaps another user, and is not let in."""
    link = connected(stack, way, os.geteuid())
    assert whose(link, tables=("/nonexistent",)) == (GONE, None)
