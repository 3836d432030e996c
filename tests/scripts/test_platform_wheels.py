"""The platform wheels: the pure one with another way in, taken where it fits and nowhere else."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from scripts.platform_wheels import ARCHITECTURES, START, make_wheel, start_script
from tests import wheel
from tests.launcher import read_script, require_compiler
from tests.program import BIN

if TYPE_CHECKING:
    from pathlib import Path

BUILT = "builds the wheels, where the sources have changed"
PIP = [sys.executable, "-m", "pip", "--isolated"]


@pytest.fixture(scope="module")
def all_wheels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder with the pure wheel and those of both processors, as a registry has them."""
    folder = tmp_path_factory.mktemp("wheels")
    for path in (wheel.build().wheel, *map(wheel.build_platform, ARCHITECTURES)):
        shutil.copy(path, folder)
    return str(folder)


def contents(path: str) -> dict[str, tuple[bytes, int]]:
    """Return the bytes and the mode of every file in a wheel."""
    with zipfile.ZipFile(path) as archive:
        return {
            info.filename: (archive.read(info), info.external_attr >> 16 & 0o7777)
            for info in archive.infolist()
        }


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_is_the_pure_one_but_for_its_scripts(arch: str) -> None:
    """Every other file is the same, byte for byte; what Python runs is one file more."""
    pure, made = contents(wheel.build().wheel), contents(wheel.build_platform(arch))
    [start] = set(made) - set(pure)
    assert not set(pure) - set(made)
    assert start.endswith(f".data/data/{START}")
    assert made[start] == (start_script(read_script("brokerctl")).encode(), 0o644)
    changed = {name for name in pure if pure[name] != made[name]}
    scripts = {name for name in pure if ".data/scripts/" in name}
    kinds = {name.rpartition("/")[2] for name in changed - scripts}
    assert (kinds, len(changed - scripts)) == ({"RECORD", "WHEEL"}, 2)
    for name in scripts:
        data, mode = made[name]
        assert (data[:4], mode) == (b"\x7fELF", 0o755)
    assert len({made[name][0] for name in scripts}) == len(scripts) == 8


@pytest.mark.slow(reason=BUILT)
def test_its_record_is_true() -> None:
    """Installers check the digests and sizes, and remove what is listed."""
    made = contents(wheel.build_platform())
    [record] = [name for name in made if name.endswith(".dist-info/RECORD")]
    rows = {name: rest for name, *rest in csv.reader(io.StringIO(made[record][0].decode()))}
    assert set(rows) == set(made)
    for name, (data, _) in made.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        wanted = ["", ""] if name == record else [f"sha256={digest}", str(len(data))]
        assert rows[name] == wanted, name


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_same_bytes_twice(tmp_path: Path, arch: str) -> None:
    """Neither the folder nor the time is in it."""
    compiler, pure = require_compiler(arch), wheel.build().wheel
    again = make_wheel(pure, arch, compiler, str(tmp_path / "elsewhere"))
    with open(again, "rb") as second, open(wheel.build_platform(arch), "rb") as first:
        assert second.read() == first.read()


WHO = {
    "x86_64-manylinux_2_17": 62,
    "x86_64-manylinux_2_40": 62,
    "x86_64-unknown-linux-musl": 62,
    "aarch64-manylinux_2_17": 183,
    "aarch64-manylinux_2_40": 183,
    "aarch64-unknown-linux-musl": 183,
    "riscv64-unknown-linux": None,
    "aarch64-apple-darwin": None,
}


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("target", WHO)
def test_who_gets_which(all_wheels: str, tmp_path: Path, target: str) -> None:
    """Glibc or musl, a processor's own before the pure one; everybody else gets the pure one."""
    argv = [f"{BIN}/uv", "pip", "install", "-q", "--no-config", "--no-index", "--no-deps"]
    place = ["--python", sys.executable, "--python-platform", target, "--target", str(tmp_path)]
    find = ["--no-cache", "--find-links", all_wheels, "brokerctl"]
    subprocess.run([*argv, *place, *find], check=True)
    head = (tmp_path / "bin" / "brokerctl").read_bytes()[:20]
    machine = int.from_bytes(head[18:], "little") if head.startswith(b"\x7fELF") else None
    assert machine == WHO[target]


@pytest.mark.slow(reason=BUILT)
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_installed_and_uninstalled(all_wheels: str, tmp_path: Path, installer: str) -> None:
    """Both installers take this machine's, put every script where it runs, and leave nothing."""
    prefix, home = str(tmp_path / "venv"), str(tmp_path)
    subprocess.run([sys.executable, "-Im", "venv", "--without-pip", prefix], check=True)
    before = files(prefix)
    python, env = f"{prefix}/bin/python", {"PATH": "/usr/bin:/bin", "HOME": home}
    uv = [f"{BIN}/uv", "pip", "{}", "-q", "--no-config", "--python", python]
    pip = [*PIP, "--python", python, "{}", "-q", "--no-cache-dir"]
    words = uv if installer == "uv" else pip
    find = ["--no-index", "--no-deps", "--find-links", all_wheels, "brokerctl"]
    subprocess.run([word.format("install") for word in words] + find, check=True, env=env)
    for name in ("brokerctl", "git-credential-brokerctl"):
        with open(f"{prefix}/bin/{name}", "rb") as file:
            assert file.read(4) == b"\x7fELF"
        assert os.access(f"{prefix}/bin/{name}", os.X_OK)
    assert os.path.exists(f"{prefix}/{START}")
    done = subprocess.run(
        [f"{prefix}/bin/brokerctl", "get", "x"], env={}, capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("brokerctl: error: ")  # of Python's: the others are not there
    out = [word.format("uninstall") for word in words] + (["-y"] if installer == "pip" else [])
    subprocess.run([*out, "brokerctl"], check=True, env=env, cwd=home)
    assert files(prefix) == before  # folders stay, as those of man pages do


def files(folder: str) -> set[str]:
    """Return all files below a folder."""
    found = {os.path.join(top, name) for top, _, names in os.walk(folder) for name in names}
    return found - {f"{folder}/.lock"}  # uv's own


@pytest.mark.slow(reason="fills a new environment, where the sources have changed")
def test_as_a_tool_of_uv() -> None:
    """With all it depends on: the link that uv makes is the launcher, and a warm start works."""
    installed = wheel.install_by_uv(with_launcher=True)
    assert os.path.islink(installed.program)
    done = subprocess.run(
        ["brokerctl", "--version"],
        env={"PATH": os.path.dirname(installed.program), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("brokerctl ")
    assert sorted(os.listdir(os.path.dirname(installed.program))) == sorted(
        name for name in os.listdir(f"{installed.prefix}/bin") if "brokerctl" in name
    )


@pytest.mark.slow(reason=BUILT)
def test_the_script_says_what_it_would_do_without_a_compiler(tmp_path: Path) -> None:
    """One line, and no wheel."""
    other = next(arch for arch in ARCHITECTURES if arch != platform.machine())
    script = os.path.join(os.path.dirname(BIN), "..", "scripts", "platform_wheels.py")
    argv = [sys.executable, script, wheel.build().wheel, "--arch", other, "-o", str(tmp_path)]
    done = subprocess.run(
        argv, env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"platform_wheels: no compiler for {other}: install gcc\n"
    assert os.listdir(tmp_path) == []
