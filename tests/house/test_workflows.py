"""The forge's workflows: what is run there is named by its digest, and may do little."""

from __future__ import annotations

import glob
import os
import re

import pytest

from tests.house.source import ROOT, read

FILES = sorted(os.path.relpath(path, ROOT) for path in glob.glob(f"{ROOT}/.github/workflows/*.yml"))
USES = re.compile(r"^ *- uses: (.*)$", re.MULTILINE)
PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
JOB = re.compile(r"^  ([a-z]+):\n((?:    .*\n|\n)+)", re.MULTILINE)
RUN = re.compile(r"^ +- run: (?:\|\n((?: {10}.*\n)+)|(.*))", re.MULTILINE)


def test_there_are_three() -> None:
    """Every push is tested, nights are long, and a tag is a release."""
    assert [os.path.basename(path) for path in FILES] == ["nightly.yml", "release.yml", "test.yml"]


@pytest.mark.parametrize("path", FILES)
def test_a_workflow_says_that_it_never_ran(path: str) -> None:
    """What was only written is not claimed to work."""
    assert read(path).startswith("# Never run here:")


@pytest.mark.parametrize("path", FILES)
def test_an_action_is_named_by_its_commit(path: str) -> None:
    """A tag can be moved by whoever takes an action over; a digest can't."""
    found = USES.findall(read(path))
    assert found
    assert [one for one in found if not PINNED.fullmatch(one)] == []


def test_one_action_has_one_commit() -> None:
    """Nobody is behind in one file and ahead in another."""
    found = {line for path in FILES for line in USES.findall(read(path))}
    assert len({line.partition("@")[0] for line in found}) == len(found)


@pytest.mark.parametrize("path", FILES)
def test_a_job_may_do_little_and_not_for_long(path: str) -> None:
    """Nothing is allowed to all jobs, each says what it needs, and checkouts keep no token."""
    text = read(path)
    assert "\npermissions: {}\n" in text
    jobs = JOB.findall(text.partition("\njobs:\n")[2])
    assert len(jobs) == text.count("runs-on:")
    for name, body in jobs:
        assert "timeout-minutes:" in body, name
        assert "\n    permissions:\n" in f"\n{body}", name
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
    assert "pull_request_target" not in text
    assert "secrets." not in text


@pytest.mark.parametrize("path", FILES)
def test_no_script_is_made_of_somebody_s_text(path: str) -> None:
    """A branch's name is no shell command: scripts read variables, never `${{ … }}`."""
    scripts = ["".join(found) for found in RUN.findall(read(path))]
    assert scripts or "uses:" in read(path)
    assert [script for script in scripts if "${{" in script] == []


def test_only_one_job_may_publish() -> None:
    """The forge's identity is asked for in one place, and the package has no other way out."""
    texts = {path: read(path) for path in FILES}
    assert sum(text.count("id-token: write") for text in texts.values()) == 1
    assert [os.path.basename(path) for path, text in texts.items() if "id-token" in text] == [
        "release.yml"
    ]
    [publish] = [body for name, body in JOB.findall(read(FILES[1])) if name == "publish"]
    assert "id-token: write" in publish
    assert "environment:" in publish
    assert "actions/checkout" not in publish
