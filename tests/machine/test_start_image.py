"""The start-up image: whatever becomes of it, the same answer; only later or sooner."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.house.source import read
from tests.machine.hand_outs import PLATFORMS, VALUE, enter_job, wait_for_refresh
from tests.machine.installation import BUILT, GET, OPENED, is_image, opened, opened_by_get
from tests.machine.room import WITHOUT_RIGHTS, answers, require_root
from tests.program import require_tool

if TYPE_CHECKING:
    from tests.machine.installation import Installation
    from tests.machine.room import Machine

pytestmark = pytest.mark.parametrize("way_in", ["script", "launcher"], indirect=True)

NOBODY = 65534


@pytest.mark.slow(reason=BUILT)
def test_a_hand_out_opens_two_files(machine: Machine, image: Installation) -> None:
    """The byte code of what reads the image, the image, and nothing else of ours."""
    assert opened_by_get(machine, image) == [image.bootstrap, image.image]


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_job_s_hand_out_opens_no_more(
    machine: Machine, image: Installation, platform: str
) -> None:
    """What tells which job this is lies in the image, in parts of their own: one for a platform."""
    env = enter_job(machine, platform)
    paths = opened([], [image.program, "get", "job"], env)
    ours = [path for path in paths if path.startswith(f"{image.package}/")]
    assert ours == [image.bootstrap, *[image.image] * 3]
    module = f"{image.package}/identity/__init__.py"
    edit(module, "if not seen:", "if seen:    ")
    done = machine("get", "job", env=env)
    assert (done.returncode, "no CI platform is to be seen" in done.stderr) == (2, True)
    edit(module, "if seen:    ", "if not seen:")
    for cut in (1, 30_000):  # what lies apart is damaged; the trailer has 24 bytes
        data = image.read()
        image.write(data[: -24 - cut] + bytes(cut) + data[-24:])
        answers(machine("get", "job", env=env), VALUE)
        image.write(data)


@pytest.mark.slow(reason=BUILT)
def test_who_waits_opens_no_more(machine: Machine, image: Installation) -> None:
    """One of many on an expired token has it from the process that it waits for."""
    traced = [require_tool("strace"), "-D", "-f", "-qq", "-e", "trace=open,openat"]
    said = wait_for_refresh(machine, [*traced, image.program, *GET])
    ours = [path for path in OPENED.findall(said) if path.startswith(f"{image.package}/")]
    assert ours == [image.bootstrap, image.image, image.image]


@pytest.mark.slow(reason=BUILT)
def test_who_writes_it(machine: Machine, installation: Installation) -> None:
    """What takes long anyway does, and a hand-out from the store never."""
    alone = installation.read()  # as pip compiled it
    answers(machine(*GET))
    assert machine("audit", "verify").returncode == 0
    assert installation.read() == alone
    for words in (("status",), (*GET, "--fresh")):
        installation.write(alone)
        assert machine(*words).returncode == 0
        data = installation.read()
        assert is_image(data)
        assert os.listdir(os.path.dirname(installation.image)).count("start_image") == 0
        before = os.stat(installation.image).st_ino
        assert machine(*words).returncode == 0
        assert os.stat(installation.image).st_ino == before  # it was current


DRIVER = """
import posix, sys
script = sys.argv.pop(1)
def leave(code, listing=sys.argv.pop(1), end=posix._exit):  # the script has its own names
    with open(listing, "w") as file:
        print(*sys.modules, file=file)
    end(code)
posix._exit = leave
with open(script) as file:
    exec(file.read())
"""


@pytest.mark.slow(reason=BUILT)
def test_it_loads_what_is_loaded_without_it(machine: Machine, image: Installation) -> None:
    """The golden list of the house, but for what its code was stripped of; and no finder's work."""
    path = f"{machine.home}/modules"
    # As the script runs, `sys.argv` begins with the script's name, which nothing looks at.
    script, *called = image.words
    run = [image.python, "-X", "utf8", "-IS", "-c", DRIVER, script, path, *called, *GET]
    subprocess.run(run, env=machine.program.environment(), check=True, capture_output=True)
    with open(path, encoding="utf-8") as file:
        found = set(file.read().split())
    bare = [image.python, "-IS", "-c", "import sys; print(*sys.modules)"]
    known = subprocess.run(bare, check=True, capture_output=True, text=True).stdout.split()
    golden = set(read("tests/house/golden/warm.txt").split()) - {"__future__"}
    assert found - set(known) == golden | {"brokerctl.platform.start_image", "gc"}


WAYS: tuple[tuple[str, ...], ...] = (
    GET,
    (*GET, "--json"),
    (*GET, "--format", "header"),
    (*GET, "--scope", "admin"),
    ("get", "nobody"),
    ("get", "--wrong"),
    ("exec", "-p", "person", "--", "/bin/sh", "-c", "echo $PERSON_TOKEN $#", "a"),
    ("helper", "kubernetes", "--profile", "person"),
    ("helper", "git", "get"),
    ("helper", "nobody"),
    ("helper",),
    ("exec",),
    ("profile", "list"),
)


