"""The warm road is light: golden lists of what is loaded, for each way to an answer without HTTP.

A new line in a golden file needs a reason in review: imports are what a warm `get` costs. After a
change that is meant, `BROKERCTL_GOLDEN=write pytest tests/house/test_modules.py` writes them.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from tests.house.source import ROOT, read
from tests.idp import main_job
from tests.idp.issuer import DemoIssuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

PYTHON = os.path.join(ROOT, ".venv", "bin", "python")
FOLDERS = f"{ROOT}/src:{sysconfig.get_path('purelib')}"
DRIVER = os.path.join(ROOT, "tests", "house", "modules_driver.py")
# Of the standard library and others, what the design's budget allows on the warm road (section 9).
STDLIB = {"__future__", "errno", "fcntl", "select", "binascii", "gc", "_json", "_operator", "_stat"}
SODIUM = {"_cffi_backend", "_sodium", "_sodium.lib", "nacl", "nacl._sodium"}
SLOW_MS = 1500


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def cold(brokerctl: Program, demo: DemoIssuer) -> Program:
    """Return a program with a profile `service`, its key and plan made, without a token."""
    demo.reset()
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    main_job.service(brokerctl, demo)
    assert brokerctl("status").returncode == 0
    return brokerctl


@pytest.fixture
def service(cold: Program) -> Program:
    """Return the same with its token in the store."""
    assert cold("get", "service").returncode == 0
    return cold


def bare() -> set[str]:
    """Return what Python itself has loaded before the first line of ours."""
    script = "import sys; print(*sys.modules)"  # no `os`: it costs a tenth of a start
    done = subprocess.run([PYTHON, "-IS", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def loaded(program: Program, *words: str, code: int = 0, stdin: str = "") -> tuple[list[str], str]:
    """Run the front door; return the modules beyond Python's own, and stdout."""
    path = os.path.join(program.home, "modules")
    done = subprocess.run(
        [PYTHON, "-IS", DRIVER, path, FOLDERS, *words],
        env=program.environment(),
        cwd=program.home,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    with open(path, encoding="utf-8") as file:
        return sorted(set(file.read().split()) - bare() - {"__main__"}), done.stdout


def assert_golden(name: str, modules: list[str]) -> None:
    """Compare with the golden file, and with the design's budget."""
    path = f"tests/house/golden/{name}.txt"
    if os.environ.get("BROKERCTL_GOLDEN") == "write":
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
            file.write("\n".join(modules) + "\n")
    assert modules == read(path).split()
    others = {module for module in modules if not module.startswith("brokerctl")}
    assert others <= STDLIB | SODIUM


def test_a_warm_hit(service: Program, demo: DemoIssuer) -> None:
    """A token that is in the store costs nothing but our own light files and libsodium."""
    modules, answer = loaded(service, "get", "service", "--scope", "read", "--json")
    assert '"access_token"' in answer
    assert demo.counts()["grants"] == {"client_credentials": 1}
    assert_golden("warm", modules)


def test_a_waiter(cold: Program, demo: DemoIssuer) -> None:
    """Who waits for another process's request takes its answer without loading HTTP."""
    demo.mode(token=f"slow:{SLOW_MS}")
    with cold.start("get", "service") as first:
        until = time.monotonic() + 30
        while not demo.counts()["grants"] and time.monotonic() < until:
            time.sleep(0.01)
        modules, answer = loaded(cold, "get", "service")
        stdout, _ = first.communicate(timeout=30)
    assert answer == stdout
    assert demo.counts()["grants"] == {"client_credentials": 1}
    assert_golden("waiter", modules)


def test_a_dead_grant(brokerctl: Program, trace_dir: str) -> None:
    """A grant that the issuer ended is refused from memory, without loading HTTP."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as demo:
        main_job.person(brokerctl, demo)
        login = brokerctl("login", "person", env=main_job.scripted_browser(demo))
        assert login.returncode == 0, login.stderr
        port = int(demo.url.rpartition(":")[2])
    with DemoIssuer(folder, auto_approve=True, port=port) as demo:  # it has forgotten everything
        assert brokerctl("get", "person", "--fresh").returncode == 3
        asked = demo.counts()["grants"]
        modules, _ = loaded(brokerctl, "get", "person", "--fresh", code=3)
        assert demo.counts()["grants"] == asked
    assert_golden("dead", modules)


def test_an_issuer_that_is_down(cold: Program, demo: DemoIssuer) -> None:
    """A failure that is remembered is told again without loading HTTP."""
    demo.mode(token="503")
    assert cold("get", "service").returncode == 5
    asked = demo.counts()["grants"]
    modules, _ = loaded(cold, "get", "service", code=5)
    assert demo.counts()["grants"] == asked
    assert_golden("down", modules)


def test_a_refusal(cold: Program, demo: DemoIssuer) -> None:
    """A scope outside the profile is refused, and the refusal recorded, without loading HTTP."""
    modules, _ = loaded(cold, "get", "service", "--scope", "admin", code=4)
    assert demo.counts()["paths"] == {}
    assert_golden("denied", modules)


@pytest.mark.parametrize(
    ("tool", "request_text", "part"),
    [
        ("docker", "git.example.com", '"Secret":'),
        ("git", "protocol=https\nhost=git.example.com\n\n", "password="),
    ],
)
def test_a_helper(
    brokerctl: Program, demo: DemoIssuer, tool: str, request_text: str, part: str
) -> None:
    """A helper loads its protocol and the hosts beside what a warm `get` loads."""
    demo.reset()
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    main_job.service(brokerctl, demo, hosts='["https://git.example.com"]')
    assert brokerctl("get", "service").returncode == 0
    modules, answer = loaded(brokerctl, "helper", tool, "get", stdin=request_text)
    assert part in answer
    assert_golden(f"helper-{tool}", modules)


def test_exec_with_a_shared_token(service: Program) -> None:
    """`exec` of a shared token loads the session's files beside those of a warm `get`."""
    modules, answer = loaded(service, "exec", "--keep", "-p", "service", "--", "/bin/echo", "ran")
    assert answer == "ran\n"
    assert_golden("exec", modules)


@pytest.mark.parametrize(
    "words", ["status", "audit log", "profile list", "revoke service", "helper list"]
)
def test_a_command_with_nothing_to_send(cold: Program, words: str) -> None:
    """HTTP is loaded where something is sent, and pydantic where a word must be a number."""
    modules, _ = loaded(cold, *words.split())
    assert "typer" in modules
    assert {"pydantic", "httpx2", "asyncio"}.isdisjoint(modules)


def test_a_word_that_must_be_a_number(brokerctl: Program) -> None:
    """Typer still reads what is no text."""
    for words in (("audit", "log", "--limit", "x"), ("login", "p", "--port", "65536")):
        done = brokerctl(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"for '{words[-2]}'" in done.stderr
