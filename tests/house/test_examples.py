"""What reads the files in examples/, and the blocks of the pages beside them, can read them."""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, Layers
from tests.house.source import ROOT, read

if TYPE_CHECKING:
    from brokerctl.model import Profile

EXAMPLES = sorted(
    os.path.relpath(path, ROOT) for path in glob.glob(f"{ROOT}/examples/**/*.*", recursive=True)
)
PAGES = ("docs/ci.md", "docs/pods.md")
# PyYAML is in the environment of the real clients (scripts/setup.sh), and in no other of ours.
PYTHON = os.path.join(ROOT, "build", "test-tools", "bin", "python")
AS_JSON = """\
import json, sys, yaml
json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout, default=str)
"""


def profiles_of(text: str) -> dict[str, Profile]:
    """Return the profiles of a configuration; UsageError where it is wrong."""
    layer = Layer(label="user", path="/config.toml", content=text.encode())
    plan = compile_layers(Layers(files=(layer,), home="/home/ci"), {"HOME": "/home/ci"})
    return dict(plan.profiles)


def documents_of(text: str) -> list[Any]:
    """Return the documents of a text in YAML."""
    if not os.path.exists(PYTHON):
        if os.environ.get("CI"):
            pytest.fail("no PyYAML: `make setup` installs it")
        pytest.skip("no PyYAML: `make setup` installs it")
    done = subprocess.run(
        [PYTHON, "-c", AS_JSON], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, block) for each block of that language of the two pages."""
    form = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page, block) for page in PAGES for block in form.findall(read(page))]


def test_the_examples_are_there() -> None:
    """For each platform, and the pipeline of three APIs, whose profiles are of three issuers."""
    folders = {path.split("/")[1] for path in EXAMPLES}
    assert folders == {"agents", "github", "gitlab", "kubernetes", "limits.sh", "three-apis"}
    profiles = profiles_of(read("examples/three-apis/brokerctl.toml"))
    assert len({one.issuer for one in profiles.values()}) == 3


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.endswith("brokerctl.toml")])
def test_each_configuration_compiles(path: str) -> None:
    """And its tokens come from a job's identity, but for an agent's, which are a person's."""
    is_agents = path.startswith("examples/agents/")
    profiles = profiles_of(read(path))
    assert profiles
    assert all((one.job_source is None) is is_agents for one in profiles.values())


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.endswith((".yml", ".yaml"))])
def test_each_yaml_parses(path: str) -> None:
    """A configuration within it compiles; a job's profiles are those that lie beside it."""
    text = read(path)
    documents = documents_of(text)
    assert documents
    for one in documents:
        if one.get("kind") == "ConfigMap":
            assert profiles_of(one["data"]["config.toml"])
    beside = os.path.join(os.path.dirname(path), "brokerctl.toml")
    if beside in EXAMPLES:
        named = re.findall(r"-p (\S+)", text)
        assert set(named) == set(profiles_of(read(beside)))


def test_each_block_of_the_pages_can_be_read() -> None:
    """TOML compiles, YAML parses, and the profile is of six lines."""
    for page, block in blocks("toml"):
        assert profiles_of(block), page
        assert tomllib.loads(block)
    for page, block in blocks("yaml"):
        assert documents_of(block), page
    first = next(block for page, block in blocks("toml") if page == "docs/ci.md")
    assert len(first.splitlines()) == 6


def test_each_platform_has_its_section() -> None:
    """In docs/ci.md, by its title."""
    titles = set(re.findall(r"^### (.+)$", read("docs/ci.md"), re.MULTILINE))
    named = {"GitHub Actions", "GitLab CI", "Buildkite", "CircleCI", "Azure Pipelines", "Bitbucket"}
    assert titles == named | {"Kubernetes", "A SPIFFE file", "A SPIFFE agent", "Google Cloud"}


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.endswith(".sh")])
def test_each_script_is_one(path: str) -> None:
    """The shell can read it, and it may be run."""
    assert os.access(os.path.join(ROOT, path), os.X_OK)
    done = subprocess.run(["sh", "-n", os.path.join(ROOT, path)], check=False)
    assert done.returncode == 0
