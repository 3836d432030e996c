"""What --json prints when something is unusual fits the schema too, and so does every failure."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tarfile
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.keys.kernel import KernelCache
from tests import wheel
from tests.answers import PAGE, find_faults, read_document
from tests.answers import SCHEMA as SCHEMA_FILE
from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.program import PROGRAM, Program
from tests.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA = Schema(read_document())
PASSPHRASE = {"BROKERCTL_PASSPHRASE": "correct horse"}
DOWN = "http://127.0.0.1:9"
SERVICE = f"""[profile.ci]
issuer = "{DOWN}"
flow = "client_credentials"
client_id = "ci"
client_secret = {{ env = "CI_SECRET" }}
"""


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def program(brokerctl: Program) -> Program:
    """Return the program, its key in a file."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    return brokerctl


@pytest.fixture
def held(program: Program, demo: DemoIssuer) -> Program:
    """Return a program that holds a person's grant."""
    demo.reset()
    main_job.person(program, demo)
    ask(program, "login person", env=main_job.scripted_browser(demo))
    return program


def ask(
    program: Program, command: str, code: int = 0, env: Mapping[str, str | None] | None = None
) -> list[Any]:
    """Return what a command prints with --json, each part held against the schema.

    Those of stdout come first; what stands on stderr is the error with this exit code.
    """
    done = program(*command.split(), "--json", env=env)
    assert done.returncode == code, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    errors = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [find_faults(SCHEMA, command, one) for one in answers] == [[]] * len(answers)
    assert [find_faults(SCHEMA, "error", one) for one in errors] == [[]] * len(errors)
    assert [one["error"]["code"] for one in errors] in ([], [code])
    return answers + errors


def v1(program: Program, *names: str) -> str:
    """Return a path in the store."""
    return os.path.join(program.home, "state", "v1", *names)


def damage(program: Program, kind: str) -> None:
    """Change the last byte of each entry of a kind."""
    for folder, _, names in os.walk(v1(program, kind)):
        for path in (os.path.join(folder, name) for name in names):
            with open(path, "r+b") as file:
                data = file.read()
                file.seek(-1, os.SEEK_END)
                file.write(bytes([data[-1] ^ 1]))


def test_nothing_to_show(program: Program) -> None:
    """Without a profile and a grant every list is empty, and what is not known is null."""
    program.config("")
    for command in ("status", "profile list", "audit tokens", "trust --list", "store gc", "lock"):
        ask(program, command)
    assert ask(program, "audit log") == []
    assert ask(program, "audit verify")[0]["records"] == 0
    assert ask(program, "revoke --all")[0]["endings"] == []


@pytest.mark.slow("some twenty commands, two logins among them")
def test_every_event_of_the_log(held: Program, demo: DemoIssuer) -> None:
    """Each record of a whole life fits: logins, hand-outs, refusals, a session, what is stored."""
    ask(held, "get person")
    ask(held, "get person --fresh")
    ask(held, "get person --scope admin", 4)
    assert held("exec", "-p", "person", "--revoke", "--", "true").returncode == 0
    again = ask(held, "login person", env=main_job.scripted_browser(demo))
    assert "revoked" in again[0]["replaced"]
    ask(held, f"store backup {held.home}/all", env=PASSPHRASE)
    ask(held, f"store restore {held.home}/all", env=PASSPHRASE)
    ask(held, "store rekey")
    ask(held, "store rekey --new-keys")
    ask(held, "audit repair")
    ask(held, "revoke person --verify")
    ask(held, "get person", 3)
    events = {record["event"] for record in ask(held, "audit log")}
    wanted = "exec.end grant.obtained grant.refreshed grant.revoked log.checked log.continued"
    wanted += " store.backup store.rekeyed store.restored token.denied token.handed_out"
    assert events >= {*wanted.split(), "token.refused", "token.revoked"}
    assert ask(held, "status")[0]["profiles"][0]["state"].startswith("ended: ")


