"""The list of what a warm hand-out runs, which decides what a start-up image makes late.

A list that is out of date costs time and changes no answer: so it may be so in a few names.
`BROKERCTL_GOLDEN=write pytest tests/machine/test_warm_names.py` writes it anew.
"""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from brokerctl.__main__ import DOORS
from brokerctl.cli.start_image import needed
from brokerctl.platform.image_sources import Sources, is_ours
from brokerctl.platform.warm_names import WARM
from tests.house.source import ROOT, read
from tests.machine.hand_outs import PLATFORMS, enter_job, wait_for_refresh
from tests.machine.installation import BUILT, GET
from tests.machine.room import answers

if TYPE_CHECKING:
    from collections.abc import Callable

    Runner = Callable[[list[str]], object]

    from tests.machine.installation import Installation
    from tests.machine.room import Machine

PATH = os.path.join(ROOT, "src", "brokerctl", "platform", "warm_names.py")
FEW = 12  # each costs a warm `get` three of ten thousand instructions
HEAD = '''"""What a warm `get` asks for: classes and functions of its modules, by qualified name.

Of modules that it does not need, what those ask for who wait for another process or are in a job.
What is not listed is made late (`image_split`). Written by `tests/machine/test_warm_names.py`.
"""

from __future__ import annotations

WARM: dict[str, tuple[str, ...]] = {
'''
# An image that makes late all but what is listed.
WRITE = """
import sys
sys.path.append({packages!r})
from brokerctl.__main__ import DOORS
from brokerctl.cli.start_image import needed
from brokerctl.platform import image_writer
image_writer.put({image!r}, lambda: image_writer.build({packages!r}, *needed(DOORS), {names!r}))
"""
# Which of it was made at the end: in a module, or in a class where something stood for it.
DRIVER = """
import posix, sys
script = sys.argv.pop(1)
def made(image):
    apart = filter(None, map(image._read_step, image._places))
    for step in (*image._steps, *apart):
        for module, record in step[3].items():
            if module not in sys.modules:
                continue
            names = vars(sys.modules[module])
            for name in image._late(record):
                owner, _, last = name.rpartition(".")
                holder = vars(names[owner]) if owner in names else names
                if last in holder and not isinstance(holder[last], image._LateMethod):
                    yield f"{module} {name}"
def leave(code, listing=sys.argv.pop(1), end=posix._exit):
    with open(listing, "w") as file:
        print(*made(sys.modules["brokerctl.platform.start_image"]), sep=chr(10), file=file)
    end(code)
posix._exit = leave
with open(script) as file:
    exec(file.read())
"""


RULE = """
[policy]
default = "deny"
[[policy.rule]]
name = "r"
effect = "allow"
when = { profile = "person", tool = ["get"] }
"""
Pairs = set[tuple[str, str]]  # modules and qualified names


def made_late(machine: Machine, image: Installation) -> Pairs:
    """Return what a warm `get` has made late."""
    answers(machine(*GET))
    env = machine.program.environment()
    return run_by(machine, image, functools.partial(run, env=env), *GET)


def run(argv: list[str], env: dict[str, str]) -> None:
    """Run a program, which has to succeed."""
    subprocess.run(argv, env=env, check=True, capture_output=True)


def run_by(machine: Machine, image: Installation, how: Runner, *words: str) -> Pairs:
    """Return what was made late in the program that this function has run."""
    path = f"{machine.home}/made"
    how([image.python, "-X", "utf8", "-IS", "-c", DRIVER, image.program, path, *words])
    with open(path, encoding="utf-8") as file:
        pairs = [line.split() for line in file if line.strip()]
    return {(module, name) for module, name in pairs}


def made_late_by_others(machine: Machine, image: Installation) -> Pairs:
    """Return what those that wait and those in a job have made late."""
    found = run_by(machine, image, lambda argv: wait_for_refresh(machine, argv), *GET)
    for platform in PLATFORMS:
        env = enter_job(machine, platform)
        found |= run_by(machine, image, functools.partial(run, env=env), "get", "job")
    machine.configure()
    held = (
        "exec",
        "--keep",
        "-p",
        GET[1],
        "--socket",
        "--",
        "sh",
        "-c",
        "echo $BROKERCTL_SOCKET; cat",
    )
    with machine.program.start(*held) as session:
        assert session.stdout is not None
        env = machine.program.environment({"BROKERCTL_SOCKET": session.stdout.readline().strip()})
        found |= run_by(machine, image, functools.partial(run, env=env), *GET)
        session.communicate()
    return found


def move_to_usual_places(machine: Machine) -> None:
    """Have configuration and state where they are if no variable says another place."""
    for variable, now, usual in (
        ("CONFIG", "config.toml", ".config/brokerctl/config.toml"),
        ("HOME", "state", ".local/state/brokerctl"),
    ):
        os.makedirs(os.path.dirname(f"{machine.home}/{usual}"), 0o700)
        os.rename(f"{machine.home}/{now}", f"{machine.home}/{usual}")
        machine.program.env[f"BROKERCTL_{variable}"] = None


def modules_apart() -> set[str]:
    """Return the modules that those need who wait or are in a job, and a warm `get` does not."""
    warm, groups = needed(DOORS)
    sources = Sources(os.path.join(ROOT, "src"))
    known = sources.closure(["brokerctl.__main__", *warm])
    roots = [name for key, found in groups.items() if is_ours(key) for name in found]
    return {name for name in sources.closure(roots, known) if is_ours(name)}


def render(names: dict[str, list[str]]) -> str:
    """Return the module that has the list, in the form that the formatter gives it."""
    lines = []
    for module, found in names.items():
        if len(found) > 1:
            lines += [f'    "{module}": (', *(f'        "{name}",' for name in found), "    ),"]
        else:
            only = "".join(f'"{name}",' for name in found)
            lines.append(f'    "{module}": ({only}),')
    return "\n".join([HEAD + lines[0], *lines[1:], "}\n"])


@pytest.mark.slow(reason=BUILT)
def test_the_list_is_current(machine: Machine, image: Installation) -> None:
    """It has what a warm `get` asks for and nothing else, but for a few names."""
    warm = [name for name in read("tests/house/golden/warm.txt").split() if is_ours(name)]
    apart = modules_apart()
    names: dict[str, list[str]] = {module: [] for module in sorted({*warm, *apart})}
    for place in ("named", "usual", "large"):
        if place == "usual":
            move_to_usual_places(machine)
        if place == "large":  # so that it is divided
            with open(f"{machine.home}/.config/brokerctl/config.toml", "a") as file:
                file.write(RULE + "# more\n" * 4096)
        for _ in ("classes and functions", "methods of those classes"):
            write = WRITE.format(packages=image.packages, image=image.image, names=names)
            subprocess.run([image.python, "-X", "utf8", "-IS", "-c", write], check=True)
            found = made_late(machine, image)
            if place == "named":
                others = made_late_by_others(machine, image)
                found |= {(module, name) for module, name in others if module in apart}
            for module, name in found:
                names[module] = sorted([*names[module], name])
    names = {module: found for module, found in names.items() if found or module in warm}
    if os.environ.get("BROKERCTL_GOLDEN") == "write":
        with open(PATH, "w", encoding="utf-8") as file:
            file.write(render(names))
        return
    listed = {(module, name) for module, found in WARM.items() for name in found}
    asked_for = {(module, name) for module, found in names.items() for name in found}
    wrong = sorted(listed ^ asked_for)
    assert len(wrong) <= FEW, wrong
