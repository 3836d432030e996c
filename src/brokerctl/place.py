"""Where we are and who a process is: folders are shared by hosts and containers.

What `/proc` and `uname` say, read for records, lock files and sessions alike; numbers repeat.
"""

from __future__ import annotations

from brokerctl.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.system import System

STOPPED = frozenset((b"T", b"t"))  # states of proc(5)
GONE = frozenset((b"", b"Z", b"X"))  # a zombie's number is not yet free, and that is all
_HOST_CHARS = 64
_STAT_START_TIME = 19  # of the fields after the name: the 22nd of proc(5)


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


def _read(path: str, system: System) -> bytes | None:
    try:
        fd = system.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return system.read(fd, 4096).strip()
        finally:
            system.close(fd)
    except OSError:
        return None