def test_a_record_that_was_too_long(program: Program) -> None:
    """Its own fields are shortened, and the rest is where it always is."""
    scopes = [f"{number:02}{'x' * 400}" for number in range(12)]
    program.config(f"{SERVICE}scopes = {json.dumps(scopes)}\n")
    ask(program, "get ci", 5, {"CI_SECRET": "planted-variable"})
    [record] = ask(program, "audit log --event token.refused")
    assert record["cut"] is True
    assert SCHEMA.faults(record, "cut-record") == []


def test_a_log_that_is_not_whole(held: Program) -> None:
    """Problems, what was accepted, what a later record explains, and lines that are no records."""
    with open(v1(held, "audit", "log"), "ab") as log:
        log.write(b'{"v":1,"half')
    ask(held, "get person")
    assert ask(held, "audit verify")[0]["notices"]
    with open(v1(held, "audit", "log"), "ab") as log:
        log.write(b"not ours\n")
    assert any("damaged" in line for line in ask(held, "audit log"))
    judgement, error = ask(held, "audit verify", 7)
    assert (judgement["problems"][0]["kind"], error["error"]["name"]) == ("edited", "audit")
    assert held("audit", "repair", "--accept", "--reason", "a test").returncode == 0
    assert ask(held, "audit repair")[0]["accepted"]


def test_a_store_that_is_damaged(held: Program) -> None:
    """6 while damaged entries lie where they belong, 9 once they are set aside."""
    damage(held, "grants")
    damage(held, "tokens")
    assert {one["status"] for one in ask(held, "audit tokens")[0]["held"]} == {"damaged"}
    found, error = ask(held, "store check", 6)
    assert (len(found["damaged"]), error["error"]["name"]) == (2, "store")
    assert ask(held, "status")[0]["profiles"][0]["state"].startswith("damaged: ")
    assert ask(held, "store rekey --new-keys", 9)[0]["left"]
    mended, error = ask(held, "store check --mend", 9)
    assert (len(mended["damaged"]), error["error"]["name"]) == (2, "partial")
    assert len(ask(held, "store check")[0]["aside"]) == 2
    ask(held, "doctor --offline")


def test_what_a_revoke_could_not_kill(held: Program, demo: DemoIssuer) -> None:
    """Queued at an issuer that is down, listed as unknown, counted by status: exit code 9."""
    demo.mode(revocation="503")
    [answer] = ask(held, "revoke person", 9)
    assert {one["outcome"] for one in answer["endings"]} == {"unknown"}
    assert ask(held, "status")[0]["revocations_queued_for"] == 1
    assert "unknown" in {one["status"] for one in ask(held, "audit tokens")[0]["held"]}
    demo.reset()
    assert ask(held, "revoke person")[0]["all_dead"]


@pytest.mark.slow("an archive's key is slow to derive")
def test_secrets_elsewhere_and_settings_of_all_origins(program: Program) -> None:
    """A preset, a project and a reference each have their form."""
    program.config(SERVICE + '[profile.gh]\npreset = "github"\nclient_id = "c"\n')
    with open(os.path.join(program.home, ".brokerctl.toml"), "w", encoding="utf-8") as file:
        file.write('[profile.ci]\npurpose = "tests"\n')
    ask(program, f"trust {program.home}")
    assert ask(program, "profile list")[0]["profiles"][0]["from"] == "user+project"
    origins = {
        one["origin"]
        for name in ("ci", "gh")
        for one in ask(program, f"profile show {name}")[0]["values"].values()
    }
    assert {"user", "project", "preset github", "default"} <= origins
    assert ask(program, f"store backup {program.home}/all", env=PASSPHRASE)[0]["outside"]
    with open(os.path.join(program.home, ".brokerctl.toml"), "a", encoding="utf-8") as file:
        file.write("# another file\n")
    assert ask(program, "trust --list")[0]["trusted"][0]["state"] == "changed"
    ask(program, f"trust --remove {program.home}")


