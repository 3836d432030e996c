"""Who may import what, beyond the layers that import-linter holds; and no check goes off unsaid."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TYPE_CHECKING

from tests.house.source import Source, calls, imported, imported_at_start, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYWHERE = ("src", "tests", "scripts", "benchmarks")
HTTP = "src/brokerctl/effects/http.py"
CLIENTS = {"httpx", "httpcore", "requests", "urllib3", "aiohttp"}
NETWORK = {"socket", "_socket", "ssl", "http", "urllib.request", "asyncio", "selectors", "anyio"}
RUNS_CODE = {"pickle", "marshal", "shelve", "dill", "yaml", "xmlrpc"}
CODE_CALLS = {"eval", "exec", "compile", "__import__"}
# A table's dotted string becomes a module here, and nowhere else.
TABLES = (
    "src/brokerctl/__main__.py",
    "src/brokerctl/helpers/__init__.py",
    "src/brokerctl/identity/__init__.py",
    "src/brokerctl/helpers/install.py",
    "src/brokerctl/keys/__init__.py",
    "src/brokerctl/store/__init__.py",
    "src/brokerctl/oauth/__init__.py",
)
# Code in Python's own format, which is read and made where Python's byte code lies, and so trusted.
IMAGE = {
    "src/brokerctl/platform/bootstrap.py": {"exec"},
    "src/brokerctl/platform/start_image.py": {"exec", "__import__"},
    "src/brokerctl/platform/image_split.py": {"compile"},
}
MARSHAL = (
    "src/brokerctl/platform/bootstrap.py",
    "src/brokerctl/platform/start_image.py",
    "src/brokerctl/platform/image_split.py",
    "src/brokerctl/platform/image_writer.py",
)
# `__future__` is a module, which this file would have each start load; it annotates in strings.
EAGER = {"src/brokerctl/platform/bootstrap.py"}
LIGHT = {
    "src/brokerctl/__main__.py",
    "src/brokerctl/home.py",
    "src/brokerctl/get.py",
    "src/brokerctl/helpers/serve.py",
    "src/brokerctl/helpers/session_question.py",
    "src/brokerctl/helpers/tool_streams.py",
    "src/brokerctl/helpers/askpass.py",
    "src/brokerctl/helpers/bazel/__init__.py",
    "src/brokerctl/helpers/git/__init__.py",
    "src/brokerctl/helpers/goauth/__init__.py",
    "src/brokerctl/helpers/kubernetes/__init__.py",
    "src/brokerctl/helpers/pnpm/__init__.py",
    "src/brokerctl/helpers/terraform/__init__.py",
    "src/brokerctl/helpers/vault/__init__.py",
    "src/brokerctl/broker/__init__.py",
    "src/brokerctl/store/file/__init__.py",
}
HEAVY = {"typer", "rich", "httpx2", "json", "re", "typing", "pathlib", "dataclasses", "subprocess"}
SILENCED = re.compile(
    r"# (noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*(  # pragma: no cover)? - \S.{5,}"
    r"|type: ignore\[[a-z-]+(, ?[a-z-]+)*\]  # \S.{3,})"
)


def importing(modules: set[str], *folders: str) -> set[tuple[str, str]]:
    """Return (path, module) for each import of one of the modules, or of something in it."""
    return {
        (source.path, name)
        for source in sources(*folders)
        for name in modules
        for found in imported(source)
        if found == name or found.startswith(f"{name}.")
    }


def comments(source: Source) -> Iterator[tuple[int, str]]:
    """Yield every comment with its line."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_http_is_spoken_in_one_place() -> None:
    """No module but effects/http.py imports httpx2 or anyio, and no other client is imported."""
    assert importing({"httpx2", "anyio"}, "src") == {(HTTP, "httpx2"), (HTTP, "anyio")}
    assert not importing(CLIENTS, "src")


def test_the_protocol_has_no_sockets() -> None:
    """The protocol's room is values in, values out: it neither sends nor waits nor opens."""
    assert not importing({*NETWORK, "select", "time", "os", "subprocess"}, "src/brokerctl/oauth")
    for source in sources("src/brokerctl/oauth"):
        assert not calls(source, {"open"}), source.path


def test_the_store_has_no_http() -> None:
    """The store knows files and locks, not issuers."""
    assert not importing(NETWORK, "src/brokerctl/store")


def test_what_is_done_under_a_lock_counts_work() -> None:
    """Deadlines under a grant's lock, and of who waits for it, are of the work clock alone.

    A time of the monotonic clock beside one of the work clock is later by all that this process
    ever waited for a processor.
    """
    rooms = ("src/brokerctl/broker", "src/brokerctl/store", HTTP, "src/brokerctl/doctor")
    found = {one.path for one in sources(*rooms) if "time.monotonic" in one.text}
    assert found == set()


def test_nothing_is_read_that_can_run_code() -> None:
    """No format that constructs objects, no text that becomes code, no shell."""
    assert importing(RUNS_CODE, "src") == {(path, "marshal") for path in MARSHAL}
    for source in sources("src"):
        allowed = {"__import__"} if source.path in TABLES else IMAGE.get(source.path, set())
        assert not calls(source, CODE_CALLS - allowed), source.path
        shells = [node for node in ast.walk(source.tree) if isinstance(node, ast.keyword)]
        assert "shell" not in {node.arg for node in shells}, source.path


def test_the_front_door_is_light_at_the_top() -> None:
    """What the hot files import at their top is light; the golden lists prove the rest."""
    found = {source.path: imported_at_start(source) for source in sources("src")}
    assert found.keys() >= LIGHT
    assert not {(path, name) for path in LIGHT for name in found[path] & HEAVY}


def test_a_silenced_check_has_its_reason() -> None:
    """`noqa` and `type: ignore` name the rule and say why, in the same line."""
    without = [
        (source.path, line, text)
        for source in sources(*EVERYWHERE)
        for line, text in comments(source)
        if re.match(r"#\s*(noqa|type:)", text) and not SILENCED.match(text)
    ]
    assert not without


def test_every_file_says_what_it_is_for() -> None:
    """A module begins with a sentence about itself."""
    silent = [
        source.path
        for source in sources(*EVERYWHERE)
        if source.tree.body
        and not re.match(r"[A-Za-z`'].{10,}", ast.get_docstring(source.tree) or "")
    ]
    assert not silent


def test_annotations_cost_nothing() -> None:
    """Each file with a function postpones its annotations, so that typing is not imported."""
    eager = [
        source.path
        for source in sources(*EVERYWHERE)
        if any(isinstance(node, ast.FunctionDef) for node in ast.walk(source.tree))
        and "from __future__ import annotations" not in source.text
    ]
    assert set(eager) == EAGER


def test_every_test_says_the_promise_that_it_holds() -> None:
    """Each test function has a docstring of its own."""
    silent = [
        (source.path, node.name)
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent
