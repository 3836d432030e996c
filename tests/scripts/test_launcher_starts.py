"""What a caller can make of a start: odd words, rights, limits, mounts and paths that are too long.

Whatever it is, the interpreter beside the real file is run, with its caller's rights, or none is
and the exit code is the one that a shell has for that.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.launcher import Form, form, launcher, launcher_form
from tests.machine.room import require_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["form"]  # a fixture

NOBODY = 65534
# Says what it is, by which name, with which rights, environment and words.
SAYS = """#!/bin/sh -p
echo "$0"
while read -r name first second rest; do
    case $name in Uid: | Gid:) echo "$name $first $second" ;; esac
done </proc/self/status
tr '\\0' '\\n' </proc/$$/environ
echo "words:"
for word; do echo "<$word>"; done
"""
# `execve` with whatever words and variables: argv[0] may be missing, and a name stand there twice.
EXECVE = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
def array(words):
    return (ctypes.c_char_p * (len(words) + 1))(*words, None)
path, count, *rest = map(str.encode, sys.argv[1:])
libc.execve(path, array(rest[:int(count)]), array(rest[int(count):]))
sys.exit(ctypes.get_errno())
"""


@pytest.fixture
def installed(form: Form) -> Iterator[Path]:
    """Install the script beside a `python` that says how it was started; others may run both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "venv" / "bin"
        folder.mkdir(parents=True)
        os.chmod(name, 0o755)  # noqa: S103 - on purpose
        write_script(folder / "python", SAYS)
        yield form.install(folder)


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """Install the launcher of this machine in the same way."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    write_script(folder / "python", SAYS)
    return launcher_form().install(folder)


def write_script(path: Path, text: str) -> None:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)


def start(
    form: Form,
    script: object,
    *args: str,
    cwd: object = None,
    prepare: Callable[[], None] | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a script in an environment of nothing but `env`, by an emulator where need be."""
    return subprocess.run(
        [*form.wrapper, str(script), *args],
        cwd=str(cwd or "/"),
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        preexec_fn=prepare,
        capture_output=True,
        text=True,
        check=False,
    )


def words_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the interpreter was called with."""
    assert done.returncode == 0, done
    return done.stdout.partition("words:\n")[2].splitlines()


ARG_MAX = 131_072  # for words and variables, where the stack is small
STACK = 160 * 1024


def small_stack() -> None:
    """Leave a child hardly more stack than its words take."""
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, STACK))


# What is not there.


def _lacks(folder: Path) -> None:
    (folder / "python").unlink()


def _no_right(folder: Path) -> None:
    (folder / "python").rename(folder / "python3")
    (folder / "python3").chmod(0o644)


def _loop(folder: Path) -> None:
    (folder / "python").unlink()
    (folder / "python3").symlink_to("python3")


def _no_program(folder: Path) -> None:
    (folder / "python").write_bytes(b"\x7fELF" + bytes(99))


BROKEN: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "no interpreter": (_lacks, 127, "python3': no such file or directory"),
    "no right": (_no_right, 126, "python3': permission denied"),
    "a loop": (_loop, 127, "python3': too many levels of symbolic links"),
    "no program": (_no_program, 126, f"python': error {errno.ENOEXEC:03}"),
}


@pytest.mark.parametrize("why", BROKEN)
def test_an_interpreter_that_can_t_be_run(installed: Path, form: Form, why: str) -> None:
    """The exit code is a shell's, and the launcher's message one of ours."""
    break_it, code, reason = BROKEN[why]
    break_it(installed.parent)
    done = start(form, installed, "x")
    assert done.returncode == code, done
    assert done.stdout == ""
    if form.arch:
        wanted = f"brokerctl: error: can't start '{installed.parent}/{reason}\n"
        assert done.stderr == wanted


