"""The kernel's keyring as a cache: with a timeout always, and never a reason to fail."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl import keys
from brokerctl.errors import KeyLockedError, UsageError
from brokerctl.keys.create import create_ring
from brokerctl.keys.kernel import KernelCache
from brokerctl.keys.unlock import find_key_state, lock, unlock
from brokerctl.platform import libc
from brokerctl.platform.private_files import Folder, open_folder
from tests.program import ROOT, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = bytes(range(32))
SOURCES = os.path.join(ROOT, "src")
ENVIRON = {"BROKERCTL_KEEPER": "passphrase", "BROKERCTL_PASSPHRASE": "correct horse"}


@pytest.fixture
def wrap_id() -> Iterator[str]:
    """Return an id that nobody else uses; skip where this kernel keeps no keys."""
    made = os.urandom(16).hex()
    if not KernelCache().put(made, KEY, 60):
        pytest.skip("this kernel, or what surrounds it, keeps no keys")
    KernelCache().drop(made)
    yield made
    KernelCache().drop(made)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Folder]:
    """Return a v1 folder; its key does not stay behind in the kernel."""
    folder = open_folder(str(tmp_path / "v1"))
    assert folder is not None
    yield folder
    lock(folder, {})


def _in_child(code: str, *words: str, wrapper: tuple[str, ...] = ()) -> str:
    prelude = f"import sys; sys.path.insert(0, {SOURCES!r})\n"
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", prelude + code, *words],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def _without_keys(error: str) -> tuple[str, ...]:
    """Return what makes the real system calls of a process fail, as seccomp does."""
    return (
        *(require_tool("strace"), "-f", "-o", "/dev/null", "-e", "trace=keyctl,add_key"),
        *("-e", f"inject=keyctl:error={error}", "-e", f"inject=add_key:error={error}"),
    )


def listed_keys(wrap_id: str) -> list[list[str]]:
    """Return /proc/keys' lines of one key, when those that were replaced have been collected."""
    deadline = time.monotonic() + 20
    while True:
        with open("/proc/keys") as listing:
            found = [line.split() for line in listing if wrap_id in line]
        if len(found) == 1 or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


FIND = (
    "from brokerctl.keys.kernel import KernelCache\n"
    "print(KernelCache().find(sys.argv[1]) is not None)"
)


def test_remembers_replaces_and_forgets(wrap_id: str) -> None:
    """A later key replaces the earlier one; dropping twice is fine."""
    cache = KernelCache()
    assert cache.find(wrap_id) is None
    assert cache.put(wrap_id, bytes(32), 60)
    assert cache.put(wrap_id, KEY, 60)
    assert cache.find(wrap_id) == KEY
    assert cache.drop(wrap_id)
    assert cache.find(wrap_id) is None
    assert not cache.drop(wrap_id)


def test_has_a_timeout_and_narrow_permissions(wrap_id: str) -> None:
    """The kernel lists it: it expires; its user may view, read and search, others nothing."""
    assert KernelCache().put(wrap_id, KEY, 120)
    (fields,) = listed_keys(wrap_id)
    assert fields[3] in {"1m", "2m", "119s", "120s"}
    assert fields[4] == "3f0b0000"


def test_expires(wrap_id: str) -> None:
    """After its time it is gone, for us and for the kernel."""
    assert KernelCache().put(wrap_id, KEY, 1)
    code = (
        "import time; from brokerctl.keys.kernel import KernelCache\n"
        "end = time.monotonic() + 10\n"
        "while KernelCache().find(sys.argv[1]) and time.monotonic() < end: time.sleep(0.05)\n"
        "print(KernelCache().find(sys.argv[1]))"
    )
    assert _in_child(code, wrap_id) == "None"


def test_is_never_kept_without_a_timeout(wrap_id: str) -> None:
    """No time or a negative one: not kept at all."""
    assert not KernelCache().put(wrap_id, KEY, 0)
    assert not KernelCache().put(wrap_id, KEY, -5)
    assert KernelCache().find(wrap_id) is None


@pytest.mark.parametrize("refused", ["_SET_TIMEOUT", "_SETPERM", "_LINK"])
def test_a_step_that_fails_leaves_nothing(wrap_id: str, refused: str) -> None:
    """If timeout, permissions or link can't be had, no copy is in the user's keyring."""
    from brokerctl.keys import kernel  # noqa: PLC0415 - its private numbers are what is refused

    number = getattr(kernel, refused)

    def call(name: str, *words: int | bytes | bytearray) -> tuple[int, int]:
        if len(words) > 1 and words[1] == number:
            return -1, errno.EPERM
        return libc.call(name, *words)

    assert not KernelCache(call).put(wrap_id, KEY, 60)
    assert KernelCache().find(wrap_id) is None


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EDQUOT, errno.EACCES])
def test_a_kernel_that_says_no_is_done_without(number: int) -> None:
    """Seccomp, an old kernel or a full quota: nothing found, nothing kept, nothing raised."""
    cache = KernelCache(lambda *_: (-1, number))
    assert cache.find("ab" * 16) is None
    assert not cache.put("ab" * 16, KEY, 60)
    assert not cache.drop("ab" * 16)


def test_an_unknown_machine_is_done_without() -> None:
    """An architecture whose numbers we don't know makes no system call at all."""
    cache = KernelCache(lambda *_: pytest.fail("a call was made"), machine="pdp11")
    assert cache.find("ab" * 16) is None
    assert not cache.put("ab" * 16, KEY, 60)


