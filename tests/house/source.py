"""What the house tests read: the committed Python files and their syntax trees."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Source(NamedTuple):
    """One Python file: its path below the root, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """Its dotted name: `brokerctl.keys` for src/brokerctl/keys/__init__.py."""
        inner = self.path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__")
        return inner.replace("/", ".")


@functools.cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Return every Python file below these folders, by path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    # A wheel's or an archive's tests have no git: there the folders are what they are.
    paths = listed.stdout.split("\0") if listed.returncode == 0 else _walk(folders)
    found = sorted(path for path in set(paths) if path.endswith(".py"))
    return tuple(_read(path) for path in found if os.path.exists(os.path.join(ROOT, path)))


def _walk(folders: tuple[str, ...]) -> list[str]:
    paths = []
    for folder in folders:
        for place, _, names in os.walk(os.path.join(ROOT, folder)):
            if "node_modules" not in place:
                paths += [os.path.relpath(os.path.join(place, name), ROOT) for name in names]
    return paths


def _read(path: str) -> Source:
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    return Source(path, text, ast.parse(text, path))


def read(path: str) -> str:
    """Return a file of the repository."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def imported(source: Source) -> set[str]:
    """Return every module that a file names in an import, wherever in the file that stands."""
    names: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported_at_start(source: Source) -> set[str]:
    """Return the modules that the file's top imports: not those for type checkers or later use."""
    names: set[str] = set()
    for node in source.tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def calls(source: Source, names: set[str]) -> list[int]:
    """Return the lines that call one of these builtins."""
    return [
        node.lineno
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]
