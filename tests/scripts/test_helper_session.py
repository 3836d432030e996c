"""Helpers in a session, answered by a supervisor's threads: nothing mixed, all of it recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.helpers.session_answer import answer_question
from brokerctl.helpers.session_question import HelperQuestion, SessionReply
from brokerctl.home import Home, open_home
from tests.contracts.session_contract import PLAIN, POOL
from tests.contracts.test_helper_gcp import ENVIRON as GCP
from tests.contracts.test_helper_gcp import JWT
from tests.helper_room import SESSION, HelperRoom, SessionHome, records
from tests.program import ROOT, TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

    from brokerctl.model import TokenRequest
    from tests.program import Program

COUNT = 32
PROFILES = 8
KEEPS = '[helpers]\nkeep = ["git", "docker", "cargo"]\n'
FORGE = f'[profile.forge]\n{PLAIN}hosts = ["https://h.example"]\n'
OTHERS = f'[profile.others]\n{PLAIN}hosts = ["https://others.example"]\n'.replace("app", "app2")
ASK = b"protocol=https\nhost=%s\n\n"
OFFER = b"protocol=https\nhost=kept.example\nusername=bob\npassword=b0b\n\n"
DRIVER = os.path.join(ROOT, "tests", "scripts", "session_helper.py")


class OwnHome(SessionHome):
    """A session with tokens of its own."""

    __slots__ = ()

    def make_request(self, profile: str, tool: str, url: str | None = None) -> TokenRequest:
        """Make a request for one, which serves all of this session."""
        return super().make_request(profile, tool, url).replace(is_own=True, is_reused=True)


class BobsHome(SessionHome):
    """A session that was started for one of a profile's subjects."""

    __slots__ = ()

    def make_request(self, profile: str, tool: str, url: str | None = None) -> TokenRequest:
        """Make a request for his token."""
        return super().make_request(profile, tool, url).replace(subject="bob")


def read_log(room: HelperRoom, program: Program) -> list[dict[str, Any]]:
    """Return the records."""
    assert room.env["BROKERCTL_HOME"] == os.path.join(program.home, "state")
    return [json.loads(line) for line in records(program)]


@pytest.fixture
def room(brokerctl: Program) -> HelperRoom:
    """Return a home with a profile for sessions and another, both with a token."""
    room = HelperRoom(brokerctl, KEEPS + FORGE + OTHERS)
    room.hold("forge", "t-forge")
    room.hold("others", "t-others")
    return room


def by_tool(name: str, host: str) -> HelperQuestion:
    """Return a tool's question for a profile and its host."""
    url, environ = f"https://{host}", {}
    words: dict[str, list[str]] = {
        "askpass": [f"Password for '{url}': "],
        "cargo": ["--cargo-plugin"],
        "terraform": ["get", host],
        "keyring": ["get", url, "a", "--mode", "creds"],
        "goauth": [f"{url}/mod"],
        "pnpm": ["--profile", name],
        "kubernetes": ["--profile", name],
    }
    line = {"v": 1, "kind": "get", "operation": "read", "registry": {"index-url": url}}
    stdin = {
        "git": ASK % host.encode(),
        "docker": host.encode(),
        "bazel": json.dumps({"uri": f"{url}/x"}).encode(),
        "cargo": json.dumps(line).encode(),
    }
    tools = ("git", "docker", "bazel", "vault", *words)
    tool = tools[int(host.partition(".")[0][1:]) % len(tools)]
    if tool == "vault":
        environ = {"VAULT_ADDR": url}
    return HelperQuestion(
        words=(tool, *words.get(tool, ["get"])), stdin=stdin.get(tool, b""), environ=environ
    )


