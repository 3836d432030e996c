"""`exec --file` against a real issuer: files stay good while a command runs, and then all end."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.store.slots import MAX_SUPERSEDED
from tests.idp.issuer import TRACE_DIR, note_file
from tests.idp.main_job import service
from tests.idp.test_demo_issuer import DemoIssuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.program import Program

LIFE_S = 2
# Reads its file as fast as it can, and prints each token that it sees for the first time, until it
# has seen so many; for a minute at most.
READER = """
import os, sys, time
path, wanted, seen, reads = os.environ["TOKEN_FILE"], int(sys.argv[1]), [], 0
until = time.monotonic() + 60
while len(seen) < wanted and time.monotonic() < until:
    with open(path) as file:
        text, mode = file.read(), os.fstat(file.fileno()).st_mode & 0o7777
    reads += 1
    if text not in seen:
        seen.append(text)
        print(text, oct(mode), flush=True)
    time.sleep(0.0005)
print(reads, flush=True)
"""


LONG_S = 3600
SOON_S = 60.0
DENIED = """
[policy]
default = "deny"
[[policy.rule]]
name = "not now"
effect = "deny"
"""


class Issuer(DemoIssuer):
    """The embedded issuer, which tells every token that it has issued."""

    def __init__(self, trace: str) -> None:
        self.answers = note_file(os.environ.get(TRACE_DIR) or trace)
        folder = tempfile.mkdtemp(prefix="demo-", dir=trace)
        super().__init__(folder, auto_approve=True, record=self.answers)

    def issued(self) -> list[str]:
        """Return the access tokens that it has issued, whoever got them, since it was started."""
        with open(self.answers, encoding="utf-8") as file:
            found = map(json.loads, file)
            return [one["value"] for one in found if one["kind"] == "access_token"]

    def asked(self) -> int:
        """Return how often it was asked since the last reset, also where it has not answered."""
        return sum(self.counts()["grants"].values())

    def living(self) -> list[str]:
        """Return what is alive of all that it has issued."""
        return [token for token in self.issued() if self.is_active(token)]


@pytest.fixture(scope="module")
def demo_process(trace_dir: str) -> Iterator[Issuer]:
    """One embedded issuer for this file."""
    with Issuer(trace_dir) as running:
        yield running


@pytest.fixture
def demo(demo_process: Issuer, brokerctl: Program) -> Issuer:
    """Return it with the profile `service`; its counts are at nought, and its tokens live long."""
    demo_process.reset()
    demo_process.change(access_ttl=LONG_S)
    with open(demo_process.answers, "w", encoding="utf-8"):
        pass  # what another test left alive there is not ours
    service(brokerctl, demo_process)
    runtime = os.path.join(brokerctl.home, "run")
    os.mkdir(runtime, 0o700)
    brokerctl.env |= {"BROKERCTL_KEEPER": "file", "XDG_RUNTIME_DIR": runtime}
    assert brokerctl("status").returncode == 0  # it makes the key, and says where
    return demo_process


def wait_for(what: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever there is
    """Return what comes within a minute."""
    until = time.monotonic() + SOON_S
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def records(brokerctl: Program, event: str) -> list[dict[str, Any]]:
    """Return what was recorded of an event."""
    lines = map(json.loads, brokerctl("audit", "log", "--json").stdout.splitlines())
    return [one for one in lines if one["event"] == event]


def read_tokens(output: str) -> tuple[list[str], int]:
    """Return the tokens that the reader saw, and how often it read."""
    *lines, reads = output.splitlines()
    assert {line.split()[1] for line in lines} == {"0o600"}
    return [line.split()[0] for line in lines], int(reads)


@pytest.mark.parametrize("how", ["--revoke", "--keep", "--socket"])
def test_a_loop_lives_through_two_expiries(brokerctl: Program, demo: Issuer, how: str) -> None:
    """Every read is whole, about one token is issued a lifetime, and a session's own all end."""
    demo.change(access_ttl=LIFE_S)
    words = ("exec", how, "--file", "TOKEN_FILE=service", "--", "python3", "-c", READER, "3")
    begun = time.monotonic()
    done = brokerctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    tokens, reads = read_tokens(done.stdout)
    assert (len(set(tokens)), reads > 1000) == (3, True)
    issued = demo.counts()["issued"]["client_credentials"]
    assert 3 <= issued <= 1 + (time.monotonic() - begun) / (0.8 * LIFE_S)
    assert how == "--keep" or demo.living() == []
    sources = [one["outcome"] for one in records(brokerctl, "token.handed_out")]
    assert sources == ["issue"] * issued
    assert brokerctl("audit", "verify").returncode == 0


