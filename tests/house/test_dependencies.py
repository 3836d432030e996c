"""Each package that we ask for has its reason on paper, and nothing else is imported."""

from __future__ import annotations

import re
import sys
import tomllib

from tests.house.source import imported, read, sources

NAME = re.compile(r"^[A-Za-z0-9._-]+")
MODULES = {
    "PyNaCl": "nacl",
    "Authlib": "authlib",
    "cffi": "_cffi_backend",
    "grpcio": "grpc",
    "protobuf": "google",
}
WITH_KEYRING = {"jeepney", "secretstorage"}  # the half of it that speaks with Secret Service


def asked() -> set[str]:
    """Return the packages that pyproject.toml asks for."""
    return {
        NAME.findall(line)[0]
        for line in tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    }


def asked_by_extras() -> set[str]:
    """Return the packages that an extra asks for."""
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    return {NAME.findall(line)[0] for lines in extras.values() for line in lines}


def also() -> set[str]:
    """Return the packages that the *.in files ask for."""
    files = ("run", "dev", "release", "vectors")
    lines = "\n".join(read(f"requirements/{name}.in") for name in files).splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def rows() -> list[list[str]]:
    """Return the cells of every row of the paper's tables."""
    lines = [line for line in read("docs/dependencies.md").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_each_dependency_has_its_reason() -> None:
    """What it is for, what was considered instead, and what it brings; of exactly those we have."""
    first = [row for row in rows() if len(row) == 5 and row[0] != "package"]
    assert {row[0] for row in first} == asked() | asked_by_extras()
    assert [row for row in first if not all(row)] == []


def test_each_tool_is_told_of() -> None:
    """The tests' and the release's tools are on the same page."""
    paper = read("docs/dependencies.md")
    assert {name for name in also() if not re.search(rf"\b{re.escape(name)}\b", paper)} == set()


def test_nothing_is_imported_that_nobody_asked_for() -> None:
    """A package that came with another can go with it; and what is asked for is used."""
    found = {
        name.partition(".")[0]
        for source in sources("src")
        for name in imported(source)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "brokerctl"}
    }
    modules = {MODULES.get(name, name) for name in asked() | asked_by_extras()}
    assert found - WITH_KEYRING - {"_typeshed"} == modules


def test_the_number_of_packages_is_right() -> None:
    """What an installation on Linux has, counted in the pins, without what builds it."""
    pins = re.findall(
        r"^([a-z0-9-]+)==[^ ]+( ; .*?)? \\$", read("requirements/run.txt"), re.MULTILINE
    )
    builds = {"hatchling", "editables", "packaging", "pathspec", "pluggy", "trove-classifiers"}
    elsewhere = ("win32", "emscripten' and", "platform == 'emscripten")
    here = {name for name, marker in pins if not any(word in marker for word in elsewhere)} - builds
    assert f"has {len(here)} packages, {len(asked())} of them" in read("docs/dependencies.md")
