"""Which modules a start needs, in the order in which they can be run, and what is left of each.

Annotations, blocks for type checkers, docstrings and columns are left out: no hand-out needs them.
Lines stay, for BROKERCTL_DEBUG. What else is left out of a module's code is `image_split`'s.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from importlib.machinery import ExtensionFileLoader
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OURS = "brokerctl"
_NO_COLUMN = -1
_BUILT_IN = "built-in"  # the origin of what is a part of the interpreter
# The packages of compiled modules that we use; what else is imported is Python's, or not warm.
_FOREIGN = ("nacl",)


class ModuleSource(NamedTuple):
    """A module's source: its path below the folder of packages, and what is left of it."""

    path: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether modules can be in it."""
        return self.path.endswith("/__init__.py")


class Sources:
    """Reads modules, and those that they import at their top."""

    def __init__(self, packages: str) -> None:
        self._packages = packages
        self.stats: dict[str, tuple[int, int]] = {}  # size and time of each file that was used
        self.found: dict[str, ModuleSource] = {}
        self.compiled: dict[str, str] = {}  # the paths of compiled modules; "": in the interpreter

    def closure(self, roots: Iterable[str], known: Iterable[str] = ()) -> list[str]:
        """Return what these need beside what is known, in the order in which it can be run."""
        order: list[str] = []
        seen = set(known)
        for name in roots:
            self._add(name, order, seen)
        compiled = sorted((name for name in order if name in self.compiled), key=_depth)
        foreign = [name for name in order if not is_ours(name) and name not in compiled]
        return [*foreign, *compiled, *(name for name in order if is_ours(name))]

    def read(self, name: str) -> ModuleSource:
        """Read a module of ours; ImportError if there is none of that name."""
        path = self._find(name)
        if path is None:
            raise ImportError(name)
        return self._read(path)

    def _add(self, name: str, order: list[str], seen: set[str]) -> None:
        if name in seen:
            return
        seen.add(name)
        if self._find_module(name):
            for one in _imports(self.found[name].tree.body) if name in self.found else ():
                self._add(one, order, seen)
            order.append(name)
            if "." in name:  # it may import what is in it, and what is in it nothing of it
                self._add(name.rpartition(".")[0], order, seen)

    def _find_module(self, name: str) -> bool:
        """Read a module, if it is one that an image can hold."""
        if name not in self.found and name not in self.compiled:
            if not is_ours(name):
                self._add_foreign(name)
            elif self._find(name):
                self.found[name] = self.read(name)
        return name in self.found or name in self.compiled

    def _add_foreign(self, name: str) -> None:
        """Add another package's module, if it is compiled, or the package of one that is."""
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return
        if spec is None or spec.origin is None:
            return
        path = spec.origin.removeprefix(f"{self._packages}/")
        if spec.origin == _BUILT_IN:
            self.compiled[name] = ""
        elif isinstance(spec.loader, ExtensionFileLoader):
            self.compiled[name] = path
            self._note(path, os.stat(spec.origin))
        elif spec.submodule_search_locations and path != spec.origin and name in _FOREIGN:
            self.found[name] = self._read(path)

    def _find(self, name: str) -> str | None:
        """Return the path of a module of ours below the folder of packages, if it is one."""
        base = name.replace(".", "/")
        for path in (f"{base}.py", f"{base}/__init__.py"):
            if os.path.isfile(f"{self._packages}/{path}"):
                return path
        return None

    def _note(self, path: str, found: os.stat_result) -> None:
        self.stats[path] = (found.st_size, int(found.st_mtime))

    def _read(self, path: str) -> ModuleSource:
        with open(f"{self._packages}/{path}", "rb") as file:
            self._note(path, os.fstat(file.fileno()))
            return ModuleSource(path, _strip(ast.parse(file.read(), path)))


def is_ours(name: str) -> bool:
    """Return whether a module is one of our package."""
    return name.partition(".")[0] == OURS


def _depth(name: str) -> int:
    return name.count(".")


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what is imported when these statements are run and nothing fails."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if is_ours(node.module):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Try):
            yield from _imports([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.If):
            yield from _imports([*node.body, *node.orelse])


class _Strip(ast.NodeTransformer):
    """Takes out what a hand-out does without."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Leave out what type checkers alone read."""
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Leave out `from __future__`: the compiler is told so by a flag."""
        return None if node.module == "__future__" else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Keep the names alone: those in a class are a value's fields."""
        node.annotation = ast.Constant("")
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Leave out an argument's annotation."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave out the answer's annotation, and the docstring."""
        node.returns = None
        return self._visit_documented(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Leave out the docstring."""
        return self._visit_documented(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Leave out the docstring."""
        return self._visit_documented(node)

    def _visit_documented(self, node: ast.FunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
        return self.generic_visit(node)


def _strip(tree: ast.Module) -> ast.Module:
    """Take out what a hand-out does without, and the column of everything."""
    stripped: ast.Module = ast.fix_missing_locations(_Strip().visit(tree))
    for node in ast.walk(stripped):
        if hasattr(node, "end_col_offset"):
            vars(node).update(col_offset=_NO_COLUMN, end_col_offset=_NO_COLUMN)
    return stripped
