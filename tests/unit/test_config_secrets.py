"""Where secrets are found, and what stops one from being taken from the wrong place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.config.references import resolve
from brokerctl.errors import UsageError
from brokerctl.model import Reference

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"PATH": "/usr/bin:/bin", "SECRET": "from env", "BROKERCTL_KEY": "ours"}
PEM = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"


def found(
    kind: str, *target: str, environ: dict[str, str] | None = None, timeout_s: float = 10.0
) -> str:
    """Resolve one reference."""
    reference = Reference(kind=kind, target=target)
    return resolve(reference, environ or ENVIRON, {"a": "stored"}.get, timeout_s=timeout_s).reveal()


def test_each_kind_finds_its_secret(tmp_path: Path) -> None:
    """A variable, a file, our own store and a command."""
    file = tmp_path / "secret"
    file.write_text("from file\n")
    file.chmod(0o600)
    assert found("env", "SECRET") == "from env"
    assert found("file", str(file)) == "from file"
    assert found("file", "~/secret", environ={"HOME": str(tmp_path)}) == "from file"
    assert found("store", "a") == "stored"
    assert found("command", "printf", "%s\\n%s\\n", "first", "second") == "first"


ENDS = ["\n", "\r\n", "\r", " \n\n"]


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("kind", ["env", "file", "command", "store"])
def test_a_line_end_is_no_part_of_a_secret(tmp_path: Path, kind: str, end: str) -> None:
    """`$(cat file)` has none and an editor adds one: each way to the secret gives the same."""
    text = "hunter2" + (end if kind != "store" else end.strip(" "))
    file = tmp_path / "secret"
    file.write_bytes(text.encode())
    file.chmod(0o600)
    target = {"env": ["X"], "file": [str(file)], "command": ["cat", str(file)], "store": ["x"]}
    reference = Reference(kind=kind, target=tuple(target[kind]))
    environ = {"X": text, "PATH": "/usr/bin:/bin"}
    assert resolve(reference, environ, {"x": text}.get).reveal() == "hunter2"


def test_a_key_in_a_variable_is_taken_whole() -> None:
    """As from a file; of anything else it is the first line."""
    assert found("env", "X", environ={"X": PEM.rstrip()}) == PEM
    assert found("env", "X", environ={"X": '{"kty":\n"EC"}'}) == '{"kty":\n"EC"}\n'
    assert found("env", "X", environ={"X": "hunter2\nuser: me\n"}) == "hunter2"
    with pytest.raises(UsageError, match="X, which holds a secret, is not set"):
        found("env", "X", environ={"X": " \n"})


def test_a_key_is_taken_whole(tmp_path: Path) -> None:
    """A PEM key has many lines; a password's further lines are notes, as in pass."""
    file = tmp_path / "key.pem"
    file.write_text(PEM)
    file.chmod(0o600)
    assert found("file", str(file)) == PEM
    assert found("command", "cat", str(file)) == PEM


