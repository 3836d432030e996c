"""The real twine with a token of trusted publishing, and what becomes of the token."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulations.jobs import Job
from tests.emulations.package_index import PackageIndexes
from tests.program import require_tool
from tests.tools.clients import require_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulations.platforms import Platforms
    from tests.program import Program, Result

METADATA = "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
SHOW = "import os; print(os.environ['{}'])"
VARIABLES = {"cargo": "CARGO_REGISTRY_TOKEN", "rubygems": "GEM_HOST_API_KEY"}


@pytest.fixture
def indexes(platforms: Platforms) -> Iterator[PackageIndexes]:
    """Return the indexes with a project `shop` whose publisher is the usual job of GitHub's."""
    with PackageIndexes([platforms.authority["github"]]) as running:
        yield running


def write_wheel(folder: str) -> str:
    """Write a wheel of the project, and return its path."""
    path = os.path.join(folder, "shop-1.0-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in (("METADATA", METADATA), ("WHEEL", WHEEL), ("RECORD", "")):
            wheel.writestr(f"shop-1.0.dist-info/{name}", text)
    return path


def run(
    program: Program,
    platforms: Platforms,
    indexes: PackageIndexes,
    kind: str,
    *words: str,
    job: Job | None = None,
    package: str = "",
) -> Result:
    """Run a command of a release in a job."""
    table = f"kind = '{kind}', index = '{indexes.url}'"
    table += f", package = '{package}'" if package else ""
    program.config(f"[profile.release]\nflow = 'publish'\npublish = {{ {table} }}\n")
    environ = platforms.environ("github", job or Job(), program.home)
    return program("exec", "--no-mask", "-p", "release", "--", *words, env=environ)


def records(program: Program, event: str) -> list[dict[str, Any]]:
    """Return the records of one event."""
    lines = program("audit", "log", "--json").stdout.splitlines()
    return [one for one in map(json.loads, lines) if one.get("event") == event]


def test_twine_uploads(brokerctl: Program, platforms: Platforms, indexes: PackageIndexes) -> None:
    """One line, no secret at the platform; PyPI can't end the token, and the record says that."""
    words = ("upload", "--non-interactive", "--disable-progress-bar", "--repository-url")
    path = write_wheel(brokerctl.home)
    done = run(
        *(brokerctl, platforms, indexes, "python"),
        *(require_client("twine"), *words, f"{indexes.url}/legacy/", path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert indexes.uploads == ["shop 1.0"]
    paths = [(one.method, one.path) for one in indexes.seen]
    assert paths[:2] == [("GET", "/_/oidc/audience"), ("POST", "/_/oidc/mint-token")]
    (ended,) = records(brokerctl, "token.revoked")
    assert ended["outcome"] == "local_only"
    assert ended["expires_at"] is not None


@pytest.mark.parametrize("kind", VARIABLES)
def test_other_indexes(
    brokerctl: Program, platforms: Platforms, indexes: PackageIndexes, kind: str
) -> None:
    """Each session has a token of its own; crates.io's is dead at the end."""
    words = (sys.executable, "-c", SHOW.format(VARIABLES[kind]))
    for _ in range(2):
        done = run(brokerctl, platforms, indexes, kind, *words)
        assert done.returncode == 0, done.stderr
        assert indexes.is_alive(done.stdout.strip(), kind) is (kind == "rubygems")
    outcomes = {one["outcome"] for one in records(brokerctl, "token.revoked")}
    assert outcomes == ({"local_only"} if kind == "rubygems" else {"revoked"})
    assert platforms.count() == 2


NPM = (
    "unset ACTIONS_ID_TOKEN_REQUEST_URL; cd package &&"
    " npm publish --access public --registry {}/ --loglevel error"
)


@pytest.mark.parametrize("name", ["shop", "@octo/shop"])
def test_npm_publishes(brokerctl: Program, platforms: Platforms, name: str) -> None:
    """The real npm, by a file that names the variable; without the platform's, it asks nobody."""
    require_tool("npm")
    with PackageIndexes([platforms.authority["github"]], project=name) as indexes:
        folder = os.path.join(brokerctl.home, "package")
        os.mkdir(folder)
        with open(f"{folder}/package.json", "w", encoding="utf-8") as file:
            json.dump({"name": name, "version": "1.0.0"}, file)
        with open(f"{folder}/.npmrc", "w", encoding="utf-8") as file:
            file.write(f"//{indexes.netloc}/:_authToken=${{NODE_AUTH_TOKEN}}\n")
        words = ("sh", "-c", NPM.format(indexes.url))
        done = run(brokerctl, platforms, indexes, "npm", *words, package=name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert indexes.uploads == [f"{name} 1.0.0"]
        assert len(indexes.given) == 1
        first = indexes.seen[0]
        assert first.path.endswith(f"/package/{name.replace('/', '%2f')}")
        assert first.body == b""
    (ended,) = records(brokerctl, "token.revoked")
    assert ended["outcome"] == "local_only"


def test_another_package_is_published_by_nobody(
    brokerctl: Program, platforms: Platforms, indexes: PackageIndexes
) -> None:
    """The registry's 404 for whatever does not match: exit 5, and where to look."""
    words = (sys.executable, "-c", "print('started')")
    done = run(brokerctl, platforms, indexes, "npm", *words, package="other")
    assert (done.returncode, done.stdout) == (5, "")
    assert "run 'brokerctl doctor --ci'" in done.stderr
    assert not indexes.given


@pytest.mark.parametrize("kind", ["python", *VARIABLES])
def test_another_repository_publishes_nothing(
    brokerctl: Program, platforms: Platforms, indexes: PackageIndexes, kind: str
) -> None:
    """Exit code 5, where to look, and no child was started."""
    words = (sys.executable, "-c", "print('started')")
    done = run(brokerctl, platforms, indexes, kind, *words, job=Job(repo="other"))
    assert (done.returncode, done.stdout) == (5, "")
    assert "run 'brokerctl doctor --ci'" in done.stderr
    assert not indexes.given


def test_a_fork_publishes_nothing(
    brokerctl: Program, platforms: Platforms, indexes: PackageIndexes
) -> None:
    """Neither platform nor index is asked."""
    job = Job(fork="pull_request_target")
    done = run(brokerctl, platforms, indexes, "python", "true", job=job)
    assert (done.returncode, indexes.seen, platforms.seen) == (4, [], [])
