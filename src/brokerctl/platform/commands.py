"""The programs that we start, and what of our environment each of them gets: one table.

The child of `exec` is not in it: the user's command keeps its environment, but for what
session/environment.py takes out.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from brokerctl.model import WITHIN, Value
from brokerctl.platform.awaited_programs import AWAITED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Given to whatever is run to get a secret of ours: our `keyring` has no answer then, since it
# would wait for the lock of the very grant that the secret is for.
NO_KEYRING = "BROKERCTL_NO_KEYRING"
# Security: what git sets for the repository that it is in (`git rev-parse --local-env-vars`, of
# any version). A helper is run with them under `git clone` and in a linked worktree: a password
# store that is kept in git would read, and commit into, the user's own repository.
GIT_LOCAL = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_GIT_PAIRS = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")  # what GIT_CONFIG_COUNT counts
_OWN_SECRETS = ("BROKERCTL_KEY", "BROKERCTL_PASSPHRASE")  # and what begins so
_DESKTOP = frozenset(
    {"DISPLAY", "HOME", "LANG", "LOGNAME", "PATH", "TZ", "USER", "WAYLAND_DISPLAY"}
)
_DESKTOP_PREFIXES = ("DBUS_", "DYLD_", "GNOME_", "KDE_", "LC_", "LD_LIBRARY_", "XDG_")
_CHUNK_BYTES = 65536
_POLL_S = 0.05
_FIRST_POLL_S = 0.001  # once its output has ended, so has the program, or is just about to
_GRACE_S = 1.0  # for a killed program; one of another user's can't be killed
_TERMINAL = "/dev/tty"
# While the program runs these wait, so that none ends us without it; one that has come ends it.
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}


class Row(Value):
    """What one kind of program gets of our environment."""

    only: frozenset[str] | None = None  # these names, and those of `prefixes`; None: all but …
    prefixes: tuple[str, ...] = ()
    has_own: bool = False  # brokerctl's own key and passphrase: for brokerctl itself alone
    has_repository: bool = False  # git's variables of the repository that we are in
    adds: tuple[tuple[str, str], ...] = ()


PROGRAMS = {
    # The user's opener of URLs.
    "browser": Row(),
    # brokerctl itself, whose time `doctor` takes.
    "brokerctl": Row(has_own=True, has_repository=True),
    # `git config`, asked what git does in this very folder.
    "git": Row(has_repository=True),
    # The same, asked what git does in any folder.
    "git_anywhere": Row(),
    # keys/keyring_child.py. Security: nothing else reaches the libraries, which would follow
    # PYTHON_KEYRING_BACKEND and KEYRING_PROPERTY_….
    "keyring": Row(only=_DESKTOP, prefixes=_DESKTOP_PREFIXES),
    # effects/workload_api_child.py. Security: gRPC's own variables would print what is sent, and
    # SPIFFE's names a socket that no profile does.
    "workload_api": Row(only=frozenset({"PATH"}), prefixes=("DYLD_", "LC_", "LD_LIBRARY_")),
    # The command of a reference to a secret.
    "secret": Row(adds=((NO_KEYRING, "1"),)),
    # What answers a question in a person's place.
    "approve": Row(adds=((NO_KEYRING, "1"),)),
    # A platform's own program that says who this job is, or a profile's command that does; or one
    # that signs for an app.
    "identity": Row(adds=((NO_KEYRING, "1"),)),
}


def environ_for(
    program: str,
    environ: Mapping[str, str],
    *,
    hidden: Iterable[str] = (),
    within: Iterable[str] = (),
) -> dict[str, str]:
    """Return what a program of the table gets of an environment.

    `hidden` are variables that hold profiles' secrets; `within` the profiles being asked for.
    """
    row, hidden = PROGRAMS[program], frozenset(hidden)
    found = {
        name: value for name, value in environ.items() if name not in hidden and _is_for(row, name)
    }
    found |= dict(row.adds)
    if profiles := ",".join(within):
        found[WITHIN] = profiles
    return found


def _is_for(row: Row, name: str) -> bool:
    if row.only is not None:
        return name in row.only or name.startswith(row.prefixes)
    if not row.has_own and name.startswith(_OWN_SECRETS):
        return False
    return row.has_repository or (name not in GIT_LOCAL and not name.startswith(_GIT_PAIRS))


class NoTerminalError(OSError):
    """The program asks at a terminal where nobody can be asked now."""


def run_bounded(
    words: Sequence[str],
    environ: Mapping[str, str],
    timeout_s: float,
    limit: int,
    *,
    given: bytes | None = None,
    is_quiet: bool = False,
) -> tuple[int, bytes]:
    """Return (exit code, output); OSError if it can't start, TimeoutError if it doesn't end.

    Its errors go to our stderr unless `is_quiet`. `given` is written to its stdin, as far as it
    reads it; without it there is none.
    """
    with AWAITED:
        return _run(words, environ, time.monotonic() + timeout_s, limit, given, is_quiet=is_quiet)


def _run(
    words: Sequence[str],
    environ: Mapping[str, str],
    deadline: float,
    limit: int,
    given: bytes | None,
    *,
    is_quiet: bool,
) -> tuple[int, bytes]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING | {signal.SIGTTOU})
    try:
        child = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if is_quiet else None,
            env=dict(environ),
            cwd="/",  # an entry of PATH like `.` means nothing of the working folder's
            process_group=0,
            preexec_fn=_take_signals,  # noqa: PLW1509 - one system call, and no lock of anybody's
        )
        run = _Run(child, given or b"")
        try:
            output = run.read(deadline, limit)
        finally:
            run.end()
        return child.returncode, output
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take_signals() -> None:
    """Hold nothing back in the child: what a refresh holds back is no business of others."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class _Run:
    """One program on its way to its end."""

    def __init__(self, child: subprocess.Popen[bytes], given: bytes) -> None:
        self._child = child
        self._given = given
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        self._fd = child.stdout.fileno()
        self._terminal: int | None = None  # lent to it, until its end

    def read(self, deadline: float, limit: int) -> bytes:
        """Return what it has written when it ends."""
        os.set_blocking(self._fd, False)
        if self._child.stdin is not None:
            os.set_blocking(self._child.stdin.fileno(), False)
        found, is_open, pause_s = bytearray(), True, _FIRST_POLL_S
        while True:
            has_ended = self._has_ended()
            self._give()
            is_open = is_open and _drain(self._fd, found, limit)
            if has_ended:
                return bytes(found)
            self._look_for_stop()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if not _ENDING.isdisjoint(signal.sigpending()):
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
            wait_s = _POLL_S if is_open else pause_s
            select.select([self._fd] if is_open else [], [], [], min(left_s, wait_s))
            pause_s = pause_s if is_open else min(pause_s * 2, _POLL_S)

    def _give(self) -> None:
        """Write what its stdin takes now, and close that when all is written."""
        stdin = self._child.stdin
        if stdin is None or stdin.closed:
            return
        try:
            while self._given:
                self._given = self._given[os.write(stdin.fileno(), self._given) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass  # its exit code says more
        stdin.close()

    def _has_ended(self) -> bool:
        """Return whether it has ended. It stays a zombie, so that its group keeps its number."""
        if not hasattr(os, "waitid"):  # pragma: no cover - macOS before Python 3.13
            return self._child.poll() is not None
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self._child.pid, flags) is not None

    def _look_for_stop(self) -> None:
        """Let a program that asks at our terminal do so, as a shell would."""
        if not hasattr(os, "waitid"):  # pragma: no cover - as above
            return
        try:
            stopped = os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:
            return  # it has just ended
        if stopped is None or stopped.si_status not in {signal.SIGTTIN, signal.SIGTTOU}:
            return
        if threading.current_thread() is not threading.main_thread():
            raise NoTerminalError  # the terminal is that of a session's child
        if self._terminal is None:
            self._terminal = os.open(_TERMINAL, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
            if os.tcgetpgrp(self._terminal) != os.getpgrp():
                raise NoTerminalError  # nor are we the ones who may ask there
            os.tcsetpgrp(self._terminal, self._child.pid)
        os.killpg(self._child.pid, signal.SIGCONT)

    def end(self) -> None:
        """End it, its group and, where it has not ended by itself, all that it started."""
        others = [] if self._has_ended() else list(_descendants(self._child.pid))
        for kill, pid in ((os.killpg, self._child.pid), *((os.kill, pid) for pid in others)):
            try:
                kill(pid, signal.SIGKILL)
            except OSError:
                continue  # it has just ended, or is another user's
        try:
            self._child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            pass
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        if self._terminal is not None:
            self._take_terminal_back(self._terminal)

    def _take_terminal_back(self, terminal: int) -> None:
        try:
            if os.tcgetpgrp(terminal) == self._child.pid:
                os.tcsetpgrp(terminal, os.getpgrp())
        except OSError:
            pass  # it is gone
        finally:
            os.close(terminal)


def _drain(fd: int, found: bytearray, limit: int) -> bool:
    """Read what is there; say whether more may come."""
    while True:
        try:
            chunk = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        found += chunk
        if len(found) > limit:
            raise OSError("more output than a secret has")


def _descendants(pid: int) -> Iterator[int]:
    """Yield what a process started, and what that started: groups of their own do not hide it."""
    children: dict[int, list[int]] = {}
    try:
        entries = [entry for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return  # no /proc here
    for entry in entries:
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
        children.setdefault(parent, []).append(int(entry))
    left = [pid]
    while left:
        found = children.get(left.pop(), [])
        left += found
        yield from found
