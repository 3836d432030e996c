"""Our own way to our own modules: what it finds is what Python's finder would have found."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from importlib.machinery import PathFinder, SourceFileLoader
from typing import TYPE_CHECKING

import pytest

from brokerctl.platform import import_finder
from tests.house.source import ROOT, sources

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

MODULES = [source.module for source in sources("src/brokerctl") if "." in source.module]
WATCHED = """
import sys
from brokerctl import __main__ as door
door.leave = lambda code: print(*(
    name for name, found in sys.modules.items()
    if name.startswith("brokerctl.")
    and type(found.__loader__).__module__ != "brokerctl.platform.import_finder"
))
sys.argv = ["brokerctl", "get", "nobody"]
door.main()
"""


def load(folder: Path, name: str) -> ModuleType:
    """Import a module of this folder as if it were ours."""
    spec = import_finder.find_spec(f"brokerctl.{name}", [str(folder)])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MODULES)
def test_it_finds_what_python_finds(name: str) -> None:
    """The same file, byte code, folders and code, for each module that there is."""
    folder = os.path.join(ROOT, "src", *name.split(".")[:-1])
    ours, theirs = (finder.find_spec(name, [folder]) for finder in (import_finder, PathFinder))
    assert ours
    assert theirs
    for field in ("name", "origin", "cached", "has_location", "submodule_search_locations"):
        assert getattr(ours, field) == getattr(theirs, field)
    assert ours.parent == theirs.parent
    assert isinstance(ours.loader, SourceFileLoader)
    assert isinstance(theirs.loader, SourceFileLoader)
    assert ours.loader.get_code(name) == theirs.loader.get_code(name)
    assert ours.loader.get_source(name) == theirs.loader.get_source(name)


@pytest.mark.parametrize("name", ["brokerctl", "brokerctl.nobody", "brokerctlx.hot", "json", "hot"])
def test_all_else_is_left_to_python(name: str) -> None:
    """What is not a file of ours, and what is nobody's."""
    assert import_finder.find_spec(name, [os.path.join(ROOT, "src", "brokerctl")]) is None
    assert import_finder.find_spec("brokerctl.get", None) is None
    assert import_finder.find_spec("brokerctl.get", []) is None


def test_a_source_that_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte code of another size or time is not used, and is written anew where that is allowed."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    source = tmp_path / "thing.py"
    source.write_text("value = 1\n")
    assert load(tmp_path, "thing").value == 1
    (code,) = (tmp_path / "__pycache__").iterdir()
    before = code.read_bytes()
    assert load(tmp_path, "thing").value == 1
    source.write_text("value = 22\n")
    assert load(tmp_path, "thing").value == 22
    assert code.read_bytes() != before
    source.write_text("value = 33\n")
    os.utime(source, (0, time.time() - 1000))
    assert load(tmp_path, "thing").value == 33


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 16, None])
def test_byte_code_that_is_not_good(tmp_path: Path, data: bytes | None) -> None:
    """Damaged or missing, or of another Python: the source is what counts."""
    (tmp_path / "thing.py").write_text("value = 1\n")
    if data is not None:
        path = importlib.util.cache_from_source(str(tmp_path / "thing.py"))
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(data)
    assert load(tmp_path, "thing").value == 1


def test_a_long_source(tmp_path: Path) -> None:
    """It is read whole, whatever a single read gives."""
    (tmp_path / "thing.py").write_text("#" * 3_000_000 + "\nvalue = 1\n")
    assert load(tmp_path, "thing").value == 1


def test_a_package_and_a_file_that_is_gone(tmp_path: Path) -> None:
    """A folder with its first file is a package; one without is nothing of ours."""
    (tmp_path / "room").mkdir()
    assert import_finder.find_spec("brokerctl.room", [str(tmp_path)]) is None
    (tmp_path / "room" / "__init__.py").write_text("value = 1\n")
    module = load(tmp_path, "room")
    assert (module.value, module.__path__) == (1, [str(tmp_path / "room")])


def test_the_program_finds_its_modules_so() -> None:
    """All but the few that come before it, and Python's own finder stays behind it."""
    done = subprocess.run(
        [os.path.join(ROOT, ".venv", "bin", "python"), "-c", WATCHED],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    slow = {
        "brokerctl.__main__",
        "brokerctl.platform",
        "brokerctl.platform.import_finder",
        "brokerctl.platform.system",
    }
    assert set(done.stdout.splitlines()[-1].split()) == slow, done.stderr