@pytest.mark.slow("a passphrase's key is slow to derive, each time")
def test_a_locked_key(brokerctl: Program) -> None:
    """What is known is the answer, and the error is 6; an unlocked one has its seconds."""
    brokerctl.env["BROKERCTL_KEEPER"] = "passphrase"
    brokerctl.config(SERVICE)
    ask(brokerctl, "status", env=PASSPHRASE)
    ask(brokerctl, "lock")
    answer, error = ask(brokerctl, "status", 6)
    assert (answer["key"]["locked"], error["error"]["name"]) == (True, "locked")
    ask(brokerctl, "get ci", 6)
    ask(brokerctl, "doctor --offline", 2)
    probe = os.urandom(16).hex()
    is_kept = KernelCache().put(probe, bytes(32), 5)  # some containers keep no keys
    KernelCache().drop(probe)
    ask(brokerctl, "unlock", 0 if is_kept else 6, PASSPHRASE)
    ask(brokerctl, "lock")


def test_an_answer_that_could_not_be_written(held: Program) -> None:
    """A full disk behind stdout is an error as any other, in the form that was asked for."""
    for command in ("get person", "status"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [PROGRAM, *command.split(), "--json"],
                env=held.environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert done.returncode == 1
        error = json.loads(done.stderr)
        assert find_faults(SCHEMA, "error", error) == []
        assert error["error"]["name"] == "unexpected"


@pytest.mark.parametrize("asked", ["--json", "--format json", "--format=json"])
def test_a_slip_is_an_error_in_the_form_that_was_asked_for(program: Program, asked: str) -> None:
    """What Typer finds wrong is one object on stderr too, however JSON was asked for."""
    done = program("get", "ci", *asked.split(), "--no-such")
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr)
    assert find_faults(SCHEMA, "error", error) == []
    assert error["error"]["message"] == "no such option: --no-such"


def test_the_json_of_a_command_that_is_run_is_not_ours(program: Program) -> None:
    """`exec` has no --json: an error before its command starts is for people."""
    done = program("exec", "--no-such", "--", "gh", "pr", "list", "--json", "title")
    assert done.returncode == 2
    assert done.stderr.startswith("brokerctl: error: no such option: --no-such\n")


@pytest.mark.slow("the sdist is built, where no other test has")
def test_the_schema_comes_with_the_sources() -> None:
    """Whoever packs or vendors the sdist has it beside the page."""
    with tarfile.open(wheel.build().sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {PAGE, SCHEMA_FILE} <= names


@pytest.mark.slow("a lock is waited for five seconds")
def test_every_exit_code_has_its_error(program: Program) -> None:
    """2 to 8, each provoked: one object on stderr, nothing on stdout; 9 comes with an answer."""
    program.config(SERVICE + SERVICE.replace("ci]", "me]").replace("client_credentials", "code"))
    env = {"CI_SECRET": "planted-variable"}
    ask(program, "status")
    names = {
        code: ask(program, command, code, env)[0]["error"]["name"]
        for code, command in (
            (2, "get nope"),
            (3, "get me"),
            (4, "get ci --scope x"),
            (5, "get ci"),
        )
    }
    os.chmod(v1(program, "keys", "ring"), 0o644)
    names[6] = ask(program, "get ci", 6, env)[0]["error"]["name"]
    os.chmod(v1(program, "keys", "ring"), 0o600)
    os.chmod(v1(program, "audit", "log"), 0o644)
    names[7] = ask(program, "get ci --scope y", 7, env)[0]["error"]["name"]
    os.chmod(v1(program, "audit", "log"), 0o600)
    folder = os.open(program.home, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as somebody who is changing the configuration
    names[8] = ask(program, f"login {DOWN} --client-id c", 8)[0]["error"]["name"]
    os.close(folder)
    assert names == {
        2: "usage",
        3: "login_needed",
        4: "denied",
        5: "issuer",
        6: "store",
        7: "audit",
        8: "lock_timeout",
    }
