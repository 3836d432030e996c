"""Waits that count work: a process that the machine gives no processor is neither late nor hung."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl import jsonlite
from brokerctl.errors import LockTimeoutError
from brokerctl.freshness import LOCK_WAIT_S
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.process import find_schedule
from brokerctl.platform.system import SYSTEM, System
from brokerctl.platform.work_clock import ProcessorDelay, work_time
from brokerctl.store.file.lock import FileLock
from brokerctl.store.file.lock_holder import describe_here, describe_self, is_at_work
from brokerctl.store.file.lock_wait import wait_for_another
from tests.store_room import NOW

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import SupportsIndex

    from brokerctl.platform.private_files import Folder

    Wait = Callable[[Folder], None]

HOLDER = 77
START = 4711
SECOND_NS = 1_000_000_000
CAP_S = 5 * LOCK_WAIT_S
# Both spin on one processor, so that each has to wait for it; the second says for how long.
RIVALS = """
import os, sys, threading, time
from brokerctl.platform.work_clock import ProcessorDelay, work_time
from brokerctl.platform.system import SYSTEM
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        pass
    os._exit(0)
def race():
    delay, begun = ProcessorDelay(SYSTEM), (time.monotonic(), work_time())
    before, end = delay.total_s(), time.monotonic() + 40
    while delay.total_s() < before + 0.1 and time.monotonic() < end:
        pass
    # The work clock first: a pause between the two readings would else look like a delay.
    worked = work_time() - begun[1]
    print(time.monotonic() - begun[0] - worked > 0.09)

if len(sys.argv) > 1:
    thread = threading.Thread(target=race)
    thread.start()
    thread.join()
else:
    race()
"""


class Machine(System):
    """A machine whose clock is moved by waiting, and the process that holds the grant's lock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.state = "S"
        self.ran_ns = 0  # of the holder
        self.delayed_ns = 0
        self.runs_by_ns = 0  # how much the holder runs between two looks
        self.has_schedule = True
        self.gets_no_processor = 0  # times that our own wait ends before its time has passed
        self.at: Callable[[], object] = lambda: None

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:  # type: ignore[override]  # static there
        """Open a file, or what /proc says of the holder."""
        if path == f"/proc/{HOLDER}/stat":
            return _file(f"{HOLDER} (brokerctl) {self.state} {'0 ' * 18}{START}".encode())
        if path == f"/proc/{HOLDER}/schedstat":
            if not self.has_schedule:
                raise FileNotFoundError(2, "No such file or directory")
            self.ran_ns += self.runs_by_ns
            return _file(f"{self.ran_ns} {self.delayed_ns} 9\n".encode())
        return SYSTEM.open(path, flags, mode, dir_fd=dir_fd)

    def monotonic(self) -> float:
        """Return the time that was waited."""
        return self.now

    def sleep(self, seconds: SupportsIndex | float) -> None:
        """Let the time pass."""
        self.now += float(seconds)
        self.at()

    def wait_for(self, lock: LockType, seconds: float) -> bool:  # type: ignore[override]  # static there
        """Let the time pass, unless it is none of ours."""
        if self.gets_no_processor:
            self.gets_no_processor -= 1
        else:
            self.now += seconds
        self.at()
        return lock.acquire(timeout=0.02)


def _file(data: bytes) -> int:
    fd = os.memfd_create("proc", os.MFD_CLOEXEC)
    os.pwrite(fd, data, 0)
    return fd


@pytest.fixture
def machine() -> Machine:
    """Return a machine on which the holder sleeps."""
    return Machine()


@pytest.fixture
def folder(tmp_path: Path, machine: Machine) -> Folder:
    """Return a store's folder on that machine."""
    found = open_folder(str(tmp_path / "v1"))
    assert found is not None
    assert found.child("locks") is not None
    found.system = machine
    return found


@pytest.fixture
def held(folder: Folder) -> Iterator[int]:
    """Hold the lock of `g` for process 77, and return the open file."""
    fd = os.open(f"{folder.path}/locks/g.lock", os.O_RDWR | os.O_CREAT, 0o600)
    write_holder(fd, {})
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    os.close(fd)


def write_holder(fd: int, other: dict[str, object]) -> None:
    """Write down process 77 as the holder, with members of another value."""
    holder = {"pid": HOLDER, "start": START, **describe_here(SYSTEM), "delayed_ns": 0, **other}
    os.pwrite(fd, (b"0" * 20 + b"\n" + jsonlite.dumps(holder).encode()).ljust(512), 0)