@pytest.mark.parametrize("is_job", [False, True], ids=["a home", "a job without one"])
def test_many_tools_at_once_get_each_its_own(
    brokerctl: Program, capfd: pytest.CaptureFixture[str], *, is_job: bool
) -> None:
    """32 threads, tools and profiles: no answer, note or record is another's."""
    hosts = {f"p{at}": [f"h{at + PROFILES * n}.example" for n in range(4)] for at in range(8)}
    room = HelperRoom(
        brokerctl,
        "".join(
            f"[profile.{name}]\n{PLAIN.replace('app', name)}username = 'a'\nhosts = "
            f"{json.dumps([f'https://{host}' for host in its])}\n"
            for name, its in hosts.items()
        ),
    )
    if is_job:
        room.leave_home()
    for name in hosts:
        room.hold(name, f"token-of-{name}")
    asked = [(name, host) for name, its in hosts.items() for host in its]
    assert len(asked) == COUNT
    capfd.readouterr()
    begin, found = threading.Barrier(COUNT), dict[str, SessionReply]()

    def ask(name: str, host: str) -> None:
        begin.wait()
        found[host] = room.answer(by_tool(name, host))

    threads = [threading.Thread(target=ask, args=one) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, host in asked:
        reply = found[host]
        assert reply.exit_code == 0, reply
        assert reply.lines == ()
        assert reply.stdout.count(b"token-of-") == 1, reply
        assert f"token-of-{name}".encode() in reply.stdout
    assert capfd.readouterr() == ("", "")
    if is_job:
        return  # its record lies elsewhere
    events = [one for one in read_log(room, brokerctl) if one["event"] == "token.handed_out"]
    assert sorted(one["profile"] for one in events) == sorted(name for name, _ in asked)


def test_notes_of_one_thread_are_no_other_s(
    room: HelperRoom, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is written for people is part of the very answer."""
    begin, found = threading.Barrier(16), dict[int, SessionReply]()
    odd = HelperQuestion(words=("git", "get"), stdin=b"host=a\nhost=b\n\n", environ={})
    right = HelperQuestion(words=("git", "get"), stdin=ASK % b"h.example", environ={})

    def ask(at: int) -> None:
        begin.wait()
        found[at] = room.answer(odd if at % 2 else right)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    note = "brokerctl: note: not a request of git: a key is repeated"
    assert [found[at].lines for at in range(16)] == [(), (note,)] * 8
    assert capfd.readouterr() == ("", "")


def test_nothing_of_the_process_changes(room: HelperRoom) -> None:
    """A supervisor has a child, a terminal and other threads: none of that is a helper's."""

    def state() -> tuple[object, ...]:
        handlers = [signal.getsignal(one) for one in signal.valid_signals()]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        umask = os.umask(0o22)
        os.umask(umask)
        streams = [os.fstat(fd).st_ino for fd in range(3)]
        return handlers, mask, umask, streams, os.getcwd(), dict(os.environ)

    before = state()
    for words, data in ((["git", "get"], ASK % b"h.example"), (["docker", "get"], b"h.example")):
        assert b"t-forge" in room.inside(words, data).stdout
    assert room.inside(["gcp", "--profile", "forge"]).exit_code == 0  # it closes its stderr
    assert state() == before


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("a bug")])
def test_what_did_not_arrive_is_recorded(
    room: HelperRoom, brokerctl: Program, error: Exception
) -> None:
    """The hand-out has its record before, as everywhere."""

    def send(_: SessionReply) -> None:
        raise error

    question = HelperQuestion(words=("git", "get"), stdin=ASK % b"h.example", environ={})
    assert not answer_question(question, room.open_session, send)
    handed, lost = read_log(room, brokerctl)[-2:]
    assert (handed["event"], lost["event"]) == ("token.handed_out", "token.not_delivered")
    assert handed["fingerprint"] == lost["fingerprint"]


def test_an_answer_without_a_token_that_does_not_arrive(room: HelperRoom) -> None:
    """Nothing was handed out, so there is nothing to record."""

    def send(_: SessionReply) -> None:
        raise BrokenPipeError

    question = HelperQuestion(words=("git", "get"), stdin=ASK % b"x.example", environ={})
    assert not answer_question(question, room.open_session, send)


def test_the_record_is_that_of_a_hand_out(room: HelperRoom, brokerctl: Program) -> None:
    """In both ways the same but for who asked, and when."""
    room.direct(["git", "get"], ASK % b"h.example")
    room.inside(["git", "get"], ASK % b"h.example")
    direct, inside = read_log(room, brokerctl)[-2:]
    assert inside["requester"].pop("session") == SESSION
    for one in (direct, inside):
        for name in ("seq", "time", "prev", "mac", "requester"):
            one.pop(name, None)
    assert direct == inside
    assert inside["event"] == "token.handed_out"


def test_a_refusal_while_it_is_read_is_recorded(room: HelperRoom, brokerctl: Program) -> None:
    """As outside of a session."""
    answer = room.inside(["gcp", "--profile", "forge"])
    assert b'"success":false' in answer.stdout
    last = read_log(room, brokerctl)[-1]
    assert (last["event"], last["requester"]["tool"]) == ("token.denied", "gcp")
    assert last["requester"]["session"] == SESSION


def test_another_s_profile_is_not_there(room: HelperRoom) -> None:
    """Neither by its host nor by its name, and no word tells that there is one."""
    assert room.direct(["git", "get"], ASK % b"others.example").stdout.count(b"t-others") == 1
    assert room.inside(["git", "get"], ASK % b"others.example") == (b"", 0, "")
    named = room.inside(["pnpm", "--profile", "others"])
    missing = room.inside(["pnpm", "--profile", "nobody"])
    assert named.exit_code == missing.exit_code != 0
    assert named.stderr.replace("others", "nobody") == missing.stderr
    assert b"others" in room.direct(["docker", "list"]).stdout
    assert room.inside(["docker", "list"]).stdout == b'{"h.example":"oauth2"}\n'