def outcomes(machine: Machine) -> list[tuple[int, str, str]]:
    """Return what every way says; an age in seconds is left out."""
    found = []
    for words in WAYS:
        done = machine(*words, stdin="protocol=https\nhost=api.example\n\n")
        stdout = done.stdout.partition('"expires_in"')[0]
        found.append((done.returncode, stdout, done.stderr))
    return found


@pytest.mark.slow(reason=BUILT)
def test_with_it_and_without_the_same_bytes(machine: Machine, image: Installation) -> None:
    """Hand-outs, refusals and mistakes: exit code, stdout and stderr."""
    data = image.read()
    with_it = outcomes(machine)
    assert image.read() == data
    image.remove()
    without = outcomes(machine)
    assert not os.path.lexists(image.image)
    assert with_it == without
    assert {code for code, _, _ in without} >= {0, 2, 4}


def edit(path: str, old: str, new: str, *, later_s: float = 10) -> None:
    """Change a source by as many characters, or the same number at another time."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    before = os.stat(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))
    os.utime(path, (before.st_atime, before.st_mtime + later_s))


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize(("new", "later_s"), [("Authorisation: {", 10), ("Authorization:   {", 0)])
def test_a_source_that_was_edited(
    machine: Machine, image: Installation, new: str, later_s: float
) -> None:
    """It is what runs, from its first hand-out on, whether its size or its time tells it."""
    words = (*GET, "--format", "header")
    before = machine(*words).stdout
    edit(f"{image.package}/get.py", "Authorization: {", new, later_s=later_s)
    wanted = before.replace("Authorization: ", new.removesuffix("{"))
    assert machine(*words).stdout == wanted != before
    assert machine("status").returncode == 0
    assert opened_by_get(machine, image) == [image.bootstrap, image.image]
    assert machine(*words).stdout == wanted


@pytest.mark.slow(reason=BUILT)
def test_a_tool_s_source_that_was_edited(machine: Machine, image: Installation) -> None:
    """The same for what lies apart, which a `get` has no use for."""
    info = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1"}
    machine.program.env["KUBERNETES_EXEC_INFO"] = json.dumps(
        info | {"spec": {"interactive": False}}
    )
    words = ("helper", "kubernetes", "--profile", "person")
    assert '"token"' in machine(*words).stdout
    path = f"{image.package}/helpers/kubernetes/__init__.py"
    edit(path, '= "ExecCredential"', '= "execCredential"')  # so that the question is no longer one
    assert '"token"' not in machine(*words).stdout
    edit(path, '= "execCredential"', '= "ExecCredential"')
    assert '"token"' in machine(*words).stdout


@pytest.mark.slow(reason=BUILT)
def test_a_folder_that_was_moved(machine: Machine, image: Installation) -> None:
    """Paths are those of the start, not those of the moment when it was written."""
    token = answers(machine(*GET))
    moved = f"{image.prefix}-moved"
    os.rename(image.prefix, moved)
    made = type(image)(moved)
    machine.program.path = made.program
    assert answers(machine(*GET)) == token
    assert opened_by_get(machine, made) == [made.bootstrap, made.image]


@pytest.mark.slow(reason=BUILT)
def test_root_s_umask_and_another_s_hand_out(machine: Machine, installation: Installation) -> None:
    """Its mode is its source's, so that all who may use the program may use it."""
    require_root()
    os.chmod(installation.source, 0o644)
    assert machine("status", umask=0o077).returncode == 0
    found = os.stat(installation.image)
    assert stat.S_IMODE(found.st_mode) == 0o644
    wrapper = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    wrapper += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    home = f"{machine.home}/nobody"
    os.mkdir(home, 0o700)
    os.chown(home, NOBODY, NOBODY)
    env = {"HOME": home, "PATH": "/usr/bin:/bin", "BROKERCTL_KEEPER": "file"}
    argv = [installation.program, "exec", "--help"]
    assert installation.image in opened(wrapper, argv, env)
    assert installation.image in opened(wrapper, [installation.program, "status"], env)
    after = os.stat(installation.image)
    assert (after.st_ino, after.st_uid) == (found.st_ino, 0)


@pytest.mark.slow(reason=BUILT)
def test_a_source_that_a_group_may_write(machine: Machine, installation: Installation) -> None:
    """The image's group is its writer's, which may be another one: nobody but its owner writes."""
    os.chmod(installation.source, 0o664)  # as with a umask of 002
    for _ in range(2):
        assert machine("status", umask=0o002).returncode == 0
        assert stat.S_IMODE(os.stat(installation.image).st_mode) == 0o644
        assert opened_by_get(machine, installation) == [installation.bootstrap, installation.image]
    os.chmod(installation.image, 0o664)  # to be passed over
    assert len(opened_by_get(machine, installation)) > 20


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("why", ["read-only", "switched off", "of another user"])
def test_where_none_may_be_written(machine: Machine, installation: Installation, why: str) -> None:
    """Not a word is lost about it, but for `doctor`."""
    env: dict[str, str | None] = {}
    place, wrapper = os.path.dirname(installation.image), WITHOUT_RIGHTS
    if why == "switched off":
        env["PYTHONDONTWRITEBYTECODE"] = "1"
    elif why == "read-only":
        os.chmod(place, 0o555)  # noqa: S103 - as an image of a container has it
    else:
        require_root()
        os.chown(installation.source, NOBODY, NOBODY)
        wrapper = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        os.chown(place, NOBODY, NOBODY)
    token = answers(machine.under(wrapper, *GET, "--fresh", env=env))
    status = machine.under(wrapper, "status", env=env)
    assert (status.returncode, status.stderr) == (0, "")
    assert not is_image(installation.read())
    assert answers(machine.under(wrapper, *GET, env=env)) == token
    done = machine.under(wrapper, "doctor", "--offline", env=env)
    assert "can't be written: every start is slower" in done.stdout, done