def test_too_many_words(installed: Path, form: Form) -> None:
    """What is a little too much for the interpreter, which gets some words more than the script."""
    if form.wrapper:
        return  # an emulator has words of its own
    codes: list[int] = []
    while 0 not in codes:
        size = ARG_MAX - 32 * len(codes)
        try:
            done = start(form, installed, "x" * (size // 2), "x" * (size // 2), prepare=small_stack)
        except OSError as error:
            assert error.errno == errno.E2BIG  # noqa: PT017 - the caller's own
            codes.append(-1)
            continue
        codes.append(done.returncode)
        if done.returncode:
            assert "rgument list too long" in done.stderr
    assert codes == sorted(codes, key=[-1, 126, 0].index)
    assert 126 in codes


def test_a_name_that_a_terminal_would_obey(static: Path, tmp_path: Path) -> None:
    """A message shows what is no plain text as what it is, on one line."""
    folder = tmp_path / "a\n\x1b[2Jü"
    static.parent.parent.rename(folder)
    (folder / "bin" / "python").unlink()
    done = start(Form("native"), folder / "bin" / "brokerctl")
    assert done.stderr == (
        f"brokerctl: error: can't start '{tmp_path}/a\\x0a\\x1b[2J\\xc3\\xbc/bin/python3': "
        "no such file or directory\n"
    )
    assert done.returncode == 127


def test_what_python_runs_is_gone(static: Path) -> None:
    """A file that was removed by hand is named."""
    path = f"{static.parent}/../libexec/brokerctl/start.py"
    os.unlink(path)
    done = start(Form("native"), static)
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"brokerctl: error: can't start '{path}': no such file or directory\n"


# Words and variables.


@pytest.mark.parametrize("words", [[], [""], ["git-credential-brokerctl", "a"], ["-c", "a", "b"]])
def test_what_it_was_called_counts_for_nothing(
    installed: Path, form: Form, words: list[str]
) -> None:
    """argv[0] may be anything, or missing."""
    if form.wrapper:
        return  # an emulator's words are its own
    argv = [sys.executable, "-c", EXECVE, str(installed), str(len(words)), *words]
    done = subprocess.run(
        [*argv, "PATH=/bin:/usr/bin"], capture_output=True, text=True, check=False
    )
    wanted = ["-X", "utf8", "-IS", *form.words(str(installed)), *words[1:]]
    assert words_of(done) == [f"<{word}>" for word in wanted]


def test_variables(installed: Path, form: Form) -> None:
    """The two that `-I` heeds are gone, each time that they are there; others arrive."""
    if form.wrapper:
        return  # an emulator's variables are its own
    unwanted = ["PYTHONEXECUTABLE=/a", "__PYVENV_LAUNCHER__=/b"]
    given = ["PATH=/bin:/usr/bin", "A=1", *unwanted, "PYTHONEXECUTABLES=2", *unwanted, "B="]
    argv = [sys.executable, "-c", EXECVE, str(installed), "1", "x", *given]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert {"A=1", "PYTHONEXECUTABLES=2", "B="} <= set(done.stdout.splitlines())
    assert "PYTHONEXECUTABLE=" not in done.stdout
    assert "__PYVENV_LAUNCHER__=" not in done.stdout


def test_no_variable_at_all(installed: Path, form: Form) -> None:
    """Nothing that is looked for has to be there."""
    argv = [sys.executable, "-c", EXECVE, str(installed), "2", "x", "word"]
    if form.wrapper:
        argv = [*form.wrapper, str(installed), "word"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={})
    assert words_of(done)[-1] == "<word>"


# Rights.


def rights(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of the real and effective user and group."""
    assert done.returncode == 0, done
    return [line for line in done.stdout.splitlines() if line.startswith(("Uid:", "Gid:"))]


def test_a_mode_gives_nobody_rights(installed: Path, form: Form) -> None:
    """Security: a launcher with setuid and setgid bits is as a script with them."""
    require_root()
    if form.wrapper:
        return  # an emulator heeds no such bits
    installed.chmod(0o6755)
    wrapper = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    done = start(Form(wrapper=wrapper), installed, env={"LD_BIND_NOW": "1", "A": "1"})
    assert rights(done) == [f"Uid: {NOBODY} {NOBODY}", f"Gid: {NOBODY} {NOBODY}"]
    assert "A=1" in done.stdout.splitlines()
    if form.arch:
        assert "LD_BIND_NOW" not in done.stdout


def test_a_caller_with_another_s_rights(installed: Path, form: Form) -> None:
    """Security: it goes on with its real user's, as a shell does, and drops what loads code."""
    require_root()
    if form.wrapper:
        return  # an emulator is the caller

    def become() -> None:
        os.setresgid(NOBODY, 0, 0)
        os.setresuid(NOBODY, 0, 0)

    unwanted = {"LD_PRELOAD": "/nonexistent", "LD_LIBRARY_PATH": "/tmp", "GCONV_PATH": "/tmp"}
    done = start(form, installed, prepare=become, env={**unwanted, "A": "1"})
    assert rights(done) == [f"Uid: {NOBODY} {NOBODY}", f"Gid: {NOBODY} {NOBODY}"]
    assert "A=1" in done.stdout.splitlines()
    assert not {line.partition("=")[0] for line in done.stdout.splitlines()} & set(unwanted)


# Limits, streams, mounts.


def test_a_small_stack(installed: Path, form: Form) -> None:
    """The words are put where they lie, however many there are."""
    if form.wrapper:
        return  # an emulator has a stack of its own
    args = [str(number) for number in range(5000)]
    done = start(form, installed, *args, prepare=small_stack)
    assert words_of(done)[-5000:] == [f"<{word}>" for word in args]


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 1, 2)])
def test_closed_streams(installed: Path, form: Form, closed: tuple[int, ...]) -> None:
    """Nothing else comes to lie there, and an error's code is the same."""
    (installed.parent / "python").unlink()
    shut = " ".join(f"{fd}>&-" for fd in closed)
    script = Form(wrapper=("sh", "-c", f'exec "$@" {shut}', "sh", *form.wrapper))
    done = start(script, installed)
    assert (done.returncode, done.stdout) == (127, "")


WITHOUT_PROC = 'mount -t tmpfs none /proc && exec "$@"'