def test_what_a_tool_had_us_keep_is_not_there(room: HelperRoom) -> None:
    """A session neither gets it, nor drops it, nor has anything kept."""
    assert room.inside(["git", "store"], OFFER) == (b"", 0, "")
    assert room.direct(["git", "get"], ASK % b"kept.example").stdout == b""
    room.direct(["git", "store"], OFFER)
    assert b"b0b" in room.direct(["git", "get"], ASK % b"kept.example").stdout
    assert room.inside(["git", "get"], ASK % b"kept.example") == (b"", 0, "")
    assert room.inside(["git", "erase"], OFFER) == (b"", 0, "")
    assert room.inside(["docker", "erase"], b"kept.example").exit_code == 0
    assert b"b0b" in room.direct(["git", "get"], ASK % b"kept.example").stdout
    offer = json.dumps({"ServerURL": "r.example", "Username": "a", "Secret": "b"}).encode()
    assert room.inside(["docker", "store"], offer).exit_code == 1


def erase(value: str) -> bytes:
    """Return git's request after a 401."""
    return b"protocol=https\nhost=h.example\nusername=oauth2\npassword=%s\n\n" % value.encode()


def test_a_session_does_not_end_a_token_that_others_use(
    room: HelperRoom, brokerctl: Program
) -> None:
    """Else it could have an issuer asked for a new one as often as it likes."""
    assert b"t-forge" in room.inside(["git", "get"], ASK % b"h.example").stdout
    before = len(records(brokerctl))
    assert room.inside(["git", "erase"], erase("t-forge")) == (b"", 0, "")
    assert room.inside(["vault", "erase"], b"", {"VAULT_ADDR": "https://h.example"}).exit_code == 0
    assert len(records(brokerctl)) == before
    assert b"t-forge" in room.direct(["git", "get"], ASK % b"h.example").stdout
    assert b"t-forge" in room.inside(["git", "get"], ASK % b"h.example").stdout
    room.direct(["git", "erase"], erase("t-forge"))
    assert b"t-forge" not in room.direct(["git", "get"], ASK % b"h.example").stdout


def test_a_session_s_own_token_is_served_no_more_after_a_401(room: HelperRoom) -> None:
    """And that of all others stays."""
    room.hold("forge", "t-own", session=SESSION)

    def opened() -> Home:
        home = open_home(room.env)
        home.__class__ = OwnHome
        return home

    got = room.inside(["git", "get"], ASK % b"h.example", opened=opened)
    assert b"t-own" in got.stdout
    room.inside(["git", "erase"], erase("t-forge"), opened=opened)  # it is not this one
    assert room.inside(["git", "get"], ASK % b"h.example", opened=opened).stdout == got.stdout
    room.inside(["git", "erase"], erase("t-own"), opened=opened)
    after = room.inside(["git", "get"], ASK % b"h.example", opened=opened)
    assert after.stdout == b"quit=1\n"  # this grant has no refresh token to get another by
    assert b"t-forge" in room.direct(["git", "get"], ASK % b"h.example").stdout


def test_a_session_is_for_one_subject(brokerctl: Program) -> None:
    """Security: words of a tool choose no other's token, and narrowing leaves whose it is."""
    room = HelperRoom(brokerctl, f'{FORGE}scopes = ["read"]\n')
    for subject in ("bob", "eve", None):
        room.hold("forge", f"t-{subject}", subject=subject)
    asked = ["headers", "--profile", "forge"]
    assert b"t-eve" in room.direct([*asked, "--subject", "eve"]).stdout

    def opened() -> Home:
        home = open_home(room.env)
        home.__class__ = BobsHome
        return home

    for more in ([], ["--subject", "bob"], ["--scope", "read"]):
        assert b"t-bob" in room.inside([*asked, *more], opened=opened).stdout, more
    for opener in (opened, None):
        refused = room.inside([*asked, "--subject", "eve"], opened=opener)
        assert (refused.stdout, refused.exit_code) == (b"", 4)
        assert read_log(room, brokerctl)[-1]["event"] == "token.denied"


def test_a_tool_that_checks_no_certificate_is_refused(room: HelperRoom, brokerctl: Program) -> None:
    """The client sees its own variables and files, and the record names what it found."""
    off = {"GIT_SSL_NO_VERIFY": "1"}
    for ask in (room.direct, room.inside):
        answer = ask(["git", "get"], ASK % b"h.example", off)
        assert answer.stdout == b"quit=1\n"
        assert "GIT_SSL_NO_VERIFY" in answer.stderr
        assert read_log(room, brokerctl)[-1]["event"] == "token.denied"


