"""Every helper in a real session, by its socket alone, answers as outside of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.helpers import HELPERS
from tests.contracts.session_contract import AWS, PLAIN, POOL
from tests.contracts.test_helper_gcp import ENVIRON as GCP
from tests.contracts.test_helper_gcp import JWT
from tests.flows import STS_VALUE
from tests.helper_room import Answer, HelperRoom
from tests.program import PROGRAM, ROOT, TIMEOUT_S
from tests.scripts.helper_answers import asking

if TYPE_CHECKING:
    from tests.program import Program
    from tests.scripts.helper_answers import Asked

HOST, TOKEN = "h.example", "s3cret-of-forge"
CONFIG = (
    f'[profile.forge]\n{PLAIN}hosts = ["https://{HOST}", "https://{HOST}/index"]\n'
    f'[profile.cloud]\n{PLAIN.replace("app", "gcp")}google = {{ pool = "{POOL}" }}\n'
    f"[profile.role]\n{AWS}"
    f'[profile.others]\n{PLAIN.replace("app", "other")}hosts = ["https://others.example"]\n'
)
CHILD = os.path.join(ROOT, "tests", "scripts", "session_child.py")
NAMED: Asked = {
    "aws": (["aws", "--profile", "role"], "", {}),
    "gcp": (["gcp", "--profile", "cloud"], "", GCP),
    "headers": (["headers", "--profile", "forge"], "", {}),
    "kubernetes": (["kubernetes", "--profile", "forge"], "", {}),
    "pnpm": (["pnpm", "--profile", "forge"], "", {}),
    "pnpm of nobody": (["pnpm", "--profile=forge", "x"], "", {}),
    "docker version": (["docker", "version"], "", {}),
    "git capability": (["git", "capability"], "", {}),
    "git unchecked": (
        ["git", "get"],
        f"protocol=https\nhost={HOST}\n\n",
        {"GIT_SSL_NO_VERIFY": ""},
    ),
}


@pytest.fixture
def room(brokerctl: Program) -> HelperRoom:
    """Return a home with a token of each profile."""
    room = HelperRoom(brokerctl, CONFIG)
    for name, value in (("forge", TOKEN), ("cloud", JWT), ("role", STS_VALUE), ("others", "x")):
        room.hold(name, value)
    return room


def in_session(
    room: HelperRoom, asked: Asked, *kept: str, is_kept: bool = True
) -> dict[str, Answer]:
    """Ask all in one session that has all profiles but one."""
    words = ["exec", "-p", "forge", "-p", "cloud", "-p", "role", "--socket"]
    words += ["--keep", "--"] if is_kept else ["--"]
    done = subprocess.run(
        [PROGRAM, *words, sys.executable, CHILD, PROGRAM, *kept],
        input=json.dumps([[name, *one] for name, one in asked.items()]).encode(),
        env=room.env,
        cwd=room.cwd,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"", "the supervisor's own stderr is its child's"
    found: dict[str, Any] = json.loads(done.stdout)
    return {name: Answer(out.encode(), code, err) for name, (out, code, err) in found.items()}


def by_hint(text: str) -> list[str]:
    """Return the lines of stderr without hints: in a session other commands help."""
    return [line for line in text.splitlines() if not line.startswith("brokerctl: hint:")]


@pytest.mark.slow(reason="a hundred starts of the program, as many as there are answers of tools")
def test_every_tool_is_answered_as_outside(room: HelperRoom) -> None:
    """For one of ours and for a stranger, with nothing around but the socket."""
    asked = NAMED | asking(HOST)
    asked |= {f"{name}, stranger": one for name, one in asking("x.example").items()}
    assert {words[0] for words, _, _ in asked.values()} == set(HELPERS)
    dropping = {name for name in asked if "erase" in name or "logout" in name or "forget" in name}
    inside = in_session(room, asked, "BROKERCTL_SOCKET", "PATH")
    for name, (words, data, more) in asked.items():
        if name in dropping:
            continue  # outside of a session the token is used no more
        direct = room.direct(words, data.encode(), more)
        assert inside[name][:2] == direct[:2], name
        assert by_hint(inside[name].stderr) == by_hint(direct.stderr), name
    tokens = [name for name, one in inside.items() if TOKEN.encode() in one.stdout]
    assert len(tokens) >= len(HELPERS) - 2, "of two tools it has another form"


def test_what_the_session_does_not_have_is_nobody_s(room: HelperRoom) -> None:
    """Security: neither a host nor a name tells what there is outside."""
    asked: Asked = {
        "host": (["git", "get"], "protocol=https\nhost=others.example\n\n", {}),
        "name": (["pnpm", "--profile", "others"], "", {}),
        "missing": (["pnpm", "--profile", "nobody"], "", {}),
        "list": (["docker", "list"], "", {}),
    }
    found = in_session(room, asked, "BROKERCTL_SOCKET", "PATH")
    assert found["host"] == (b"", 0, "")
    assert found["name"].stderr.replace("others", "nobody") == found["missing"].stderr
    assert b"others" not in found["list"].stdout


@pytest.mark.parametrize("is_kept", [True, False], ids=["--keep", "without it"])
def test_a_token_that_never_ends_is_no_session_s(room: HelperRoom, *, is_kept: bool) -> None:
    """Security: it would be the grant; `--keep` says that the session may have it."""
    room.hold("forge", TOKEN, lifetime_s=None)
    asked: Asked = {"git": (["git", "get"], f"protocol=https\nhost={HOST}\n\n", {})}
    answer = in_session(room, asked, is_kept=is_kept)["git"]
    assert (TOKEN.encode() in answer.stdout) is is_kept
    assert ("the token of 'forge' never expires" in answer.stderr) is not is_kept


def test_other_commands_of_helpers_are_refused(room: HelperRoom) -> None:
    """What changes a tool's set-up, or shows what is kept, is nothing of a session's."""
    asked: Asked = {
        name: ([name, *more], "", {})
        for name, more in (("install", ["git"]), ("kept", []), ("list", []), ("export", ["git"]))
    }
    for one in in_session(room, asked).values():
        assert (one.stdout, one.exit_code) == (b"", 4)
        assert one.stderr.count("\n") <= 2