def wait(folder: Folder) -> None:
    """Wait for what another process gets, as long as `get` does."""
    wait_for_another(folder, "g", work_time(folder.system) + LOCK_WAIT_S)


def take(folder: Folder) -> None:
    """Wait for the lock itself, as long as every command does."""
    locks = folder.child("locks")
    assert locks is not None
    lock = FileLock(locks, "g", folder.system)
    lock.acquire(work_time(folder.system) + LOCK_WAIT_S, NOW)
    lock.release()


BOTH = pytest.mark.parametrize("act", [wait, take])


def seconds_until_named(act: Wait, folder: Folder, machine: Machine) -> float:
    """Return how long it takes until the error names process 77."""
    begun = machine.now
    with pytest.raises(LockTimeoutError, match=f"locked by process {HOLDER}"):
        act(folder)
    return machine.now - begun


@BOTH
@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("state", ["R", "D"])
def test_a_holder_at_work_is_waited_for(
    folder: Folder, machine: Machine, act: Wait, state: str
) -> None:
    """One that would go on if the machine let it gets five times the wait, and no more."""
    machine.state = state
    assert CAP_S <= seconds_until_named(act, folder, machine) < CAP_S + 2


@BOTH
def test_a_starved_holder_that_is_done_lets_all_go_on(
    folder: Folder, machine: Machine, held: int, act: Wait
) -> None:
    """What comes late is taken: nobody fails where somebody works."""
    machine.state = "R"

    def let_go() -> None:
        if machine.now > 1050:
            fcntl.flock(held, fcntl.LOCK_UN)

    machine.at = let_go
    act(folder)
    assert 1050 < machine.now < 1050 + LOCK_WAIT_S


@BOTH
@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("has_schedule", [True, False])
def test_a_holder_that_sleeps_is_named_in_time(
    folder: Folder, machine: Machine, act: Wait, *, has_schedule: bool
) -> None:
    """It has had its processor, so its time is over; without the kernel's count too."""
    machine.has_schedule = has_schedule
    assert LOCK_WAIT_S <= seconds_until_named(act, folder, machine) < LOCK_WAIT_S + 1


@BOTH
@pytest.mark.usefixtures("held")
def test_what_the_holder_waited_for_a_processor_is_added(
    folder: Folder, machine: Machine, act: Wait
) -> None:
    """It may talk to an issuer for the whole of its own time, which began late."""
    machine.delayed_ns = 9 * SECOND_NS
    assert LOCK_WAIT_S + 9 <= seconds_until_named(act, folder, machine) < LOCK_WAIT_S + 11


@BOTH
def test_what_it_waited_before_it_had_the_lock_is_not(
    folder: Folder, machine: Machine, held: int, act: Wait
) -> None:
    """A process that has run for days has waited long for processors, and may be hung now."""
    machine.delayed_ns = 9 * SECOND_NS
    write_holder(held, {"delayed_ns": 9 * SECOND_NS})
    assert seconds_until_named(act, folder, machine) < LOCK_WAIT_S + 1


@BOTH
@pytest.mark.usefixtures("held")
def test_a_stopped_holder_is_named_in_time(folder: Folder, machine: Machine, act: Wait) -> None:
    """Ctrl-Z: it does not go on by itself, however long it had to wait before."""
    machine.state, machine.delayed_ns = "T", 60 * SECOND_NS
    assert seconds_until_named(act, folder, machine) < LOCK_WAIT_S + 1


@BOTH
@pytest.mark.usefixtures("held")
def test_one_that_is_stopped_and_continued_is_at_work(
    folder: Folder, machine: Machine, act: Wait
) -> None:
    """`cpulimit` stops a process for most of each tenth of a second: it runs all the same."""
    machine.state, machine.runs_by_ns = "T", 1000
    assert seconds_until_named(act, folder, machine) >= CAP_S


@BOTH
@pytest.mark.parametrize(
    "other", [{"host": "elsewhere"}, {"boot": "earlier"}, {"pid_ns": 1}, {"start": 1}]
)
def test_a_number_that_means_another_process_says_nothing(
    folder: Folder, machine: Machine, held: int, act: Wait, other: dict[str, object]
) -> None:
    """A pid of another host, boot or container, or one that was given anew."""
    machine.state = "R"
    write_holder(held, other)
    begun = machine.now
    with pytest.raises(LockTimeoutError):
        act(folder)
    assert machine.now - begun < LOCK_WAIT_S + 1