def test_sessions_that_share_a_token_have_it_renewed_once(brokerctl: Program, demo: Issuer) -> None:
    """Four of them, whose files become due at the same moment: one of them asks the issuer."""
    demo.change(access_ttl=LIFE_S)
    assert brokerctl("get", "service").returncode == 0
    words = ("exec", "--keep", "--file", "TOKEN_FILE=service", "--", "python3", "-c", READER, "2")
    begun = time.monotonic()
    running = [brokerctl.start(*words) for _ in range(4)]
    tokens = [read_tokens(process.communicate(timeout=SOON_S)[0])[0] for process in running]
    most = 1 + (time.monotonic() - begun) / (0.5 * LIFE_S)  # at its start a child wants half a life
    assert len({one for two in tokens for one in two}) <= demo.asked() <= most


def test_what_replaces_a_token_is_masked_too(brokerctl: Program, demo: Issuer) -> None:
    """Before the child can read it; each token that it prints is stars."""
    demo.change(access_ttl=LIFE_S)
    words = ("exec", "--mask", "--file", "TOKEN_FILE=service", "--")
    done = brokerctl(*words, "python3", "-c", READER, "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[:-1]] == ["****"] * 3


class Run:
    """One `exec --file` whose command shows each token that it finds, until it is ended."""

    def __init__(self, brokerctl: Program, demo: Issuer, *words: str) -> None:
        self._demo = demo
        words = ("exec", *words, "--file", "TOKEN_FILE=service", "--")
        self.process = brokerctl.start(*words, "python3", "-c", READER, "99")

    def read(self) -> str:
        """Return the next token that the command has found."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()[0]

    def wait_idle(self) -> None:
        """Wait until the first token is in use, and no other is due for long."""
        self.read()

    def wait_asking(self) -> None:
        """Wait until the issuer has been asked for the second one, and holds its answer."""
        self.read()
        wait_for(lambda: self._demo.asked() >= 2)

    def wait_renewed(self) -> None:
        """Wait until the second token is in use."""
        self.read()
        self.read()


STAGES = {"idle": Run.wait_idle, "asking": Run.wait_asking, "renewed": Run.wait_renewed}


def at_stage(brokerctl: Program, demo: Issuer, stage: str, mode: str) -> Run:
    """Return a run that is at a stage of its renewals; `mode` is how the issuer is asked then."""
    demo.change(access_ttl=LONG_S if stage == "idle" else LIFE_S)
    run = Run(brokerctl, demo, "--revoke")
    wait_for(lambda: demo.asked() == 1 and demo.issued())
    demo.change(access_ttl=LONG_S)
    if stage == "asking":
        demo.mode(token=mode)
    STAGES[stage](run)
    return run


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_lives_after_a_signal(
    brokerctl: Program, demo: Issuer, stage: str, number: signal.Signals
) -> None:
    """At any stage of a renewal; what is on its way is waited for, and revoked with the others."""
    run = at_stage(brokerctl, demo, stage, "held")
    run.process.send_signal(number)
    if stage == "asking":
        wait_for(lambda: not children(run.process.pid))
        demo.mode(token="ok")
    stderr = run.process.communicate(timeout=SOON_S)[1]
    assert run.process.returncode in {128 + number, 1}  # Python's own end of SIGINT
    assert "brokerctl" not in stderr
    assert len(demo.issued()) >= (1 if stage == "idle" else 2)
    assert demo.living() == []
    assert os.listdir(brokerctl.env["XDG_RUNTIME_DIR"] or "") == []


def children(pid: int) -> str:
    """Return the processes that a process has started and not yet reaped."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read()


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_lives_after_the_command_that_follows_a_kill(
    brokerctl: Program, demo: Issuer, stage: str
) -> None:
    """SIGKILL to supervisor and command: the entry names the grants, the tokens their session."""
    run = at_stage(brokerctl, demo, stage, "hang")
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.communicate()
    demo.mode(token="ok")
    assert demo.living()
    assert brokerctl("status").returncode == 0
    assert demo.living() == []
    assert os.listdir(brokerctl.env["XDG_RUNTIME_DIR"] or "") == []


def edit(brokerctl: Program, old: str, new: str) -> None:
    """Change the configuration, which a session reads anew for each renewal."""
    with open(os.path.join(brokerctl.home, "config.toml"), encoding="utf-8") as file:
        text = file.read()
    assert old in text
    brokerctl.config(text.replace(old, new) if old else text + new)


def test_a_rule_that_denies_by_now(brokerctl: Program, demo: Issuer) -> None:
    """The file keeps its token; that is said once, recorded once, and nothing asks the issuer."""
    demo.change(access_ttl=LIFE_S)
    run = Run(brokerctl, demo, "--revoke")
    run.read()
    edit(brokerctl, "", DENIED)
    assert run.process.stderr is not None
    said = run.process.stderr.readline()
    assert said.startswith("brokerctl: warning: the files keep the old token of 'service', which")
    assert "rule 'not now'" in said
    asked = demo.asked()
    run.process.terminate()
    assert run.process.communicate(timeout=SOON_S)[1] == ""
    edit(brokerctl, DENIED, "")
    assert [one["decision"]["rule"] for one in records(brokerctl, "token.denied")] == ["not now"]
    assert (demo.asked(), demo.living()) == (asked, [])


SHARED = pytest.param("--keep", 10, marks=pytest.mark.slow("at 80 % a token that is still good"))


@pytest.mark.parametrize(("how", "life_s"), [("--revoke", LIFE_S), SHARED])
def test_an_issuer_that_is_down_by_now(
    brokerctl: Program, demo: Issuer, how: str, life_s: int
) -> None:
    """The same; the token that everybody still gets of the cache is no renewal."""
    demo.change(access_ttl=life_s)
    run = Run(brokerctl, demo, how)
    run.read()
    demo.mode(token="503")
    assert run.process.stderr is not None
    said = run.process.stderr.readline()
    assert "the files keep the old token of 'service'" in said
    assert "answered 503" in said
    issued = demo.issued()
    run.process.terminate()
    assert run.process.communicate(timeout=SOON_S)[1] == ""
    assert demo.issued() == issued


def test_a_profile_that_leads_elsewhere_by_now(brokerctl: Program, demo: Issuer) -> None:
    """Its next token belongs to another grant: noted before it is got, and revoked all the same."""
    for is_killed in (False, True):
        service(brokerctl, demo)
        demo.change(access_ttl=LIFE_S)
        run = Run(brokerctl, demo, "--revoke")
        run.read()
        edit(brokerctl, 'scopes = ["read"]', 'scopes = ["read", "write"]')
        demo.change(access_ttl=LONG_S)
        while "write" not in (demo.introspect(run.read()).get("scope") or ""):
            pass  # one that came just before the edit
        if is_killed:
            os.killpg(run.process.pid, signal.SIGKILL)
            edit(brokerctl, 'scopes = ["read", "write"]', 'scopes = ["read"]')
        else:
            run.process.terminate()
        run.process.communicate(timeout=SOON_S)
        assert not is_killed or brokerctl("status").returncode == 0
        assert demo.living() == []


def test_a_job_without_a_store(brokerctl_in_ci: Program, demo: Issuer) -> None:
    """Keys and store are in memory: renewed tokens lie there too, and are revoked from there."""
    job = brokerctl_in_ci
    demo.change(access_ttl=LIFE_S)
    service(job, demo)
    words = ("exec", "--no-mask", "--file", "TOKEN_FILE=service", "--", "python3", "-c", READER)
    done = job(*words, "3")
    assert done.returncode == 0, done.stderr
    assert len(set(read_tokens(done.stdout)[0])) == 3
    assert "warning" not in done.stderr
    assert (len(demo.issued()), demo.living()) == (3, [])


def test_each_profile_in_its_own_time(brokerctl: Program, demo: Issuer) -> None:
    """Two profiles, three files: each has its own profile's token, and both are renewed."""
    with open(os.path.join(brokerctl.home, "config.toml"), encoding="utf-8") as file:
        text = file.read()
    brokerctl.config(text + text.replace("service]", "other]").replace('["read"]', '["write"]'))
    demo.change(access_ttl=LIFE_S)
    show = """
import os, sys, time
seen, until = set(), time.monotonic() + 60
while len(seen) < 6 and time.monotonic() < until:
    a, b, c = (open(os.environ[name]).read() for name in "ABC")
    seen |= {("service", a), ("service", b), ("other", c)}
    time.sleep(0.005)
print(*(f"{name} {token}" for name, token in seen), sep="\\n")
"""
    files = ("--file", "A=service", "--file", "B=service", "--file", "C=other")
    done = brokerctl("exec", "--revoke", *files, "--", "python3", "-c", show)
    assert (done.returncode, done.stderr) == (0, "")
    seen = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, _ in seen} == {"service", "other"}
    assert len(seen) == len({token for _, token in seen}) >= 6
    assert demo.living() == []


