"""A container that has a session's socket, the program, and nothing else of ours."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.idp.main_job import service
from tests.machine.room import require_root
from tests.program import BIN, require_tool
from tests.socket_room import HeldSession

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

# Mounts, processes, users and names of its own; all that the session's home holds is covered.
CONTAINER = """
set -e
mount -t tmpfs -o mode=0755 container /srv
touch /srv/broker
mount --bind "$SOCKET" /srv/broker
mount -t tmpfs -o mode=0700 nothing "$COVERED"
exec env -i PATH="$PATH" HOME=/nonexistent BROKERCTL_SOCKET=/srv/broker "$@"
"""


@pytest.fixture
def session(brokerctl: Program, http_issuer: OidcProvider) -> HeldSession:
    """Return a session with a socket."""
    service(brokerctl, http_issuer, hosts='["https://api.example"]')
    os.mkdir(os.path.join(brokerctl.home, "run"), 0o700)
    brokerctl.env["XDG_RUNTIME_DIR"] = os.path.join(brokerctl.home, "run")
    return HeldSession(brokerctl, "-p", "service", "--socket")


def in_container(brokerctl: Program, session: HeldSession, *words: str, stdin: str = "") -> str:
    """Run a command there, and return what it printed."""
    require_root()
    unshare = [require_tool("unshare"), "-m", "--pid", "--fork", "--mount-proc", "--uts", "--ipc"]
    env = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "SOCKET": session.path,
        "COVERED": brokerctl.home,
    }
    done = subprocess.run(
        [*unshare, "sh", "-c", CONTAINER, "sh", *words],
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    brokerctl.keep(("exec", *words), done.stdout, done.stderr)  # it is a child of one
    return done.stdout


def test_it_works_with_the_socket_alone(brokerctl: Program, session: HeldSession) -> None:
    """`get`, git's helper, curl and an `exec` of its own, each with the session's token."""
    with session:
        token = session.token()
        assert in_container(brokerctl, session, "brokerctl", "get", "service").strip() == token
        asked = "protocol=https\nhost=api.example\n\n"
        words = ("git-credential-brokerctl", "get")
        assert f"password={token}" in in_container(brokerctl, session, *words, stdin=asked)
        curl = ("curl", "-s", "--unix-socket", "/srv/broker", "http://session/token/service")
        assert json.loads(in_container(brokerctl, session, *curl))["access_token"] == token
        script = "TMPDIR=/tmp brokerctl exec -p service -- sh -c 'brokerctl get service'"
        inner = in_container(brokerctl, session, "sh", "-c", script).strip()
        assert inner not in {"", token}


def test_it_finds_no_key_store_or_token(brokerctl: Program, session: HeldSession) -> None:
    """Nothing of the home is seen, and no process outside can be looked into."""
    with session:
        token = session.token()
        found = in_container(brokerctl, session, "find", brokerctl.home, "/srv")
        assert found.splitlines() == [brokerctl.home, "/srv", "/srv/broker"]
        script = (
            "cat /proc/[0-9]*/environ | tr '\\0' '\\n'; ls /proc | grep -c '^[0-9]'; status=0;"
            " brokerctl status || status=$?; echo $status"
        )
        lines = in_container(brokerctl, session, "sh", "-c", script).splitlines()
        assert (token in "\n".join(lines), lines[-1]) == (False, "4")
        assert int(lines[-2]) < 10
