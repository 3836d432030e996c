"""A release is made by one command, and the same sources make the same bytes anywhere."""

from __future__ import annotations

import glob
import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import pytest

from brokerctl import __version__
from scripts.platform_wheels import ARCHITECTURES, START, TAG
from tests import wheel
from tests.launcher import foreign_form, launcher_form
from tests.program import BIN, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PINS = re.compile(r"^([a-z0-9.-]+)==([^ ;]+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
NOTES = "\n## [{}] - 2026-01-05\n\n- The first.\n"


class Place(NamedTuple):
    """Where and how a release is made: folder, umask, modes and dates of the sources, variables."""

    folder: str
    umask: int
    modes: tuple[int, int]  # of files that run, and of others
    mtime: int
    env: dict[str, str]


HERE = Place("a", 0o022, (0o755, 0o644), 1_600_000_000, {"TZ": "UTC", "LC_ALL": "C"})
THERE = Place(
    "another place/b",
    0o077,
    (0o700, 0o600),
    1_700_000_000,
    {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "1234567890", "HOME": "/"},
)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an sdist of the sources as they are, without what was installed or made."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [f"{BIN}/python", "-m", "build", "--no-isolation", "--sdist", "-o", str(folder), ROOT]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    [made] = glob.glob(f"{folder}/*.tar.gz")
    return made


@pytest.fixture(autouse=True)
def tidy(tmp_path: Path) -> Iterator[None]:
    """Leave no unpacked sources behind: our own tests hold what the canary test looks for."""
    yield
    shutil.rmtree(tmp_path)


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack with the filter for data, where Python has it: Debian 12's does not (3.11.4)."""
    archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
    archive.extractall(folder)  # noqa: S202 - what was made a moment ago


def release(sdist: str, tmp_path: Path, place: Place) -> dict[str, bytes]:
    """Unpack the sdist as that place has it, make a release of it, and return its files."""
    top = tmp_path / place.folder
    with tarfile.open(sdist) as archive:
        unpack(archive, top)
    [root] = top.iterdir()
    os.symlink(os.path.dirname(BIN), root / ".venv")
    with open(root / "CHANGELOG.md", "a", encoding="utf-8") as changelog:
        changelog.write(NOTES.format(__version__))
    for path in root.rglob("*"):
        if path.is_file() and ".venv" not in path.parts:
            path.chmod(place.modes[0] if path.stat().st_mode & 0o100 else place.modes[1])
            os.utime(path, (place.mtime, place.mtime))
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "RELEASE_TOOLS": wheel.release_tools()}
    done = subprocess.run(
        [str(root / "scripts" / "release.sh")],
        cwd=tmp_path,
        env=env | place.env,
        umask=place.umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in (root / "dist").iterdir()}


@pytest.mark.slow("installs the release's tools, and makes two releases")
def test_two_places_make_the_same_release(sdist: str, tmp_path: Path) -> None:
    """Every file of it: other folder, time, time zone, umask and modes change no byte."""
    first, second = (release(sdist, tmp_path, place) for place in (HERE, THERE))
    kinds = {re.sub(r"^brokerctl-.*?(?=\.tar|-py3)", "", name) for name in first}
    assert kinds == {
        *("RELEASE_NOTES.md", "SHA256SUMS", "sbom.cdx.json"),
        *(".tar.gz", "-py3-none-any.whl"),
        *(f"-{TAG.format(arch)}.whl" for arch in ARCHITECTURES),
    }
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert first["RELEASE_NOTES.md"] == b"- The first.\n"
    [dist] = glob.glob(f"{tmp_path}/a/*/dist")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=dist, check=False)
    assert done.returncode == 0
    assert len(first["SHA256SUMS"].splitlines()) == len(first) - 1
    for arch in ARCHITECTURES:
        [name] = [name for name in first if name.endswith(f"_{arch}.whl")]
        runs_the_interpreter_beside_it(first[name], arch, tmp_path / arch)


def runs_the_interpreter_beside_it(wheel: bytes, arch: str, folder: Path) -> None:
    """Run the launchers of a wheel, which another compiler made than in the tests of them."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in archive.namelist():
            path = name.partition(".data/")[2]
            if path.startswith("scripts/") or path == f"data/{START}":
                place = folder / path.replace("scripts/", "bin/").removeprefix("data/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(name))
                place.chmod(0o755)
    (folder / "bin" / "python3").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (folder / "bin" / "python3").chmod(0o755)
    form = launcher_form() if arch == platform.machine() else foreign_form()
    scripts = {f"{folder}/bin/brokerctl": "", f"{folder}/bin/brokerctl-askpass": "helper|askpass|"}
    for script, words in scripts.items():
        done = subprocess.run(
            [*form.wrapper, script, "a b"], capture_output=True, text=True, check=True
        )
        called = "|".join(form.words(f"{folder}/bin/brokerctl"))
        assert done.stdout == f"-X|utf8|-IS|{called}|{words}a b|"


@pytest.mark.slow("installs the release's tools")
def test_the_sbom_names_every_pin(tmp_path: Path) -> None:
    """Name, version and hashes of what requirements/run.txt pins; no path of this machine."""
    path = tmp_path / "sbom.cdx.json"
    subprocess.run(
        [f"{ROOT}/scripts/sbom.sh", str(path)],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "RELEASE_TOOLS": wheel.release_tools()},
        check=True,
    )
    text = path.read_text()
    found = json.loads(text)
    with open(wheel.PINS, encoding="utf-8") as file:
        pins = file.read()
    assert {(one["name"], one["version"]) for one in found["components"]} == set(PINS.findall(pins))
    assert set(HASH.findall(pins)) <= set(re.findall(r"[0-9a-f]{64}", text))
    about = found["metadata"]["component"]
    assert (about["name"], about["version"]) == ("brokerctl", __version__)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert "timestamp" not in found["metadata"]
    assert "serialNumber" not in found
    assert ROOT not in text


@pytest.mark.slow("builds an sdist")
def test_a_version_without_notes_is_not_released(sdist: str, tmp_path: Path) -> None:
    """The release ends before anything is built where the changelog has no dated section."""
    with tarfile.open(sdist) as archive:
        unpack(archive, tmp_path)
    [root] = tmp_path.iterdir()
    os.symlink(os.path.dirname(BIN), root / ".venv")
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- x\n")
    done = subprocess.run(
        [str(root / "scripts" / "release.sh")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"has no section [{__version__}]" in done.stderr
    assert os.listdir(root / "dist") == ["RELEASE_NOTES.md"]


def test_lock_files_name_no_registry() -> None:
    """Where packages come from is the machine's own setting; what they are is pinned by hash."""
    locks = glob.glob(f"{ROOT}/requirements/*.txt")
    assert len(locks) >= 4
    for path in locks:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        assert "://" not in text, path
        assert "index-url" not in text, path
        assert len(PINS.findall(text)) <= len(HASH.findall(text)), path
    with open(f"{ROOT}/tests/idp/oidc-provider/package-lock.json", encoding="utf-8") as file:
        assert '"resolved"' not in file.read()
