"""Where a record was written: folders are shared by hosts and containers, and numbers repeat."""

from __future__ import annotations

from brokerctl.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.system import System

_HOST_CHARS = 64


def read_place(system: System) -> dict[str, str | int | None]:
    """Return host, boot and pid namespace; a pid means something only where all are equal."""
    return {"host": read_host(), "boot": _read_boot(system), "pid_ns": read_pid_ns(system)}


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


def _read_boot(system: System) -> str | None:
    try:
        fd = system.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return system.read(fd, 64).decode("ascii", "replace").strip()
        finally:
            system.close(fd)
    except OSError:
        return None
