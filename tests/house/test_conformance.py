"""The page on the standards names tests that exist, and says of every demand where it stands."""

from __future__ import annotations

import ast
import re

from tests.house.source import read, sources
from tests.idp.hostile.table import modes

PAGE = "docs/conformance.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[a-z_/0-9]+\.py)::(test_\w+)(?:\[([^\]`]+)\])?`")
MODE_FILE = "tests/idp/hostile/test_modes.py"


def tables() -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the rows of both tables: what is held, and what is not covered."""
    held, _, missing = read(PAGE).partition("## Not covered")
    return ROW.findall(held), ROW.findall(missing)


def test_every_demand_has_its_row_once() -> None:
    """Ids are stable names: none stands twice, and no row is empty or lost to the pattern."""
    held, missing = tables()
    ids = [row[0] for row in held + missing]
    assert len(ids) == len(set(ids))
    assert len(ids) == len(re.findall(r"^\| `", read(PAGE), re.MULTILINE))
    assert len(held) > 50
    assert len(missing) > 10


def test_every_named_test_exists() -> None:
    """Each row of the first table names at least one test, by file, function and mode."""
    functions = {
        (source.path, node.name)
        for source in sources("tests")
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef)
    }
    known = {f"{mode.scene.name}: {mode.name}" for mode in modes()}
    for name, _, cell in tables()[0]:
        named = TEST.findall(cell)
        assert named, name
        assert cell.count("::") == len(named), name
        for path, function, mode in named:
            assert (path, function) in functions, (name, path, function)
            assert (mode in known) if path == MODE_FILE else not mode, (name, mode)


def test_the_page_is_found() -> None:
    """The documentation's first page leads to it."""
    assert "(conformance.md)" in read("docs/index.md")


def test_the_hostile_issuer_s_table_is_whole() -> None:
    """Every mode has a name of its own, and each endpoint of the issuer is taken over by some."""
    table = list(modes())
    assert len(table) >= 80
    assert len({(mode.scene.name, mode.name) for mode in table}) == len(table)
    endpoints = {mode.scene.endpoint for mode in table}
    assert endpoints == {"metadata", "auth", "token", "device", "revoke", "introspect"}