def test_a_session_in_a_session_asks_the_outer_one(brokerctl: Program, demo: Issuer) -> None:
    """Its files stay good too, by the terms of both, and the outer end revokes all."""
    demo.change(access_ttl=LIFE_S)
    inner = ("brokerctl", "exec", "--file", "TOKEN_FILE=service", "--")
    words = ("exec", "-p", "service", "--socket", "--", *inner, "python3", "-c", READER, "3")
    done = brokerctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(set(read_tokens(done.stdout)[0])) == 3
    assert demo.living() == []


@pytest.mark.slow("a renewal a second, and more of them than a slot keeps tokens")
def test_all_of_many_tokens_end(brokerctl: Program, demo: Issuer) -> None:
    """Each lives for long at the issuer, as --ttl is ours: what no slot keeps is in the queue."""
    words = ("exec", "--revoke", "--ttl", "1s", "--file", "TOKEN_FILE=service", "--")
    wanted = MAX_SUPERSEDED + 4
    done = brokerctl(*words, "python3", "-c", READER, str(wanted))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(demo.issued()) >= wanted
    assert demo.living() == []


def test_a_supervisor_that_was_stopped(brokerctl: Program, demo: Issuer) -> None:
    """For longer than a token lives, as by Ctrl-Z: it renews as soon as it goes on."""
    demo.change(access_ttl=LIFE_S)
    run = Run(brokerctl, demo, "--revoke")
    first = run.read()
    run.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not demo.is_active(first))
    run.process.send_signal(signal.SIGCONT)
    assert run.read() not in {"", first}
    run.process.terminate()
    assert run.process.communicate(timeout=SOON_S)[1] == ""
    assert demo.living() == []


def test_a_session_that_was_ended_from_elsewhere(brokerctl: Program, demo: Issuer) -> None:
    """Its tokens are dead, its file is gone, and no token is issued for it any more."""
    demo.change(access_ttl=LIFE_S)
    run = Run(brokerctl, demo, "--revoke")
    run.read()
    (session,) = json.loads(brokerctl("session", "list", "--json").stdout)["sessions"]
    assert brokerctl("session", "end", session["id"]).returncode == 0
    assert demo.living() == []
    issued, until = demo.issued(), time.monotonic() + 2 * LIFE_S
    while time.monotonic() < until:
        time.sleep(0.1)
    assert demo.issued() == issued
    run.process.communicate(timeout=SOON_S)
    assert demo.living() == []
