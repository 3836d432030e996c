"""Environments, limits and mounts that nobody would wish for: a token, or the right refusal."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.machine.room import CONFIG, answers, behaves, refused, require_mounts, write_private
from tests.program import require_tool

if TYPE_CHECKING:
    from tests.machine.room import Machine

FRESH = ("get", "person", "--fresh")
RAW = "\udcff"  # a byte that is no UTF-8
LONG = "x" * 131_000  # one variable can't be longer

FINE: dict[str, dict[str, str | None]] = {
    "nothing but the places": {"PATH": None, "HOME": None, "LANG": None, "TMPDIR": None},
    "an empty HOME": {"HOME": ""},
    "a relative HOME": {"HOME": "x"},
    "a HOME that is not there": {"HOME": "/nonexistent/a\nb"},
    "LC_ALL=C": {"LC_ALL": "C"},
    "LC_ALL=POSIX": {"LC_ALL": "POSIX"},
    "an unknown locale": {"LC_ALL": "xx_YY.bad", "LANG": "de_DE.ISO-8859-1", "LANGUAGE": RAW},
    "two megabytes": {f"X{number}": LONG for number in range(12)},
    "bytes": {RAW: RAW, "X": RAW, "TERM": RAW, "NO_COLOR": RAW, "XDG_RUNTIME_DIR": RAW},
    "no numbers": {"COLUMNS": "-5", "LINES": "x"},
    "a purpose of bytes": {"BROKERCTL_PURPOSE": f"{RAW}\x1b[2J\n" + "p" * 9000},
    "certificates elsewhere": {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": RAW},
}
REFUSED: dict[str, tuple[dict[str, str | None], int]] = {
    "no HOME and no places": ({"HOME": None, "BROKERCTL_HOME": None, "BROKERCTL_CONFIG": None}, 2),
    "all of them empty": ({"HOME": "", "BROKERCTL_HOME": "", "BROKERCTL_CONFIG": ""}, 2),
    "a relative configuration": ({"BROKERCTL_CONFIG": "config.toml"}, 2),
    "a configuration of bytes": ({"BROKERCTL_CONFIG": f"/{RAW}\n"}, 2),
    "a relative state": ({"BROKERCTL_HOME": "state"}, 2),
    "a file as the state": ({"BROKERCTL_HOME": "/etc/passwd"}, 6),
    "the state below a file": ({"BROKERCTL_HOME": "/etc/passwd/x"}, 6),
    "a device as the state": ({"BROKERCTL_HOME": "/dev/null"}, 6),
    "a link as the state": ({"BROKERCTL_HOME": "/proc/self"}, 6),
    "a state that can't be made": ({"BROKERCTL_HOME": "/proc/x"}, 6),
    "too long a name": ({"BROKERCTL_HOME": "/" + "n" * 300}, 6),
    "too long a path": ({"BROKERCTL_HOME": "/n" * 3000}, 6),
    "an unknown keeper": ({"BROKERCTL_KEEPER": RAW}, 2),
}


@pytest.mark.parametrize("name", FINE)
def test_it_makes_no_difference(machine: Machine, name: str) -> None:
    """The token is had anew and from the store."""
    token = answers(machine.under([], *FRESH, env=FINE[name]))
    answers(machine.under([], "get", "person", env=FINE[name]), token)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(machine: Machine, name: str) -> None:
    """By the code of what is wrong, and with nothing made of it."""
    env, code = REFUSED[name]
    refused(machine.under([], "get", "person", env=env), code)
    answers(machine("get", "person"))


# Where people and distributions put homes.
HOMES = (
    *("a b", "new\nline", "quote'\"`$(id)", "-dash", "ünï 火 \u202e", "%s{}", "\\x"),
    *("x;cd;touch PWNED;", "$(touch PWNED)", "a';touch PWNED;'", "&touch PWNED&", ">PWNED"),
)


def homeless(machine: Machine, name: str) -> dict[str, str | None]:
    """Make a home of that name with a configuration, and return the variables that lead to it."""
    home = os.path.join(machine.home, name)
    folder = os.path.join(home, ".config", "brokerctl")
    os.makedirs(folder, mode=0o700)
    text = CONFIG.format(url=machine.issuer.url, secret="~/basic.secret")
    write_private(os.path.join(folder, "config.toml"), text)
    write_private(os.path.join(home, "basic.secret"), machine.issuer.secrets["basic"] or "")
    return {"HOME": home, "BROKERCTL_HOME": None, "BROKERCTL_CONFIG": None}


@pytest.mark.parametrize("name", HOMES)
def test_an_odd_home(machine: Machine, name: str) -> None:
    """First use, the store and a refusal with the path in it work as in any other."""
    env = homeless(machine, name)
    token = answers(machine.under([], "get", "service", env=env))
    answers(machine.under([], "get", "service", env=env), token)
    assert machine.under([], "audit", "verify", env=env).returncode == 0
    os.chmod(os.path.join(machine.home, name), 0o777)  # noqa: S103 - to be refused
    done = machine.under([], "get", "service", env=env)
    refused(done, 2)
    # The hint, copied as it is: it mends what it names, and runs nothing else.
    command = done.stderr.rpartition("hint: run '")[2].removesuffix("'\n")
    pasted = subprocess.run(
        ["sh", "-c", command], cwd=machine.home, capture_output=True, check=False
    )
    if "\u202e" not in name:  # which a shell without its locale can't find by a `?`
        assert pasted.returncode == 0, (command, pasted)
        answers(machine.under([], "get", "service", env=env))
    assert not [place for place, _, names in os.walk(machine.home) if "PWNED" in names]


@pytest.mark.parametrize("name", ["HOME", "BROKERCTL_HOME", "BROKERCTL_CONFIG", "XDG_STATE_HOME"])
def test_a_path_that_begins_with_two_slashes(machine: Machine, name: str) -> None:
    """To Python `//` is a folder of its own above which there is none: no walk may wait for `/`."""
    env = homeless(machine, "fresh")
    place = {"HOME": env["HOME"], "BROKERCTL_CONFIG": machine.config}.get(name)
    env[name] = place or f"{machine.home}/fresh/state"
    token = answers(machine.under([], "get", "service", env=env))
    env[name] = f"/{env[name]}"
    answers(machine.under([], "get", "service", env=env, cwd="//"), token)


def test_a_path_of_many_levels(machine: Machine) -> None:
    """More folders to make than Python calls can be nested."""
    deep = machine.home + "/d" * 1500
    try:
        answers(machine.under([], "get", "service", env={"BROKERCTL_HOME": deep}))
    finally:  # Python's own way to remove it calls itself for each level
        subprocess.run(["rm", "-r", f"{machine.home}/d"], check=True)


def test_a_home_of_bytes(machine: Machine) -> None:
    """A path that is no UTF-8 is refused and called so."""
    done = machine.under([], "get", "service", env=homeless(machine, f"home{RAW}"))
    refused(done, 2)
    assert "is not text" in done.stderr


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_a_umask(machine: Machine, umask: int) -> None:
    """Everything is private and usable, whatever it is; a child gets it as it was."""
    env = homeless(machine, "fresh")
    answers(machine("get", "service", env=env, umask=umask))
    answers(machine("get", "service", "--fresh", env=env, umask=umask))
    modes = {
        stat.filemode(os.stat(os.path.join(place, name)).st_mode)
        for place, folders, files in os.walk(os.path.join(machine.home, "fresh", ".local", "state"))
        for name in (*folders, *files)
        if name != "brokerctl-child"
    }
    assert modes == {"drwx------", "-rw-------"}
    child = machine("exec", "-p", "service", "--", "sh", "-c", "umask", env=env, umask=umask)
    assert int(child.stdout, 8) == umask, child


# Limits.


@pytest.mark.parametrize("count", [11, 12, 13, 14, 16])
def test_few_open_files(machine: Machine, count: int) -> None:
    """A token or an error of ours; the shell before us needs eleven."""
    answers(machine("get", "person"))
    limited = [require_tool("prlimit"), f"--nofile={count}"]
    for words in (("get", "person"), FRESH):
        done = machine.under(limited, *words)
        behaves(done)
        assert done.returncode in {0, 1, 5, 6, 7}, done
        assert bool(done.stdout) == (done.returncode == 0)
    machine.works()
    machine.log_is_whole()


@pytest.mark.parametrize("free", range(3, 9))
@pytest.mark.parametrize("words", ["get person", "get person --fresh", "status", "doctor"])
def test_few_open_files_are_left(machine: Machine, free: int, words: str) -> None:
    """With what the caller left open: one line that says it, for what prints errors imports too."""
    answers(machine("get", "person"))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(9 - free)]
    try:
        limited = [require_tool("prlimit"), "--nofile=12"]
        done = machine.under(limited, *words.split(), pass_fds=held)
    finally:
        for fd in held:
            os.close(fd)
    assert "Traceback" not in done.stderr, done.stderr
    assert "bug" not in done.stderr
    assert done.returncode == 0 or "too many open files" in done.stderr + done.stdout, done
    machine.works()


LIMITED = """
import resource, sys
from brokerctl.__main__ import main
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
sys.argv[:] = ["brokerctl", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("words", ["get x", "exec -p x -- true", "helper git get", "status"])
def test_not_one_more_file_can_be_opened(words: str) -> None:
    """Not even those of our own modules: the front door says it without importing anything."""
    argv = [sys.executable, "-c", LIMITED, *words.split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stderr == "brokerctl: error: too many open files\n"
    assert (done.returncode, done.stdout) == (1, "")


# Not 24: there CPython 3.11 may loop in `enum` for ever, importing `ssl`; nothing was sent yet.
@pytest.mark.parametrize("mebibytes", [28, 36, 40, 44])
def test_little_memory(machine: Machine, mebibytes: int) -> None:
    """Wherever it runs out, what the issuer has rotated is not lost by it.

    Once in some hundred runs a native library below Python dies of it, as of SIGKILL.
    """
    answers(machine("get", "person"))
    limited = [require_tool("prlimit"), f"--as={mebibytes << 20}"]
    done = machine.under(limited, *FRESH)
    assert done.returncode in {0, 1, 5, -signal.SIGSEGV}, done
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    machine.works()
    machine.log_is_whole()


def test_no_core_file(machine: Machine) -> None:
    """Security: whoever wants one of every program gets none of this, which holds keys."""
    command = [require_tool("prlimit"), "--core=unlimited", machine.program.path]
    words = ("exec", "-p", "person", "--", "sh", "-c", "kill -SEGV $PPID")
    process = subprocess.Popen(
        [*command, *words], env=machine.program.environment(), cwd=machine.home
    )
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(status)
    assert (process.returncode, os.WCOREDUMP(status)) == (-signal.SIGSEGV, False)
    assert not [name for name in os.listdir(machine.home) if "core" in name]


# Mounts.
MOUNTS = {
    "no /proc": "umount -l /proc",
    "an empty /proc": "mount -t tmpfs none /proc",
    # But for memory, where the home may lie (scripts/test.sh).
    "an empty /dev": (
        "mount --bind /dev/shm /mnt && mount -t tmpfs none /dev && mkdir /dev/shm"
        " && mount --bind /mnt /dev/shm"
    ),
    "an empty /etc and /run": "mount -t tmpfs none /etc && mount -t tmpfs none /run",
}


@pytest.mark.parametrize("name", MOUNTS)
def test_a_bare_root(machine: Machine, name: str) -> None:
    """What is not there is not needed; the record says nothing where nothing is known."""
    wrapper = ["unshare", "--mount", "sh", "-c", f'{MOUNTS[name]} && exec "$@"', "sh"]
    require_mounts(machine, [*wrapper, "true"])
    token = answers(machine.under(wrapper, *FRESH))
    answers(machine.under(wrapper, "get", "person"), token)
    words = ("exec", "-p", "person", "--", "sh", "-c", "echo $PERSON_TOKEN")
    answers(machine.under(wrapper, *words), token)
    assert machine.under(wrapper, "status").returncode == 0
    if "/proc" in name:
        handed_out = [r for r in machine.records() if r["event"] == "token.handed_out"]
        requester = handed_out[-1]["requester"]
        assert (requester["exe"], requester["parents"]) == (None, [])
    machine.log_is_whole()
