"""Who holds a grant's lock, as its file says it: for people, and for the hint that wakes him."""

from __future__ import annotations

import _thread

from brokerctl import jsonlite
from brokerctl.errors import LockTimeoutError
from brokerctl.freshness import timestamp
from brokerctl.platform.process import STOPPED, WORKING, find_process, find_schedule, read_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.platform.system import System

MARK_DIGITS = 20  # of the highest generation, before the JSON
FILE_BYTES = 512
_NANOS = 1_000_000_000
_STOP_LOOK_S = 0.3  # `cpulimit` stops and continues a process ten times a second


def parse_holder(data: bytes) -> dict[str, Any] | None:
    """Return what a lock file says about its holder; None if it can't be read."""
    try:
        found = jsonlite.loads(data[MARK_DIGITS:].strip(b" \n\0"))
    except ValueError:
        return None
    wanted = {"pid": int, "start": int, "host": str, "boot": str, "pid_ns": int}
    if type(found) is not dict or any(type(found.get(name)) is not wanted[name] for name in wanted):
        return None
    return found


def describe_self(system: System, now: float) -> dict[str, Any]:
    """Return who we are, so that a folder shared by hosts and containers can tell."""
    pid, schedule = system.getpid(), find_schedule("thread-self", system)
    thread = _thread.get_native_id()
    return {
        "pid": pid,
        **({} if thread == pid else {"thread": thread}),
        "start": find_process("self", system)[1],
        **describe_here(system),
        "since": timestamp(now),
        **({} if schedule is None else {"delayed_ns": schedule[1]}),
    }


def describe_here(system: System) -> dict[str, Any]:
    """Return host, boot and pid namespace; a pid means something only where all are equal."""
    here = read_place(system)
    return {"host": here["host"], "boot": here["boot"] or "", "pid_ns": here["pid_ns"] or 0}


def is_at_work(fd: int, system: System, late_s: float) -> bool:
    """Return whether the holder of an open lock file would go on if the machine let it.

    It runs, or it waits for a processor or for the disk; or since it took the lock it has waited
    longer for a processor than the wait for it is late. OSError where the file can't be read.
    """
    holder = parse_holder(system.pread(fd, FILE_BYTES, 0))
    here = describe_here(system)
    if holder is None or any(holder[name] != here[name] for name in here):
        return False
    thread = holder.get("thread", holder["pid"])
    if holder["pid"] == system.getpid() and thread == _thread.get_native_id():
        return False  # we wait for ourselves
    pid = str(thread)  # a thread has a number of the same kind
    state, start = find_process(str(holder["pid"]), system)
    if start != holder["start"]:
        return False
    if thread != holder["pid"]:
        state, _ = find_process(pid, system)
    schedule = find_schedule(pid, system)
    if state in STOPPED:
        return schedule is not None and _has_run(pid, schedule[0], system)
    if state in WORKING:
        return True
    before = holder.get("delayed_ns")
    return schedule is not None and type(before) is int and schedule[1] - before > late_s * _NANOS


def _has_run(pid: str, before_ns: int, system: System) -> bool:
    system.sleep(_STOP_LOOK_S)
    after = find_schedule(pid, system)
    return after is not None and after[0] > before_ns


def read_held(fd: int, system: System) -> LockTimeoutError:
    """Make the error that names the holder of an open lock file."""
    return held_by(parse_holder(system.pread(fd, FILE_BYTES, 0)), system)


def held_by(holder: dict[str, Any] | None, system: System) -> LockTimeoutError:
    """Make the error that names a lock's holder, with the hint that wakes a stopped one."""
    if holder is None:
        return LockTimeoutError("the grant is locked by an unknown process")
    pid = holder["pid"]
    here = describe_here(system)
    where = "" if holder["host"] == here["host"] else f" on {holder['host']!a}"
    since = holder.get("since")
    when = f" since {ascii(since)[1:-1]}" if isinstance(since, str) else ""
    is_here = all(holder[name] == here[name] for name in here)
    state, start = find_process(str(pid), system) if is_here else (b"", 0)
    if state in STOPPED and start == holder["start"]:
        message = f"the grant is locked by process {pid}, which is stopped{when}"
        return LockTimeoutError(message, hint=f"run 'kill -CONT {pid}'")
    if is_here and start != holder["start"]:  # it has ended: somebody has the lock, but unwritten
        return LockTimeoutError(f"the grant is locked by an unknown process, not {pid} any more")
    return LockTimeoutError(f"the grant is locked by process {pid}{where}{when}")