@BOTH
def test_nobody_waits_longer_for_himself(
    folder: Folder, machine: Machine, held: int, act: Wait
) -> None:
    """A process that waits for its own lock is at work, and in vain."""
    mine = describe_self(SYSTEM, NOW)
    write_holder(held, mine)
    begun = machine.now
    with pytest.raises(LockTimeoutError, match=f"process {os.getpid()}"):
        act(folder)
    assert machine.now - begun < LOCK_WAIT_S + 1


@pytest.mark.usefixtures("held")
def test_a_mere_look_stays_one(folder: Folder, machine: Machine) -> None:
    """Who has no time to wait is not made to, whatever the holder does."""
    machine.state = "R"
    with pytest.raises(LockTimeoutError):
        wait_for_another(folder, "g", work_time(machine))
    assert machine.now == 1000


def test_a_waiter_that_gets_no_processor_waits_on(
    folder: Folder, machine: Machine, held: int
) -> None:
    """The kernel's timer rang, and for us no time has passed: the wait is not over."""
    machine.gets_no_processor = 5

    def let_go() -> None:
        if not machine.gets_no_processor:
            fcntl.flock(held, fcntl.LOCK_UN)

    machine.at = let_go
    wait(folder)
    assert machine.now <= 1000 + LOCK_WAIT_S


def test_a_holder_writes_down_how_long_it_had_waited() -> None:
    """So that those who wait for it can tell what it waited since."""
    found, schedule = describe_self(SYSTEM, NOW), find_schedule("self", SYSTEM)
    if schedule is None:
        assert "delayed_ns" not in found
    else:
        assert 0 <= found["delayed_ns"] <= schedule[1]


def test_the_clock_never_jumps() -> None:
    """What can't be read any more is what it was; where nothing is counted there is no delay."""

    class Kernel(System):
        said: bytes | None = None

        def open(self, *_: object, **__: object) -> int:
            """Open what the kernel says."""
            if self.said is None:
                raise OSError(24, "Too many open files")
            return _file(self.said)

    kernel = Kernel()
    delay = ProcessorDelay(kernel)
    said = [(None, 0.0), (b"1 3000000000 7\n", 3.0), (None, 3.0), (b"", 3.0), (b"x y z", 3.0)]
    for kernel.said, seconds in said:
        assert delay.total_s() == seconds
    kernel.said = b"1 4500000000 7\n"
    assert delay.total_s() == 4.5


@pytest.mark.skipif(find_schedule("self", SYSTEM) is None, reason="this kernel does not count it")
@pytest.mark.parametrize("where", [(), ("thread",)])
def test_the_clock_stands_while_another_has_the_processor(where: tuple[str, ...]) -> None:
    """What a rival on the same processor takes is not ours, nor that of a thread of ours."""
    done = subprocess.run(
        [sys.executable, "-c", RIVALS, *where],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "True\n"


def test_a_holder_that_is_a_thread_is_seen_at_its_own_work(tmp_path: Path) -> None:
    """Though the first thread of its process sleeps; and it is no wait for ourselves."""
    path, is_over, has_written = tmp_path / "lock", threading.Event(), threading.Event()

    def write() -> None:
        text = b"0" * 20 + b"\n" + jsonlite.dumps(describe_self(SYSTEM, NOW)).encode()
        path.write_bytes(text)

    def hold() -> None:
        write()
        has_written.set()
        while not is_over.is_set():  # work that keeps no other thread of this interpreter waiting
            hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)

    def sees(*, is_wanted: bool) -> bool:
        until = time.monotonic() + 60
        with path.open("rb") as file:
            while is_at_work(file.fileno(), SYSTEM, 1.0) is not is_wanted:
                if time.monotonic() > until:
                    return False
                time.sleep(0.001)
        return True

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert has_written.wait(60)
        assert sees(is_wanted=True)
    finally:
        is_over.set()
        thread.join()
    assert sees(is_wanted=False)
    write()
    with path.open("rb") as file:
        assert not is_at_work(file.fileno(), SYSTEM, 1.0)


def test_a_clock_of_ones_own_is_taken_at_its_word(machine: Machine) -> None:
    """A test's machine has no real delays."""
    assert work_time(machine) == machine.now
    assert work_time() <= time.monotonic()
