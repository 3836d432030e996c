"""What a start-up image makes late: the same classes and functions, found in the same ways."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.house.source import read
from tests.machine.installation import BUILT
from tests.machine.test_warm_names import modules_apart

if TYPE_CHECKING:
    from tests.machine.installation import Installation
    from tests.machine.room import Machine

# Modules, and each name in one that is a class or function: what a usual import gives of them.
DESCRIBE = """
import sys, types
FUNCTION = types.FunctionType
def function(made):
    code = made.__code__
    yield made.__module__, made.__name__, made.__qualname__, made.__kwdefaults__
    yield [sorted(one) if isinstance(one, frozenset) else one for one in made.__defaults__ or ()]
    yield code.co_name, code.co_qualname, code.co_firstlineno, code.co_flags, code.co_freevars
    yield code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    yield made.__globals__ is vars(sys.modules[made.__module__])
def describe(made):
    if isinstance(made, FUNCTION):
        yield from function(made)
        return
    yield made.__module__, made.__qualname__, [one.__qualname__ for one in made.__mro__]
    yield getattr(made, "_fields", ()), getattr(made, "_defaults", ())
    own = sorted(key for key in vars(made) if key not in ("__doc__", "__firstlineno__"))
    yield own
    for key in own:
        value = getattr(made, key)
        if isinstance(value, FUNCTION):
            yield from function(value)
        elif isinstance(made.__dict__[key], property):
            yield from function(made.__dict__[key].fget)
def walk(names):
    for module, name in names:
        made = getattr(sys.modules[module], name)
        home = sys.modules[made.__module__]
        print(module, name, *describe(made), made is getattr(home, name, made))
"""
WITH_IT = """
image = sys.modules["brokerctl.platform.start_image"]
image.preload(["helper", "git"])
for one in ("exec", *(one for one in image._places if "." in one)):
    image.preload([one], is_start=False)
"""
WITHOUT = """
import importlib
for module in MODULES:
    importlib.import_module(module)
names = sorted(
    (module, name) for module in MODULES for name, value in vars(sys.modules[module]).items()
    if isinstance(value, (FUNCTION, type)) and value.__module__.startswith("brokerctl")
)
print(names)
walk(names)
"""


def scrubbed(text: str) -> list[str]:
    """Return lines without the places of objects in memory."""
    return re.sub("0x[0-9a-f]+", "", text).splitlines()


@pytest.mark.slow(reason=BUILT)
def test_what_is_made_late_is_the_same(machine: Machine, image: Installation) -> None:
    """Each class and function of each module: its place, names, members, defaults and lines."""
    steps = ("warm", "exec", "helper-git")
    lists = [read(f"tests/house/golden/{name}.txt").split() for name in steps]
    ours = {one for found in lists for one in found if one.startswith("brokerctl")}
    modules = sorted(ours | modules_apart())
    with open(image.program, encoding="utf-8") as file:
        start = file.read().removesuffix("main()\n")
    env = machine.program.environment()
    run = [image.python, "-X", "utf8", "-IS", "-c"]

    def output(script: str) -> str:
        done = subprocess.run([*run, script], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    usual = f"import sys\nsys.path.append({image.packages!r})\nMODULES = {modules}\n"
    names, _, wanted = output(f"{usual}{DESCRIBE}{WITHOUT}").partition("\n")
    assert names.count("(") > 500
    assert scrubbed(output(f"{start}{DESCRIBE}{WITH_IT}walk({names})")) == scrubbed(wanted)


TRACE = """
image = sys.modules["brokerctl.platform.start_image"]
image.preload(["get"])
import traceback
for module, function in (("get", "parse_duration"), ("home", "Home.issuer")):
    made = sys.modules[f"brokerctl.{module}"]
    for part in function.split("."):
        made = getattr(made, part)
    try:
        getattr(made, "fget", made)(None)
    except (TypeError, AttributeError):
        print(traceback.format_exc().splitlines()[-3].strip())
        print(traceback.format_exc().splitlines()[-2].strip())
"""


@pytest.mark.slow(reason=BUILT)
def test_a_traceback_has_the_lines_of_what_was_made_late(image: Installation) -> None:
    """For BROKERCTL_DEBUG: file, line and text, as of what is run at each start."""
    with open(image.program, encoding="utf-8") as file:
        start = file.read().removesuffix("main()\n")
    run = [image.python, "-X", "utf8", "-IS", "-c", f"{start}{TRACE}"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    lines = iter(done.stdout.splitlines())
    for place, text in zip(lines, lines, strict=True):
        path, number, _ = re.findall(r'"(.*)", line (\d+), in (.*)', place)[0]
        assert text == read(f"src/{path}").splitlines()[int(number) - 1].strip()
    assert "in parse_duration" in done.stdout
    assert "in issuer" in done.stdout


@pytest.mark.slow(reason=BUILT)
def test_a_name_that_there_is_not(image: Installation) -> None:
    """A module says so as any other does, whatever is made late elsewhere."""
    with open(image.program, encoding="utf-8") as file:
        start = file.read().removesuffix("main()\n")
    script = """
image = sys.modules["brokerctl.platform.start_image"]
image.preload(["get"])
import brokerctl.freshness as it
from brokerctl import get
for name in ("parse_duration", "UsageError", "__path__", "len2"):
    try:
        getattr(it, name)
    except AttributeError as error:
        print(error)
print(it.__spec__.name, it.__loader__.path.endswith("freshness.py"), get.__spec__.origin[-6:])
print(sys.modules["brokerctl.platform"].__spec__.submodule_search_locations[0][-18:])
print(sys.modules["errno"].__spec__.origin, sys.modules["fcntl"].__spec__.name)
try:
    exec("nothing()", vars(it))
except NameError as error:
    print(error)
"""
    run = [image.python, "-X", "utf8", "-IS", "-c", f"{start}{script}"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    absent = "module 'brokerctl.freshness' has no attribute"
    assert done.stdout.splitlines() == [
        f"{absent} 'parse_duration'",
        f"{absent} 'UsageError'",
        f"{absent} '__path__'",
        f"{absent} 'len2'",
        "brokerctl.freshness True get.py",
        "brokerctl/platform",
        "built-in fcntl",
        "name 'nothing' is not defined",
    ]
