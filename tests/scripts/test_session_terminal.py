"""A session under a terminal: job control of a real bash, ^C, ^Z, window size, editors' stops."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.session_room import Room

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT = "READY> "
# Stops itself alone, as `less` does, and says when it goes on.
STOPS_ITSELF = (
    "import os,signal; print('up',flush=True); os.kill(os.getpid(),signal.SIGTSTP);"
    " print('on again',flush=True)"
)


@pytest.fixture
def room(tmp_path: object) -> Room:
    """Return a room of this test's own."""
    return Room(str(tmp_path))


class Shell:
    """An interactive bash with job control and the driver as `$B`."""

    def __init__(self, room: Room, *options: str) -> None:
        self.room = room
        words = shlex.join(room.words(*options))
        env = room.environ(PS1=PROMPT, TERM="xterm", B=words, HISTFILE="")
        self.child = pexpect.spawn(
            "bash", ["--norc", "--noprofile", "-i"], env=env, encoding="utf-8", timeout=20
        )
        self.child.expect_exact(PROMPT)
        self.run("bind 'set enable-bracketed-paste off'")

    def send(self, line: str) -> None:
        """Type a line."""
        self.child.sendline(line)
        self.child.expect_exact("\r\n")

    def run(self, line: str) -> str:
        """Type a line and return what comes before the next prompt."""
        self.send(line)
        return self.prompt()

    def prompt(self) -> str:
        """Wait for the prompt; return what came before it."""
        self.child.expect_exact(PROMPT)
        return str(self.child.before)


