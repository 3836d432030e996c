"""What a session's child inherits: descriptors, signals, umask; and what a session itself loads."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.session_room import Room

# All that a session may load beside our own modules: what a warm `get` stands on, and `_signal`.
WARM = "__future__ os sys time errno stat fcntl select _socket _struct binascii _json _blake2"
SODIUM = "_cffi_backend nacl nacl._sodium _sodium _sodium.lib _operator"
ROOM = "start run child environment supervise"  # of a session that shares its tokens
ALLOWED_FOREIGN = frozenset((*WARM.split(), *SODIUM.split(), "_signal"))


@pytest.fixture
def room(tmp_path: object) -> Room:
    """Return a room of this test's own."""
    return Room(str(tmp_path))


def test_binary_passes_unchanged(room: Room) -> None:
    """100 MB of binary from stdin to stdout are the same bytes: they never pass through us."""
    source = os.path.join(room.folder, "source")
    block = bytes(range(256)) * 4096
    with open(source, "wb") as file:
        file.writelines(block for _ in range(100))
    words = ("-p", "person", "--", "cat")
    with (
        open(source, "rb") as stdin,
        room.start(*words, stdin=stdin, stdout=subprocess.PIPE) as process,
    ):
        digest = hashlib.file_digest(process.stdout, "sha256").digest()
    with open(source, "rb") as file:
        assert digest == hashlib.file_digest(file, "sha256").digest()
    os.unlink(source)


def test_descriptors_are_the_callers(room: Room) -> None:
    """The child has 0, 1, 2, what the caller opened for it, and no lock, log or folder of ours."""
    with open(os.path.join(room.folder, "extra"), "w", encoding="utf-8") as extra:
        fd = extra.fileno()
        done = room.run("--file", "F=service", "--", "sh", "-c", "ls /proc/$$/fd", pass_fds=(fd,))
    assert sorted(map(int, done.stdout.split())) == [0, 1, 2, fd]


def test_closed_stdin_stays_closed(room: Room) -> None:
    """A caller without a standard input gives none to the child, and nothing of ours is there."""
    words = room.words("-p", "service", "--", "sh", "-c", "ls /proc/$$/fd; exit 6")
    done = room.plain("sh", "-c", 'exec "$@" <&-', "sh", *words, env=room.environ())
    assert (done.returncode, done.stdout.split()) == (6, [b"1", b"2"])


_INTERNAL = 0b11 << 31  # signals 32 and 33


def test_process_state_is_the_callers(room: Room) -> None:
    """Signal mask, ignored signals and umask are inherited as they were."""
    probe = ("grep", "-E", "^(SigBlk|SigIgn|SigCgt|Umask):", "/proc/self/status")

    def before() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2, signal.SIGWINCH})
        os.umask(0o027)

    plain = room.plain(*probe, env=room.environ(), preexec_fn=before)
    through = room.run("-p", "service", "--", *probe, preexec_fn=before)
    assert _without_internal(through.stdout) == _without_internal(plain.stdout)
    assert b"SigBlk:\t0000000008000800" in through.stdout


def _without_internal(status: bytes) -> list[bytes]:
    """Leave out what changes by itself: glibc's posix_spawn ignores its internal signals 32, 33."""
    kept = []
    for line in status.splitlines():
        name, _, value = line.partition(b":\t")
        if name == b"SigIgn":
            line = b"%s:\t%016x" % (name, int(value, 16) & ~_INTERNAL)  # noqa: PLW2901 - the same line, masked
        kept.append(line)
    return kept


def test_umask_of_the_caller_is_given_back(room: Room) -> None:
    """Where our process works with a umask of its own, the child has the caller's."""
    done = room.run("-p", "person", "--", "sh", "-c", "umask", env={"SESSION_TEST_UMASK": "013"})
    assert done.stdout == b"0013\n"


def test_broken_pipe_kills_the_child(room: Room) -> None:
    """Python's own ignoring of SIGPIPE is not inherited: `exec -- yes | head` ends."""
    words = room.words("-p", "person", "--", "sh", "-c", "yes; echo code=$? >&2")
    done = room.plain("bash", "-c", '"$@" | head -1', "bash", *words, env=room.environ())
    assert (done.stdout, done.stderr) == (b"y\n", b"code=141\n")


def test_child_that_leaves_a_daemon(room: Room) -> None:
    """A daemon keeps nobody waiting; its token is revoked, and it is named."""
    script = "setsid sleep 5 >/dev/null 2>&1 </dev/null & echo $!"
    begun = time.monotonic()
    done = room.run("-p", "service", "--", "sh", "-c", script)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert time.monotonic() - begun < 4
    assert done.returncode == 0
    assert b"still running with an ended token: " in done.stderr
    assert len(room.notes("revoke")) == 1


def test_environment_can_be_read_by_us_alone(room: Room) -> None:
    """The documented truth: the same user can read the environment, another one can't."""
    with room.start("-p", "person", "--", "sleep", "20", stdout=subprocess.DEVNULL) as process:
        try:
            path = f"/proc/{_sleeper_of(process.pid)}/environ"
            with open(path, "rb") as file:
                assert b"PERSON_TOKEN=token-of-person" in file.read()
            if os.geteuid() == 0:
                as_nobody = {"user": 65534, "group": 65534, "extra_groups": []}
                other = room.plain("cat", path, env=room.environ(), **as_nobody)
                assert (other.returncode, other.stdout) == (1, b"")
        finally:
            process.send_signal(signal.SIGTERM)


def test_modules_of_a_session(room: Room) -> None:
    """A session loads our own light modules and no foreign one that a warm `get` does without."""
    room.run("-p", "person", "--", "true", env={"SESSION_TEST_MODULES": "1"})
    loaded = set(room.notes("modules")[0]["names"])
    code = "import sys; print(*sys.modules)"
    bare = room.plain(sys.executable, "-I", "-c", code, env=room.environ()).stdout.decode()
    new = loaded - set(bare.split())
    assert {name for name in new if not name.startswith("brokerctl")} <= ALLOWED_FOREIGN
    of_room = {name for name in new if name.startswith("brokerctl.session.")}
    assert of_room == {f"brokerctl.session.{name}" for name in ROOM.split()}


def _sleeper_of(pid: int) -> int:
    """Return the child's process id once it is `sleep`."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            found = [int(number) for number in file.read().split()]
        for child in found:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if file.read() == b"sleep\x0020\0":
                    return child
        time.sleep(0.02)
    raise AssertionError("no child")