def test_a_variable_of_other_bytes_is_refused() -> None:
    """A secret that is no UTF-8 can't be sent as a form, and is not repeated."""
    with pytest.raises(UsageError, match="SECRET, which holds a secret, is not text") as caught:
        found("env", "SECRET", environ={"SECRET": "hunter2\udcff"})
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("mode", [0o604, 0o606, 0o620, 0o644, 0o601])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A secret that everybody can read is no secret: it is not used until it is closed."""
    file = tmp_path / "secret"
    file.write_text("hunter2")
    file.chmod(mode)
    with pytest.raises(UsageError, match="is open to others") as caught:
        found("file", str(file))
    assert "chmod 600" in (caught.value.hint or "")
    assert "hunter2" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """Each error names the reference and no value."""
    empty = tmp_path / "empty"
    empty.touch(0o600)
    for kind, target in (
        ("env", "NOT_SET"),
        ("file", str(tmp_path / "none")),
        ("file", str(tmp_path)),
        ("file", str(empty)),
        ("store", "b"),
        ("command", "/no/such/command"),
        ("command", "false"),
        ("command", "true"),
    ):
        with pytest.raises(UsageError) as caught:
            found(kind, target)
        assert target in caught.value.message


def test_a_command_has_no_shell_no_stdin_and_none_of_our_keys() -> None:
    """Its words are its words, it runs from /, and our own secrets are not in its environment."""
    assert found("command", "printf", "%s", "$(id); `id`") == "$(id); `id`"
    script = "cat; pwd; env"
    assert found("command", "sh", "-c", script) == "/"
    with pytest.raises(UsageError):
        found("command", "sh", "-c", "env | grep BROKERCTL_KEY")


@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & exec sleep 60", "yes"])
def test_a_command_that_does_not_end_is_given_up(script: str) -> None:
    """A hung command, one with a child and an endless one end in time."""
    started = time.monotonic()
    with pytest.raises(UsageError):
        found("command", "sh", "-c", script, timeout_s=0.3)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("start", ["", "setsid"])
def test_a_secret_is_there_when_its_command_ends(tmp_path: Path, start: str) -> None:
    """An agent that is left behind holds the pipe, and delays nothing; the time-out is an hour."""
    out = tmp_path / "pid"
    # It has its session before the command ends: until then it belongs to the command's group.
    agent = f"echo $$ > {out}.new; mv {out}.new {out}; exec sleep 600"
    ready = f"until [ -s {out} ]; do sleep 0.01; done"
    script = f"{start} sh -c '{agent}' & {ready}; echo hunter2; echo notes"
    begun = time.monotonic()
    try:
        assert found("command", "sh", "-c", script, timeout_s=3600) == "hunter2"
        assert time.monotonic() - begun < 60
        assert not start or is_alive(int(out.read_text()))  # a real agent stays
    finally:
        if is_alive(int(out.read_text())):
            os.kill(int(out.read_text()), signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("start", "timeout_s"),
    [
        ("sleep 601 & echo $!", 3600),  # of its group, which ends with it
        ("sleep 602 & echo $!; wait", 1),
        ("setsid sleep 603 & echo $!; wait", 1),  # a group of its own, as our own commands have
        ("(setsid sh -c 'setsid sleep 604 & echo $!; wait') & wait", 1),
    ],
)
def test_nothing_of_a_command_outlives_it(tmp_path: Path, start: str, timeout_s: float) -> None:
    """Its group ends when it ends; given up, so does all that it started, in whatever group."""
    out = tmp_path / "pid"
    script = f"{{ {start}; }} > {out}; echo x"
    try:
        found("command", "sh", "-c", script, timeout_s=timeout_s)
    except UsageError as error:
        assert "took over 1 s" in error.message  # noqa: PT017 - either end is one
    pid = int(out.read_text())
    while is_alive(pid):
        time.sleep(0.01)  # the kernel takes a moment; pytest's own limit ends it


WAITING = """
import sys
from brokerctl.config.references import resolve
from brokerctl.model import Reference
words = ("sh", "-c", "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 605".format(sys.argv[1]))
resolve(Reference(kind="command", target=words), {"PATH": "/usr/bin:/bin"}, str, 3600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_not_kept_waiting(tmp_path: Path, number: signal.Signals) -> None:
    """Nothing was sent yet: who stops us need not wait, and the command ends too."""
    out = tmp_path / "pid"
    running = subprocess.Popen([sys.executable, "-c", WAITING, str(out)], stderr=subprocess.DEVNULL)
    try:
        while not out.exists():
            time.sleep(0.01)
        running.send_signal(number)
        assert running.wait(100) != 0  # the command's own time-out is an hour
    finally:
        running.kill()
        running.wait()
    while is_alive(int(out.read_text())):
        time.sleep(0.01)


def test_a_command_holds_no_signal_back() -> None:
    """What a refresh holds back is not held back in the command, which could not be ended then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGALRM})
    try:
        line = found("command", "grep", "SigBlk", "/proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert int(line.split()[1], 16) == 0


def test_a_keyring_that_is_not_there_is_an_error() -> None:
    """Without a session bus the keyring's entry is named, at once."""
    with pytest.raises(UsageError, match="svc/me"):
        found("keyring", "svc/me", environ={"PATH": "/usr/bin", "HOME": "/nonexistent"})


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A secret file belongs to us or to root."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(0o600)
    os.chown(file, 4242, 4242)
    with pytest.raises(UsageError, match="belongs to another user"):
        found("file", str(file))