def test_a_session_without_the_user_keyring_reads_it(wrap_id: str) -> None:
    """As under su, cron or systemd: a session keyring that `@u` is not linked into."""
    assert KernelCache().put(wrap_id, KEY, 60)
    join = "from brokerctl.keys import kernel; from brokerctl.platform import libc; import os\n"
    join += "number = kernel._NUMBERS[os.uname().machine][1]\n"
    join += "assert libc.call('syscall', number, 1, 0)[0] > 0\n"
    assert _in_child(join + FIND, wrap_id) == "True"
    keep = join + "print(kernel.KernelCache().put(sys.argv[1], bytes(32), 60))\n"
    assert _in_child(keep, wrap_id) == "True"
    assert KernelCache().find(wrap_id) == bytes(32)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_finds_nothing(wrap_id: str) -> None:
    """The user keyring is the user's own."""
    assert KernelCache().put(wrap_id, KEY, 60)
    wrapper = (require_tool("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups")
    code = FIND.replace("print", "import os; print(os.getuid()) or print")
    try:
        assert _in_child(code, wrap_id, wrapper=wrapper).split() == ["65534", "False"]
    except subprocess.CalledProcessError:
        pytest.skip("the sources can't be read as another user")


def test_another_user_namespace_finds_nothing(wrap_id: str) -> None:
    """In a rootless container `@u` is another one: the key is absent and nothing breaks."""
    assert KernelCache().put(wrap_id, KEY, 60)
    wrapper = (require_tool("unshare"), "--user", "--map-root-user")
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    assert _in_child(FIND, wrap_id, wrapper=wrapper) == "False"


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_seccomp_in_the_real_process(home: Folder, error: str) -> None:
    """With both system calls refused by the kernel, opening works through the keeper alone."""
    ring, _ = create_ring(home, ENVIRON)
    code = (
        "from brokerctl.platform.private_files import open_folder; from brokerctl import keys\n"
        "from brokerctl.keys.kernel import KernelCache\n"
        "assert not KernelCache().put('ab' * 16, bytes(32), 5)\n"
        "home = open_folder(sys.argv[1])\n"
        "print(keys.open_ring(home, {'BROKERCTL_PASSPHRASE': 'correct horse'}).fingerprint('x'))"
    )
    assert _in_child(code, home.path, wrapper=_without_keys(error)) == ring.fingerprint("x")


def test_a_copy_that_does_not_open_the_ring_counts_as_absent(home: Folder, wrap_id: str) -> None:
    """What somebody else put there is not believed: the keeper is asked."""
    del wrap_id
    ring, _ = create_ring(home, ENVIRON)
    folder = home.child("keys")
    assert folder is not None
    state = keys.read_state(folder)
    assert state is not None
    assert KernelCache().put(state[0].wrap_id, bytes(32), 60)
    assert keys.open_ring(home, ENVIRON) == ring
    assert KernelCache().put(state[0].wrap_id, bytes(32), 60)
    with pytest.raises(KeyLockedError):
        keys.open_ring(home, {})


def test_unlock_sets_the_time_anew(home: Folder, wrap_id: str) -> None:
    """`unlock --for` loads the copy, later commands need no passphrase, `lock` drops it."""
    del wrap_id
    ring, _ = create_ring(home, ENVIRON, unlock_for=lambda: 0)
    state = find_key_state(home, {})
    assert state is not None
    assert (state.is_locked, state.is_cached) == (True, False)
    assert unlock(home, ENVIRON, lambda: 30).for_s == 30
    assert keys.open_ring(home, {}) == ring
    assert lock(home, {})
    with pytest.raises(KeyLockedError):
        keys.open_ring(home, {})


def test_unlock_says_it_where_the_kernel_keeps_nothing(home: Folder) -> None:
    """An `unlock` that unlocked nothing for others is an error with a way out."""
    create_ring(home, ENVIRON)
    with pytest.raises(UsageError, match="for no time at all"):
        unlock(home, ENVIRON, lambda: 0)
    code = (
        "from brokerctl.platform.private_files import open_folder\n"
        "from brokerctl.keys.unlock import unlock\n"
        "from brokerctl.errors import KeyLockedError\n"
        "try: unlock(open_folder(sys.argv[1]), {'BROKERCTL_PASSPHRASE': 'correct horse'})\n"
        "except KeyLockedError as error: print(error.message, error.hint)"
    )
    said = _in_child(code, home.path, wrapper=_without_keys("ENOSYS"))
    assert "keeps no keys here" in said
    assert "BROKERCTL_PASSPHRASE_FILE" in said


def test_both_ways_to_the_c_library_agree() -> None:
    """The private module of cffi and ctypes give the same results, errno and written memory."""
    for way in (libc.call, libc.call_public):
        limits = bytearray(16)
        assert way("getrlimit", 4, limits)[0] == 0
        assert limits[8:] != bytes(8)
        assert way("getppid") == (os.getppid(), 0)
        assert way("access", b"/nowhere at all", 0) == (-1, errno.ENOENT)
        assert way("no_such_function_here") == (-1, errno.ENOSYS)


def test_harden_shuts_core_dumps_and_other_readers_out() -> None:
    """After `harden` the soft core limit is nought and the process is not dumpable."""
    code = (
        "from brokerctl.keys import harden; import resource, os\n"
        "from brokerctl.platform.libc import call\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "done, limits = harden(), resource.getrlimit(resource.RLIMIT_CORE)\n"
        "print(done, limits == (0, hard), call('prctl', 3, 0, 0, 0, 0)[0])"
    )
    assert _in_child(code) == "True True 0"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_harden_hides_the_environment_from_the_same_user() -> None:
    """Another process of the same user can't read /proc/PID/environ (standards, M6)."""
    code = (
        "from brokerctl.platform.libc import harden\n"
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "harden(); pid = os.getpid(); child = os.fork()\n"
        "if not child:\n"
        "    try: open(f'/proc/{pid}/environ').close(); os._exit(1)\n"
        "    except PermissionError: os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert _in_child(code) == "0"