@pytest.fixture(params=["--no-mask", "--mask"])
def shell(room: Room, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """Return a bash and end all that it started; masked, the child is on an inner terminal."""
    made = Shell(room, request.param)
    yield made
    made.child.close(force=True)


def wait_for(child: pexpect.spawn[str], text: str) -> None:
    """Wait for output."""
    child.expect_exact(text)


def test_interrupt_reaches_the_child_once(shell: Shell) -> None:
    """One ^C is one SIGINT for the child, and its exit code is what bash sees."""
    script = (
        "trap 'echo INT; n=$((n+1))' INT; echo up;"
        " while [ -z $n ]; do sleep 0.1; done; sleep 0.3; exit 40"
    )
    shell.send(f"$B -p person -- bash -c {shlex.quote(script)}")
    wait_for(shell.child, "up")
    shell.child.sendintr()
    assert shell.prompt().count("INT") == 1
    assert "40" in shell.run("echo $?")


def test_interrupted_child_is_130(shell: Shell) -> None:
    """A child that died of ^C is 130 in `$?`."""
    shell.send("$B -p person -- sleep 60")
    time.sleep(0.5)
    shell.child.sendintr()
    shell.prompt()
    assert "130" in shell.run("echo $?")


@pytest.mark.parametrize(
    "number", ["KILL", "TERM", "SEGV", "ABRT", "PIPE", "USR1", "XCPU", "RTMIN"]
)
def test_a_child_that_a_signal_ended(shell: Shell, number: str) -> None:
    """Whatever signal ends the child, bash sees 128 and its number, masked or not."""
    value = int(signal.Signals[f"SIG{number}"])
    shell.run(f"$B -p person -- sh -c 'kill -{value} $$'")
    assert f"code={128 + value}\r\n" in shell.run("echo code=$?")


@pytest.mark.parametrize("shell", ["--mask"], indirect=True)
def test_typed_ahead(shell: Shell, room: Room) -> None:
    """What is typed when a masked child has ended, and its output is still moved, is bash's."""
    go, held = f"{room.folder}/go", "while [ ! -e GO ]; do echo more; sleep 0.1; done"
    script = f"trap '' HUP; ({held.replace('GO', go)}) & echo monitor=$PPID."
    shell.send(f"$B -p person -- sh -c {shlex.quote(script)}")
    shell.child.expect(r"monitor=(\d+)\.")
    monitor = str(shell.child.match[1])  # type: ignore[index]  # it has just matched
    wait_until(lambda: not os.path.exists(f"/proc/{monitor}"))
    time.sleep(0.1)
    shell.child.sendline("echo code=$((40+2))")
    time.sleep(0.1)
    with open(go, "w", encoding="utf-8"):
        pass
    wait_for(shell.child, "code=42")


def test_interrupt_ends_a_script(shell: Shell, room: Room) -> None:
    """A script that loops over us stops at ^C, as it would without us; the token is revoked."""
    with open(f"{room.folder}/loop", "w", encoding="utf-8") as file:
        file.write("for i in 1 2 3; do echo up$i; $B -p service -- sleep 60; done\n")
    shell.send(f"bash {room.folder}/loop; echo code=$?")
    wait_for(shell.child, "up1")
    wait_until(lambda: len(room.notes("store.put")) == 2)
    time.sleep(0.3)
    shell.child.sendintr()
    assert "up2" not in shell.prompt()
    assert len(room.notes("revoke")) == 1
    assert room.entries() == []


def test_stop_and_foreground(shell: Shell, room: Room) -> None:
    """^Z gives the prompt back with the job stopped, `fg` goes on, and the code arrives."""
    shell.send("$B -p service -- bash -c 'echo up; read line; echo got $line; exit 9'")
    wait_for(shell.child, "up")
    shell.child.sendcontrol("z")
    assert "Stopped" in shell.prompt()
    assert "Stopped" in shell.run("jobs")
    assert room.notes("revoke") == []
    shell.send("fg")
    time.sleep(0.2)
    shell.child.sendline("hello")
    assert "got hello" in shell.prompt()
    assert "9" in shell.run("echo $?")
    assert len(room.notes("revoke")) == 1


def test_stop_and_background(shell: Shell) -> None:
    """`bg` lets a stopped child go on behind the prompt."""
    shell.send("$B -p person -- bash -c 'echo up; sleep 0.7; echo finished; exit 3'")
    wait_for(shell.child, "up")
    time.sleep(0.2)
    shell.child.sendcontrol("z")
    assert "Stopped" in shell.prompt()
    said = shell.run("bg; wait %1; echo code=$?")
    assert "finished" in said
    assert "code=3" in said


def test_stopping_many_times(shell: Shell) -> None:
    """Each of twenty stops is seen by the shell, and each `fg` by the child: nothing hangs."""
    shell.send("$B -p person -- cat")
    time.sleep(0.5)
    for turn in range(20):
        shell.child.sendcontrol("z")
        assert "Stopped" in shell.prompt(), turn
        shell.send("fg")
        shell.child.sendline(f"line{turn}")
        shell.child.expect_exact(f"line{turn}\r\nline{turn}\r\n")
    shell.child.sendeof()
    shell.prompt()


@pytest.mark.parametrize("number", ["SIGTSTP", "SIGSTOP"])
def test_child_that_stops_itself_alone(shell: Shell, number: str) -> None:
    """A child that stops only itself, as `less` does at ^Z, gives the shell its prompt back."""
    code = STOPS_ITSELF.replace("SIGTSTP", number)
    shell.send(f"$B -p person -- {shlex.quote(sys.executable)} -c {shlex.quote(code)}")
    assert "Stopped" in shell.prompt()
    shell.send("fg")
    said = shell.prompt()
    assert "on again" in said
    assert "0" in shell.run("echo $?"), said


def test_background_reader_is_stopped(shell: Shell) -> None:
    """A background child that reads from the terminal is shown as stopped, and `fg` feeds it."""
    shell.run("$B -p person -- cat &")
    wait_until(lambda: "Stopped" in shell.run("jobs"))
    shell.send("fg")
    shell.child.sendline("fed")
    shell.child.expect_exact("fed\r\nfed\r\n")
    shell.child.sendeof()
    shell.prompt()


def test_killed_job(shell: Shell, room: Room) -> None:
    """`kill %1` ends the child, and its token is revoked."""
    shell.run("$B -p service -- sleep 60 &")
    wait_until(lambda: len(room.notes("store.put")) == 2)
    time.sleep(0.3)
    assert "code=143" in shell.run("kill %1; wait %1; echo code=$?")
    assert len(room.notes("revoke")) == 1


def test_pipeline_keeps_the_terminal(shell: Shell) -> None:
    """In a pipeline the other program can read the terminal: no group was moved."""
    reader = "import sys; sys.stdin.read(); t=open('/dev/tty'); print('typed', t.readline())"
    shell.send(
        f"$B -p person -- echo data | {shlex.quote(sys.executable)} -c {shlex.quote(reader)}"
    )
    time.sleep(0.5)
    shell.child.sendline("abc")
    assert "typed abc" in shell.prompt()


def test_window_size(room: Room) -> None:
    """The child sees the terminal's size and one SIGWINCH for each change."""
    # A trap that only notes it: bash forgets a signal that comes while it runs that signal's trap.
    look = "if [ $n ]; then n=; stty size; echo winch; fi; sleep 0.05"
    script = f"trap n=1 WINCH; stty size; while :; do {look}; done"
    child = pexpect.spawn(
        *_split(room.words("-p", "person", "--", "bash", "-c", script)),
        env=room.environ(TERM="xterm"),
        encoding="utf-8",
        dimensions=(24, 80),
        timeout=20,
    )
    child.expect_exact("24 80")
    for rows, columns in ((50, 132), (10, 40)):
        child.setwinsize(rows, columns)
        child.expect_exact(f"{rows} {columns}\r\nwinch\r\n")
    time.sleep(0.3)
    child.kill(signal.SIGTERM)
    child.expect(pexpect.EOF)
    assert "winch" not in str(child.before)
    child.close()
    assert child.exitstatus == 143


def test_terminal_that_goes_away(room: Room) -> None:
    """When the terminal is closed the child is told (SIGHUP), and its token is revoked."""
    words = room.words("-p", "service", "--", "sh", "-c", "echo up; sleep 60")
    child = pexpect.spawn(*_split(words), env=room.environ(), encoding="utf-8", timeout=20)
    child.expect_exact("up")
    child.ptyproc.fileobj.close()  # type: ignore[attr-defined]  # the stubs leave it out
    child.ptyproc.closed = child.closed = True  # type: ignore[attr-defined]  # as above
    wait_until(lambda: len(room.notes("revoke")) == 1)
    wait_until(lambda: room.notes("exec.end") != [])
    assert room.notes("exec.end")[0]["outcome"] == "exit 129"


def test_full_screen_program(shell: Shell) -> None:
    """A program in raw mode gets ^C and ^Z as bytes, and nothing of ours touches the terminal."""
    code = (
        "import os,tty,termios; old=termios.tcgetattr(0); tty.setraw(0); print('raw',flush=True)\n"
        "got=b''\nwhile len(got)<3: got+=os.read(0,3)\n"
        "termios.tcsetattr(0,termios.TCSADRAIN,old); print(got)"
    )
    shell.send(_from_file(shell.room, code))
    wait_for(shell.child, "raw")
    shell.child.send("\x03\x1a\x1c")
    assert r"b'\x03\x1a\x1c'" in shell.prompt()


def _from_file(room: Room, code: str) -> str:
    path = f"{room.folder}/program.py"
    with open(path, "w", encoding="utf-8") as file:
        file.write(code)
    return f"$B -p person -- {shlex.quote(sys.executable)} {path}"


def _split(words: list[str]) -> tuple[str, list[str]]:
    return words[0], words[1:]


def wait_until(check: object, seconds: float = 20) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not check():  # type: ignore[operator]  # any callable
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
