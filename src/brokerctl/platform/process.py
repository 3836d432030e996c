"""Where we are and who a process is: folders are shared by hosts and containers.

What `/proc` and `uname` say, read for records, lock files and sessions alike; numbers repeat.
"""

from __future__ import annotations

from brokerctl.model import Requester
from brokerctl.platform.system import SYSTEM, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.platform.system import System

STOPPED = frozenset((b"T", b"t"))  # states of proc(5)
WORKING = frozenset((b"R", b"D"))  # it runs, or waits for a processor or for the disk
GONE = frozenset((b"", b"Z", b"X"))  # a zombie's number is not yet free, and that is all
_HOST_CHARS = 64
_STAT_TERMINAL = 4  # of the fields after the name: the 7th of proc(5)
_STAT_START_TIME = 19  # of the fields after the name: the 22nd of proc(5)
MAX_PARENTS = 6
_CI_VARIABLES = ("GITHUB_RUN_ID", "CI_JOB_ID", "BUILDKITE_JOB_ID", "CIRCLE_WORKFLOW_JOB_ID")


def read_place(system: System) -> dict[str, str | int | None]:
    """Return host, boot and pid namespace; a pid means something only where all are equal."""
    return {"host": read_host(), "boot": read_boot(system), "pid_ns": read_pid_ns(system)}


def read_host() -> str:
    """Return the machine's or the container's name, in one word."""
    name = os.uname().nodename.encode("ascii", "replace")[:_HOST_CHARS].decode()
    return "_".join(name.split()) or "-"


def read_pid_ns(system: System) -> int | None:
    """Return the number of the namespace that our process numbers belong to."""
    try:
        return system.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def read_boot(system: System) -> str | None:
    """Return what names this start of the machine."""
    data = _read("/proc/sys/kernel/random/boot_id", system)
    return None if data is None else data.decode("ascii", "replace")


def find_process(pid: str, system: System) -> tuple[bytes, int]:
    """Return a process's state letter and start time in ticks; empty and 0 if unknown."""
    words = (_read(f"/proc/{pid}/stat", system) or b"").rpartition(b")")[2].split()
    try:
        return words[0], int(words[_STAT_START_TIME])
    except (IndexError, ValueError):
        return b"", 0


def find_schedule(pid: str, system: System) -> tuple[int, int] | None:
    """Return for how many ns a process has run and waited for a processor; None if not known.

    Both are of its first thread, or of the thread whose number it is: `/proc/PID/schedstat`, which
    not every kernel has.
    """
    words = (_read(f"/proc/{pid}/schedstat", system) or b"").split()
    try:
        return int(words[0]), int(words[1])
    except (IndexError, ValueError):
        return None


def _read(path: str, system: System) -> bytes | None:
    try:
        fd = system.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return system.read(fd, 4096).strip()
        finally:
            system.close(fd)
    except OSError:
        return None


def read_requester(
    environ: Mapping[str, str], tool: str, session: str | None = None, pid: int | None = None
) -> Requester:
    """Return the requester: evidence for the record and no boundary against the same user.

    It is the process that started us, or that of this number; 0 is one that we can't see.
    """
    pid = os.getppid() if pid is None else pid
    exe = _executable(pid)
    ci = next((environ[name] for name in _CI_VARIABLES if environ.get(name)), None)
    return Requester(
        uid=os.getuid(), pid=pid, exe=exe, parents=_parents(pid), tool=tool, session=session, ci=ci
    )


def _parents(pid: int) -> tuple[tuple[str | None, str | None], ...]:
    found: list[tuple[str | None, str | None]] = []
    _, above = _name_and_parent(pid)
    while above > 0 and len(found) < MAX_PARENTS:
        name, next_above = _name_and_parent(above)
        found.append((name, _executable(above)))
        above = next_above
    return tuple(found)


def _name_and_parent(pid: int) -> tuple[str | None, int]:
    """Read `pid (name) state ppid …`; the name may hold anything, so look for the last bracket."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 512).decode("utf-8", "replace")
        finally:
            os.close(fd)
        start, end = text.index("("), text.rindex(")")
        return text[start + 1 : end], int(text[end + 2 :].split(" ", 2)[1])
    except (OSError, ValueError, IndexError):
        return None, 0


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 where that can't be read."""
    return _name_and_parent(pid)[1]


def has_terminal(pid: int) -> bool | None:
    """Return whether a process has a controlling terminal; None where that can't be read."""
    words = (_read(f"/proc/{pid}/stat", SYSTEM) or b"").rpartition(b")")[2].split()
    try:
        return int(words[_STAT_TERMINAL]) != 0
    except (IndexError, ValueError):
        return None


def open_executable(pid: int) -> int | None:
    """Open what a process runs, also if its file was replaced or removed; None if we may not."""
    try:
        return os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _executable(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None
