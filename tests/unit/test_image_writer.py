"""What is written as the start-up image: all modules of a hand-out, in an order that can be run."""

from __future__ import annotations

import _imp
import ast
import functools
import importlib.util
import marshal
import os
import sys
from types import CodeType
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.__main__ import DOORS
from brokerctl.cli.start_image import needed
from brokerctl.helpers import HELPERS
from brokerctl.platform import image_writer
from brokerctl.platform.image_sources import ModuleSource, defer
from brokerctl.platform.import_finder import IMAGE
from tests.house.source import ROOT, read, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = {source.module: source for source in sources("src")}
PACKAGES = os.path.join(ROOT, "src")


@functools.cache
def parts() -> tuple[bytes, CodeType, dict[str, Any]]:
    """Return the bytes, the code that they begin with, and the steps by the words that need them.

    The front door's is "", that of each warm hand-out "get".
    """
    data = image_writer.build(PACKAGES, *needed(DOORS))
    code = marshal.loads(data[16:])  # noqa: S302 - our own
    first, later, places = code.co_consts[-1]
    steps, rest = {"": first, "get": later}, data[int.from_bytes(data[-16:-8]) :]
    for words, (begin, length, digest) in places.items():
        piece = rest[begin : begin + length]
        assert _imp.source_hash(image_writer.KEY, piece) == digest
        steps[words] = marshal.loads(piece)  # noqa: S302 - our own
    return data, code, steps


def steps_for(words: str) -> list[Any]:
    """Return the steps that a command line runs, in their order."""
    steps = parts()[2]
    found = [steps[""], steps["get"]]
    for one in (words.partition(" ")[0], words):
        if one in steps and steps[one] not in found:
            found.append(steps[one])
    return found


EACH = ["get", "exec", *(f"helper {tool}" for tool in HELPERS)]