@pytest.mark.slow(reason=BUILT)
def test_a_link_to_the_sources(machine: Machine, installation: Installation) -> None:
    """Where the package is a link, nothing is written to where it leads, and `doctor` is silent."""
    elsewhere = f"{installation.prefix}/elsewhere"
    os.rename(installation.package, elsewhere)
    os.symlink(elsewhere, installation.package)
    assert machine("status").returncode == 0
    assert not is_image(installation.read())
    assert "start-up image" not in machine("doctor", "--offline").stdout


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("name", ["cli/start_image.py", "platform/image_writer.py"])
def test_a_program_that_is_taken_away_at_work(
    machine: Machine, installation: Installation, name: str
) -> None:
    """While a login waits for its person: what it came for is done, and nothing else counts."""
    os.unlink(f"{installation.package}/{name}")
    for words in (("status",), (*GET, "--fresh")):
        done = machine(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
    assert not is_image(installation.read())


@pytest.mark.slow(reason=BUILT)
def test_another_way_to_start(machine: Machine, image: Installation) -> None:
    """`python -m` has no use for an image, so it says nothing of one and leaves it alone."""
    before = os.stat(image.image).st_ino
    for words in (("status",), ("doctor", "--offline")):
        argv = [image.python, "-m", "brokerctl", *words]
        env = machine.program.environment()
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        assert "start-up image" not in done.stdout
    assert os.stat(image.image).st_ino == before


@pytest.mark.slow(reason=BUILT)
def test_what_doctor_says(machine: Machine, installation: Installation) -> None:
    """Missing or out of date with the command that makes it anew, and nothing to be done after."""
    late = "the start-up image is missing or out of date: every start is slower"
    assert late in machine("doctor", "--offline").stdout
    assert machine("status").returncode == 0
    assert "the start-up image is current" in machine("doctor", "--offline").stdout
    for name in ("model.py", "helpers/git/__init__.py"):  # what all need, and what one tool does
        os.utime(f"{installation.package}/{name}", (0, 0))
        assert late in machine("doctor", "--offline").stdout, name
        assert machine("status").returncode == 0
        assert "the start-up image is current" in machine("doctor", "--offline").stdout, name


@pytest.mark.slow(reason=BUILT)
def test_an_uninstallation_leaves_nothing(machine: Machine, image: Installation) -> None:
    """Pip removes the byte code of each source that it brought, and the image is such."""
    pip = [sys.executable, "-m", "pip", "--isolated", "--python", image.python]
    subprocess.run([*pip, "uninstall", "-q", "-y", "brokerctl"], check=True, cwd=machine.home)
    assert not os.path.exists(image.package)
    assert not [name for name in os.listdir(f"{image.prefix}/bin") if "brokerctl" in name]
    assert not os.path.exists(f"{image.prefix}/libexec/brokerctl")


@pytest.mark.slow(reason=BUILT)
def test_to_python_it_is_byte_code(image: Installation) -> None:
    """`compileall` leaves it alone, and the module that it is named after can be imported."""
    data = image.read()
    run = [image.python, "-I"]
    subprocess.run([*run, "-m", "compileall", "-q", image.package], check=True)
    assert image.read() == data
    script = "import brokerctl.platform.start_image as it; print(it.boot.__name__)"
    done = subprocess.run([*run, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "boot\n"


BYTES = "caf\udce9 \udcff"  # Latin-1, as the system gives it to us


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize(
    "locale", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "de_DE.ISO-8859-1"}]
)
@pytest.mark.parametrize("way", ["with it", "without"])
def test_words_of_another_coding(
    machine: Machine, image: Installation, locale: dict[str, str], way: str
) -> None:
    """What is no UTF-8 reaches a child as the bytes that were given, in words and environment."""
    if way == "without":
        image.remove()
    env = {**machine.program.environment(), "LANG": "C", **locale, "X": BYTES}
    shell = 'printf "%s|%s" "$1" "$X"'
    argv = [machine.program.path, "exec", "-p", "person", "--", "/bin/sh", "-c", shell, "a", BYTES]
    done = subprocess.run(argv, env=env, capture_output=True, cwd=machine.home, check=False)
    wanted = os.fsencode(BYTES)
    assert (done.returncode, done.stdout) == (0, wanted + b"|" + wanted), done.stderr
