"""What a release holds, and where installing it puts things."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest

from tests import wheel
from tests.program import ROOT

# Prints the paths that two installed distributions claim (bytecode is made, not brought).
COLLISIONS = """
from collections import Counter
from importlib.metadata import distributions
paths = Counter(str(path.locate()) for one in distributions() for path in one.files or ())
print(*(path for path, claims in paths.items() if claims > 1 and not path.endswith(".pyc")))
"""
SHARED = {
    "man": "share/man/man1/",
    "completions/brokerctl.bash": "share/bash-completion/completions/brokerctl",
    "completions/_brokerctl": "share/zsh/site-functions/_brokerctl",
    "completions/brokerctl.fish": "share/fish/vendor_completions.d/brokerctl.fish",
}


@pytest.fixture(params=["pip", "uv"])
def installed(request: pytest.FixtureRequest) -> wheel.Installed:
    """Return a clean environment with the wheel, installed in either way."""
    return wheel.install_by_pip() if request.param == "pip" else wheel.install_by_uv()


def shared() -> dict[str, str]:
    """Map the man pages and completions of the repository to where an environment has them."""
    pages = {f"man/{name}": SHARED["man"] + name for name in os.listdir(os.path.join(ROOT, "man"))}
    return pages | {ours: theirs for ours, theirs in SHARED.items() if ours != "man"}


def packaged() -> set[str]:
    """Return every file of the package, as paths below src/."""
    src = os.path.join(ROOT, "src")
    found = (os.path.join(top, name) for top, _, names in os.walk(src) for name in names)
    return {os.path.relpath(path, src) for path in found if "__pycache__" not in path}


@pytest.mark.slow(reason="builds the sdist and the wheel, where the sources have changed")
def test_wheel_holds_the_program_and_its_papers() -> None:
    """Package with py.typed, launcher, pages, completions, licence; and nothing else at all."""
    with zipfile.ZipFile(wheel.build().wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        [info] = {name.split("/")[0] for name in names if ".dist-info/" in name}
        about = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    data = info.replace(".dist-info", ".data")
    parts = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    papers = {f"{info}/{name}" for name in parts}
    scripts = os.listdir(os.path.join(ROOT, "bin"))
    ours = {f"{data}/scripts/{name}" for name in scripts} | {
        f"{data}/data/{path}" for path in shared().values()
    }
    assert "brokerctl/py.typed" in names
    assert names == packaged() | ours | papers
    assert about["License-Expression"] == "Apache-2.0"
    assert "Short-lived, scoped access tokens" in str(about.get_payload())


@pytest.mark.slow(reason="builds the sdist and the wheel, where the sources have changed")
def test_sdist_holds_the_sources_and_what_tests_them() -> None:
    """Whoever has the sdist can build, read and test; nothing that was installed is in it."""
    with tarfile.open(wheel.build().sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "README.md", "Makefile", "pyproject.toml", "requirements/dev.txt"}
    wanted |= {
        "bin/brokerctl",
        "bin/git-credential-brokerctl",
        "scripts/setup.sh",
        "tests/conftest.py",
        "docs/configuration.md",
    }
    wanted |= {f"src/{path}" for path in packaged()} | set(shared())
    assert not wanted - names
    made = ("node_modules/", "__pycache__/", ".pyc", "build/", ".venv/")
    assert not {name for name in names if any(part in name for part in made)}


@pytest.mark.slow(reason="fills a new environment, where the sources have changed")
def test_installed_files_are_whole_and_collide_with_none(installed: wheel.Installed) -> None:
    """Pages and completions arrive where shells look, and no two packages bring the same file."""
    for ours, theirs in shared().items():
        with (
            open(os.path.join(ROOT, ours), "rb") as expected,
            open(os.path.join(installed.prefix, theirs), "rb") as found,
        ):
            assert found.read() == expected.read(), theirs
    python = os.path.join(installed.prefix, "bin", "python")
    done = subprocess.run(
        [python, "-Ic", COLLISIONS], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.slow(reason="fills a new environment, where the sources have changed")
def test_installed_program_runs_its_own_interpreter(installed: wheel.Installed) -> None:
    """It imports the package of its environment: neither the repository's nor the test's own."""
    script = "import brokerctl, sys; print(brokerctl.__file__, *sys.version_info[:2])"
    python = os.path.join(installed.prefix, "bin", "python")
    done = subprocess.run(
        [python, "-Ic", script], capture_output=True, text=True, timeout=60, check=True
    )
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    package = f"{installed.prefix}/lib/python{version}/site-packages/brokerctl/__init__.py"
    assert done.stdout.split() == [package, *version.split(".")]
    script = os.path.realpath(installed.program)
    assert script == os.path.join(os.path.realpath(installed.prefix), "bin", "brokerctl")
    env = {"PATH": f"{os.path.dirname(installed.program)}:/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(
        ["brokerctl", "--version"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("brokerctl ")