def test_without_proc(tmp_path: Path, form: Form) -> None:
    """In a root without /proc, links are followed one by one; a loop of them ends."""
    require_root()
    if form.wrapper:
        return  # an emulator can't do without
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    write_script(folder / "python", '#!/bin/sh\necho "words:"\nfor word; do echo "<$word>"; done\n')
    script = form.install(folder)
    (tmp_path / "one").symlink_to(script)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "two").symlink_to("../one")
    (tmp_path / "also").symlink_to("folder")
    hidden = Form(wrapper=("unshare", "-m", "sh", "-c", WITHOUT_PROC, "sh"))
    if start(hidden, "/bin/true").returncode:
        pytest.skip("nothing can be mounted here")
    for path, cwd in (
        (script, "/"),
        (tmp_path / "also" / "two", "/"),
        ("./two", tmp_path / "also"),
    ):
        done = start(hidden, path, "x", cwd=cwd)
        wanted = form.words(str(script), None if path == script else str(path))
        assert words_of(done) == [f"<{word}>" for word in ("-X", "utf8", "-IS", *wanted, "x")]


# Paths.


def test_a_path_that_is_too_long(static: Path, tmp_path: Path) -> None:
    """Where the interpreter's own path would not fit, no other is run."""
    deep = tmp_path
    while len(str(deep)) < 4096 - 256 - 64:
        deep /= "d" * 250
    deep /= "e" * (4096 - len(str(deep)) - len("/bin/brokerctl") - 3)
    deep.mkdir(parents=True)
    shutil.move(static.parent, deep)
    shutil.move(static.parent.parent / "libexec", deep)
    done = start(Form("native"), deep / "bin" / "brokerctl")
    assert (done.returncode, done.stdout) == (127, "")
    # Not one byte more than a path may have is put together.
    path = f"{deep}/bin/../libexec/brokerctl/start.py"[: 4096 - 1]
    assert done.stderr == f"brokerctl: error: can't start '{path}': file name too long\n"


def test_a_folder_that_is_too_deep(installed: Path, form: Form, tmp_path: Path) -> None:
    """A relative path is enough where no absolute one can be had."""
    script = " && ".join(f"mkdir {'d' * 250} && cd -P {'d' * 250}" for _ in range(20))
    move = 'mv "$0" "$1" .'
    run = f"{' '.join(form.wrapper)} ./bin/brokerctl x"
    argv = ["sh", "-c", f"{script} && {move} && {run}"]
    (installed.parent.parent / "libexec").mkdir(exist_ok=True)
    places = [str(installed.parent), str(installed.parent.parent / "libexec")]
    done = subprocess.run(
        [*argv, *places], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    try:
        wanted = form.words("./bin/brokerctl")
        assert words_of(done) == [f"<{word}>" for word in ("-X", "utf8", "-IS", *wanted, "x")]
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / ("d" * 250))], check=True)


def test_a_folder_that_is_an_option_to_python(static: Path, tmp_path: Path) -> None:
    """A path that begins with a dash is no option; `sh` can't run a script by such a one."""
    static.parent.rename(tmp_path / "-c print()")
    (static.parent.parent / "libexec").rename(tmp_path / "libexec")
    done = start(Form("native"), "-c print()/brokerctl", "x", cwd=tmp_path)
    wanted = launcher_form().words("./-c print()/brokerctl")
    assert words_of(done) == [f"<{word}>" for word in ("-X", "utf8", "-IS", *wanted, "x")]


def test_a_file_that_is_open_alone(static: Path) -> None:
    """Started by a descriptor that closes meanwhile, or by a bare name, it finds itself."""
    script = "import os, sys; fd = os.open(sys.argv[1], os.O_PATH); os.execve(fd, ['x', 'y'], {})"
    done = subprocess.run(
        [sys.executable, "-c", script, str(static)], capture_output=True, text=True, check=False
    )
    assert words_of(done)[-1] == "<y>"
    assert done.stdout.startswith(f"{static.parent}/python\n")
    argv = [sys.executable, "-c", EXECVE, "brokerctl", "2", "x", "y"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=static.parent)
    assert words_of(done)[-2:] == ["<./brokerctl>", "<y>"]


# The file itself.

_LOAD, _DYNAMIC, _INTERPRETER, _STACK = 1, 2, 3, 0x6474E551
_EXECUTE, _WRITE = 1, 2


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_it_is_static_and_small(arch: str) -> None:
    """No loader, no library, nothing that can be written and run; a few thousand bytes."""
    for name in ("brokerctl", "git-credential-brokerctl"):
        data = launcher(arch, name)
        assert len(data) < 10_000
        offset, size, count = (
            *struct.unpack_from("<Q", data, 32),
            *struct.unpack_from("<HH", data, 54),
        )
        kinds = {struct.unpack_from("<II", data, offset + size * number) for number in range(count)}
        assert not {_DYNAMIC, _INTERPRETER} & {kind for kind, _ in kinds}
        assert not [flags for _, flags in kinds if flags & _EXECUTE and flags & _WRITE]
        assert [flags for kind, flags in kinds if kind == _STACK] == [6]