def test_a_home_that_can_t_be_opened_refuses(room: HelperRoom) -> None:
    """Whose a host is would be said by what is outside of the session."""
    with open(room.env["BROKERCTL_CONFIG"], "a") as file:
        file.write("[profile.broken\n")
    answer = room.inside(["git", "get"], ASK % b"x.example")
    assert answer.stdout == b"quit=1\n"
    assert answer.stderr.startswith("brokerctl: error: ")


def test_a_request_that_is_too_long_is_none(room: HelperRoom) -> None:
    """As for a tool that sends it to a helper outside."""
    question = HelperQuestion(words=("docker", "get"), stdin=b"x" * ((1 << 20) + 1), environ={})
    reply = room.answer(question)
    assert reply.exit_code == 1
    assert reply.lines == ("brokerctl: note: not a request of docker: it is too long",)


def test_a_bug_is_one_line(room: HelperRoom) -> None:
    """No traceback, and no value."""

    def opened() -> Home:
        raise KeyError("s3cret")

    answer = room.inside(["git", "get"], ASK % b"h.example", opened=opened)
    assert answer.stdout == b"quit=1\n"
    assert "unexpected KeyError" in answer.stderr
    assert "s3cret" not in answer.stderr


@pytest.fixture
def run(room: HelperRoom, tmp_path: Path) -> Run:
    """Return what runs the client's half as a process."""
    around = tmp_path / "around"

    def run(
        *words: str, stdin: bytes = b"", is_ended: bool = False, **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        around.write_text(json.dumps({} if is_ended else room.env))
        return subprocess.run(
            [sys.executable, DRIVER, str(around), *words],
            input=stdin,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ROOT, **more},
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


def test_a_client_needs_no_home(run: Run) -> None:
    """Nothing of a configuration or a store is around it."""
    done = run("git", "get", stdin=ASK % b"h.example")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"username=oauth2\npassword=t-forge\n")


def test_a_client_says_what_the_supervisor_says(run: Run) -> None:
    """Lines for people come before the answer's end, as outside of a session."""
    done = run("git", "get", stdin=b"protocol=https\nhost=h.example\nusername=bob\n\n")
    assert b"t-forge" in done.stdout
    done = run("pnpm", "--profile", "nobody")
    assert done.returncode == 2
    assert done.stderr.startswith(b"brokerctl: error: no profile 'nobody'")


def test_a_client_reads_one_line_at_a_time(run: Run) -> None:
    """It is cargo's protocol: a greeting, then an answer for each line."""
    line = {"v": 1, "kind": "get", "operation": "read"}
    asked = [
        json.dumps({**line, "registry": {"index-url": f"sparse+https://{host}"}})
        for host in ("h.example", "x.example", "h.example")
    ]
    done = run("cargo", "--cargo-plugin", stdin="\n".join(asked).encode())
    greeting, *answers = done.stdout.splitlines()
    assert greeting == b'{"v":[1]}'
    assert [b"t-forge" in one for one in answers] == [True, False, True]
    assert b"not-found" in answers[1]


def test_a_session_that_has_ended(run: Run) -> None:
    """The tool is told in its own way, and a person in ours."""
    done = run("git", "get", stdin=ASK % b"h.example", is_ended=True)
    assert (done.returncode, done.stdout) == (0, b"quit=1\n")
    assert done.stderr == b"brokerctl: error: the session has ended\n"
    done = run("docker", "get", stdin=b"h.example", is_ended=True)
    assert (done.returncode, done.stdout) == (1, b"brokerctl: the session has ended\n")
    done = run("gcp", "--profile", "forge", is_ended=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_client_writes_the_file_that_its_tool_wants(
    room: HelperRoom, run: Run, tmp_path: Path
) -> None:
    """Where the tool reads it: a supervisor may see other files, and have other rights."""
    path = tmp_path / "out" / "answer.json"
    path.parent.mkdir(mode=0o700)
    with open(room.env["BROKERCTL_CONFIG"], "a") as file:
        file.write(
            f'[profile.cloud]\n{PLAIN.replace("app", "gcp")}google = {{ pool = "{POOL}" }}\n'
        )
    room.hold("cloud", JWT)
    name = "GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE"
    asked = room.inside(["gcp", "--profile", "cloud"], b"", {**GCP, name: str(path)})
    assert JWT.encode() in asked.stdout
    assert not path.exists()
    done = run("gcp", "--profile", "cloud", **GCP, **{name: str(path)})
    assert (done.returncode, done.stderr) == (0, b"")
    assert path.read_bytes() == done.stdout == asked.stdout
    assert path.stat().st_mode & 0o777 == 0o600
    path.parent.chmod(0o777)
    done = run("gcp", "--profile", "cloud", **GCP, **{name: str(path)})
    assert b'"success":false' in done.stdout
    assert JWT.encode() not in done.stdout