def imports_at_start(module: str) -> Iterator[str]:
    """Yield the modules of ours that one imports at its top, for more than types."""
    for node in SOURCES[module].tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("brokerctl"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", ["warm", "exec", "helper-git", "helper-docker"])
def test_it_has_what_a_hand_out_loads(name: str) -> None:
    """All that the golden list of it names, and for a `get` nothing else."""
    words = "get" if name == "warm" else name.replace("-", " ")
    steps = steps_for(words)
    names = {module for _, _, order, _, _ in steps for module in order}
    golden = set(read(f"tests/house/golden/{name}.txt").split())
    ours = {module for module in golden if module.startswith("brokerctl")}
    assert ours <= names
    if words == "get":
        assert {module for module in names if module.startswith("brokerctl")} == ours
        assert names - ours <= golden


def test_each_step_says_what_it_is_made_of() -> None:
    """Every module is in the order once, and its file among those that are looked at."""
    for words, (files, compiled, order, modules, _) in parts()[2].items():
        assert sorted(order) == sorted(modules.keys() | compiled.keys())
        assert len(set(order)) == len(order)
        paths = {path for path, _, _ in files}
        assert {path for _, path, _, _ in modules.values()} | set(compiled.values()) <= paths
        assert len(paths) == len(order) + (not words)  # and the image's own source
        for path, size, seconds in files:
            found = os.stat(os.path.join(PACKAGES, path))
            assert (size, seconds) == (found.st_size, int(found.st_mtime))


@pytest.mark.parametrize("words", EACH)
def test_each_module_is_run_after_those_that_it_imports(words: str) -> None:
    """The order is one in which Python could have loaded them."""
    order = [name for step in steps_for(words) for name in step[2] if name in SOURCES]
    assert len(set(order)) == len(order)
    done: set[str] = set()
    for name in order:
        needed_first = {one for one in imports_at_start(name) if one in SOURCES and one != name}
        assert needed_first <= done, name
        done.add(name)


def test_no_package_gives_another_meaning_to_the_name_of_a_module_in_it() -> None:
    """A module is bound in its package before the package's own lines are run, and stays so."""
    for _, _, order, modules, _ in parts()[2].values():
        for name in order:
            package, _, last = name.rpartition(".")
            if package in modules and last in modules[package][0].co_names:
                assert name in set(imports_at_start(package)), name


def test_it_begins_as_byte_code_of_its_source() -> None:
    """Magic number, time and size as Python writes them, then the code of that module."""
    data, code, _ = parts()
    path = os.path.join(ROOT, "src/brokerctl/platform/start_image.py")
    found = os.stat(path)
    head = importlib.util.MAGIC_NUMBER + bytes(4)
    head += int(found.st_mtime).to_bytes(4, "little") + found.st_size.to_bytes(4, "little")
    assert data[:16] == head
    assert code.co_filename.endswith("start_image.py")


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that are in it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from nested(one)


def test_lines_stay_and_nothing_else() -> None:
    """Each function begins where it does in its source, without columns, docstring or types."""
    found: dict[str, list[CodeType]] = {}
    for _, _, _, modules, deferred in parts()[2].values():
        for name, (code, *_) in modules.items():
            found.setdefault(name, []).append(code)
        for module, code in deferred.values():
            found[module].append(code)
    found.pop("nacl", None)
    for name, made in found.items():
        whole = compile(SOURCES[name].tree, "", "exec")
        lines = {(one.co_qualname, one.co_firstlineno) for one in nested(whole)}
        for one in (inner for code in made for inner in nested(code)):
            assert (one.co_qualname, one.co_firstlineno) in lines
            assert {place[2] for place in list(one.co_positions())[1:]} <= {None, 0}
            assert "__future__" not in one.co_names
            assert "collections.abc" not in one.co_names  # which our sources have for types alone


STRIPPED = '''
"""A docstring."""
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    import nowhere
else:
    here = 1

class Value:
    """Another."""
    first: nowhere.X
    second: int = 2
    if TYPE_CHECKING:
        def third(self) -> nowhere.X: ...

def f(a: nowhere.X, *b: int, c: int = 3, **d: int) -> nowhere.X:
    """A third."""
    if TYPE_CHECKING:
        raise ValueError
    e: int = a
    return e + c

def g():
    """Nothing but that."""
'''


def test_what_is_left_means_the_same(tmp_path: Path) -> None:
    """Fields of classes keep their names and order; what types are of is gone."""
    (tmp_path / "brokerctl/platform").mkdir(parents=True)
    for name in ("__init__", "__main__", "platform/__init__", "platform/start_image"):
        (tmp_path / f"brokerctl/{name}.py").write_text("")
    (tmp_path / "brokerctl/__main__.py").write_text(STRIPPED)
    data = image_writer.build(str(tmp_path), [], {})
    code = marshal.loads(data[16:]).co_consts[-1][0][3]["brokerctl.__main__"][0]  # noqa: S302 - our own
    made: dict[str, Any] = {"__name__": "x"}
    exec(code, made)  # noqa: S102 - the test's own
    value, f = made["Value"], made["f"]
    assert (made["here"], f(1), f(1, c=1), made["g"]()) == (1, 4, 2, None)
    assert (list(value.__annotations__), value.second) == (["first", "second"], 2)
    assert (f.__annotations__, f.__doc__, value.__doc__, made.get("__doc__")) == (
        {},
        None,
        None,
        None,
    )


def test_classes_are_taken_out_where_their_name_says_enough() -> None:
    """Not a name that two modules have, that is bound twice, or that Python itself has."""
    texts = {
        "brokerctl.a": """
class One: pass
class Two(One): pass
class Both: pass
class OSError: pass
""",
        "brokerctl.b": """
from brokerctl.a import One, Two as Other, Both
class Both: pass
""",
        "brokerctl.c": """
class Three: pass
Three = Three()
class Four: pass
def f():
  global Four
""",
        "brokerctl.d": """
from json import One
from brokerctl.a import One
try:
  class Five: pass
finally: 0
""",
        "brokerctl.e": """
from brokerctl.elsewhere import One
""",
    }
    found = {name: ModuleSource(name, ast.parse(text)) for name, text in texts.items()}
    deferred = defer(found)
    assert {name: module for name, (module, _) in deferred.items()} == {
        "One": "brokerctl.a",
        "Two": "brokerctl.a",
    }
    left = {name: ast.unparse(source.tree) for name, source in found.items()}
    assert "One" not in left["brokerctl.a"]
    assert "import Two as Other, Both\n" in left["brokerctl.b"]
    assert "class Three" in left["brokerctl.c"]
    assert "class Four" in left["brokerctl.c"]
    assert left["brokerctl.d"].startswith("from json import One\ntry:")
    assert left["brokerctl.e"] == "from brokerctl.elsewhere import One"  # not that class


def test_nobody_s_image_is_of_sources_elsewhere() -> None:
    """An editable installation has none: bin/brokerctl looks below its interpreter alone."""
    assert image_writer.find_place() is None
    assert IMAGE not in sys.modules


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["helper"], ["helper"]), (["helper", "git", "get"], ["helper", "helper git"])],
)
def test_a_step_is_run_once(words: list[str], wanted: list[str]) -> None:
    """One by the first word, and one by the first two where there are two."""
    path = os.path.join(ROOT, "src/brokerctl/platform/start_image.py")
    spec = importlib.util.spec_from_file_location("an_image", path)
    assert spec
    assert spec.loader
    image = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(image)
    read_for: list[str] = []

    def read_step(found: str) -> tuple[Any, ...]:
        read_for.append(found)
        return (), {}, (), {}, {}

    vars(image).update(_later=[((), {}, (), {}, {})], _read_step=read_step)
    image.preload(words)
    assert read_for == wanted
