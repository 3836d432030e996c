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
from brokerctl.platform import image_writer
from brokerctl.platform.image_sources import ModuleSource, defer
from brokerctl.platform.import_finder import IMAGE
from tests.house.source import ROOT, read, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = {source.module: source for source in sources("src")}
PACKAGES = os.path.join(ROOT, "src")
GOLDEN = "tests/house/golden/{}.txt"


@functools.cache
def parts() -> tuple[bytes, CodeType, Any]:
    """Return the bytes, the code that they begin with, and the table of what they hold."""
    data = image_writer.build(PACKAGES, *needed(DOORS.values()))
    code = marshal.loads(data[16:])  # noqa: S302 - our own
    return data, code, code.co_consts[-1]


def imports_at_start(module: str) -> Iterator[str]:
    """Yield the modules of ours that one imports at its top, for more than types."""
    for node in SOURCES[module].tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("brokerctl"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_it_has_what_a_hand_out_loads() -> None:
    """All that the golden list of a warm `get` names."""
    _, _, (files, compiled, order, codes, _, _) = parts()
    names = {name for step in order for name in step}
    golden = set(read(GOLDEN.format("warm")).split())
    ours = {name for name in golden if name.startswith("brokerctl")}
    assert {name for name in names if name.startswith("brokerctl")} == ours
    assert names == codes.keys() | compiled.keys()
    assert compiled.keys() <= golden
    paths = [path for path, _, _ in files]
    assert len(set(paths)) == len(paths) == len(names) + 1  # and the image's own source


@pytest.mark.parametrize("name", ["exec", "helper-git", "helper-docker"])
def test_what_others_need_lies_apart(name: str) -> None:
    """It is not read before it is imported."""
    _, _, (_, compiled, _, codes, _, apart) = parts()
    found = {one for one in read(GOLDEN.format(name)).split() if one.startswith("brokerctl")}
    assert found <= codes.keys() | apart.keys()
    assert not apart.keys() & (codes.keys() | compiled.keys())


def test_each_module_is_run_after_those_that_it_imports() -> None:
    """The order is one in which Python could have loaded them."""
    _, _, (_, _, order, codes, _, _) = parts()
    done: set[str] = set()
    for name in [name for step in order for name in step if name.startswith("brokerctl")]:
        needed = {one for one in imports_at_start(name) if one in codes and one != name}
        assert needed <= done, name
        done.add(name)


def test_no_package_gives_another_meaning_to_the_name_of_a_module_in_it() -> None:
    """A module is bound in its package before the package's own lines are run, and stays so."""
    _, _, (_, _, _, codes, _, _) = parts()
    for name in codes:
        package, _, last = name.rpartition(".")
        if package in SOURCES and last in codes[package][0].co_names:
            assert name in set(imports_at_start(package)), name


def test_the_code_lies_where_the_table_says() -> None:
    """For what lies apart: its bytes, their hash, and a code object of that source."""
    data, _, (_, _, _, _, _, apart) = parts()
    rest = data[int.from_bytes(data[-16:-8]) :]
    for name, (size, seconds, begin, length, digest) in apart.items():
        path = os.path.join(ROOT, SOURCES[name].path)
        assert (size, seconds) == (os.path.getsize(path), int(os.path.getmtime(path)))
        assert _imp.source_hash(image_writer.KEY, rest[begin : begin + length]) == digest
        code = marshal.loads(rest[begin : begin + length])  # noqa: S302 - our own
        assert os.path.join("src", code.co_filename) == SOURCES[name].path


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
    _, _, (_, _, _, codes, deferred, _) = parts()
    found = {name: [code] for name, (code, *_) in codes.items() if name in SOURCES}
    for module, code in deferred.values():
        found[module].append(code)
    for name, made in found.items():
        whole = compile(SOURCES[name].tree, "", "exec")
        lines = {(one.co_qualname, one.co_firstlineno) for one in nested(whole)}
        for one in (inner for code in made for inner in nested(code)):
            assert (one.co_qualname, one.co_firstlineno) in lines
            assert {place[2] for place in list(one.co_positions())[1:]} <= {None, 0}
            assert "__future__" not in one.co_names
            assert "typing" not in one.co_names


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
    data = image_writer.build(str(tmp_path), [], [])
    code = marshal.loads(data[16:]).co_consts[-1][3]["brokerctl.__main__"][0]  # noqa: S302 - our own
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


def test_nobody_s_image_is_of_sources_elsewhere() -> None:
    """An editable installation has none: bin/brokerctl looks below its interpreter alone."""
    assert image_writer.find_place() is None
    assert IMAGE not in sys.modules
