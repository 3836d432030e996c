"""Makes a platform wheel of the pure one: in place of the scripts for `sh`, the static launcher.

    python scripts/platform_wheels.py dist/brokerctl-….whl [--arch x86_64] [--zig PYTHON] [-o DIR]

Everything else in it stays as it was, byte for byte. Installers prefer it where it fits, and take
the pure one elsewhere. The compiler is the machine's gcc; or the Zig that pip has installed for
that PYTHON, which makes the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launcher.c")
ARCHITECTURES = ("x86_64", "aarch64")
# What needs no libc runs on every Linux: on those of glibc (PEP 600) and those of musl (PEP 656).
TAG = "py3-none-manylinux_2_17_{0}.manylinux2014_{0}.musllinux_1_1_{0}"
FLAGS = (
    *("-std=c11", "-Os", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-builtin"),
    *("-fno-stack-protector", "-fno-pie", "-fno-asynchronous-unwind-tables", "-fno-ident"),
    *("-fno-sanitize=undefined", "-nostdlib", "-static", "-s"),
    *("-Wl,--build-id=none", "-Wl,-z,noexecstack"),
)
SMALL = "-Wl,-z,noseparate-code"  # of gcc's linker: else there are 64 KB for aarch64
RECORD = ".dist-info/RECORD"
START = "libexec/brokerctl/start.py"
HELPER = re.compile(r' helper ([a-z]+) "\$@"\n')
SHELL_END = "\n'''\n"
FIRST = "import sys\n"
OWN_NAME = "\ndel sys.argv[0]  # this file's: the launcher says how it was called itself\n"


def find_compiler(arch: str, zig: str | None = None) -> list[str] | None:
    """Return the first words of a command that compiles for an architecture; None without one.

    `zig` is a Python that has the `ziglang` package.
    """
    if zig:
        return [zig, "-m", "ziglang", "cc", "-target", f"{arch}-linux-musl"]
    names = [f"{arch}-linux-gnu-gcc", *(["gcc"] if arch == platform.machine() else [])]
    found = [path for path in map(shutil.which, names) if path]
    return [found[0], SMALL] if found else None


def compile_launcher(compiler: list[str], helper: str | None = None) -> bytes:
    """Return the launcher of brokerctl, or of the script that serves one tool."""
    words = [] if helper is None else [f'-DHELPER="{helper}"']
    with tempfile.TemporaryDirectory() as folder:
        caches = {f"ZIG_{kind}_CACHE_DIR": f"{folder}/cache" for kind in ("GLOBAL", "LOCAL")}
        argv = [*compiler, *FLAGS, *words, "-o", f"{folder}/launcher", os.path.basename(SOURCE)]
        subprocess.run(argv, cwd=os.path.dirname(SOURCE), env={**os.environ, **caches}, check=True)
        with open(f"{folder}/launcher", "rb") as file:
            return file.read()


def start_script(script: str) -> str:
    """Return what Python runs, of bin/brokerctl: what is behind the lines for `sh`."""
    python = script.partition(SHELL_END)[2]
    before, first, after = python.partition(FIRST)
    if not first:
        raise ValueError("bin/brokerctl has no Python behind its lines for sh")
    return f"{before}{first}{OWN_NAME}{after}"


def replaced(name: str, data: bytes, compiler: list[str], tag: str) -> dict[str, bytes]:
    """Return what a platform wheel has in place of one file of the pure wheel, by name."""
    top, _, path = name.partition("/")
    if path.startswith("scripts/") and top.endswith(".data"):
        text = data.decode()
        helper = HELPER.search(text)
        files = {name: compile_launcher(compiler, helper[1] if helper else None)}
        if helper is None:
            files[f"{top}/data/{START}"] = start_script(text).encode()
        return files
    if path == "WHEEL":
        kept = [line for line in data.decode().splitlines() if not line.startswith("Tag: ")]
        python, abi, platforms = tag.split("-")
        tags = [f"Tag: {python}-{abi}-{one}" for one in platforms.split(".")]
        return {name: "\n".join([*kept, *tags, ""]).encode()}
    return {name: data}


def make_wheel(pure: str, arch: str, compiler: list[str], folder: str) -> str:
    """Write the platform wheel into a folder and return its path."""
    tag = TAG.format(arch)
    files: list[tuple[zipfile.ZipInfo, bytes]] = []
    with zipfile.ZipFile(pure) as source:
        for info in source.infolist():
            made = replaced(info.filename, source.read(info), compiler, tag)
            files += [(_info(info, name), data) for name, data in made.items()]
    path = os.path.join(folder, os.path.basename(pure).replace("py3-none-any", tag))
    os.makedirs(folder, exist_ok=True)
    rows = "".join(_row(info.filename, data) for info, data in files)
    with zipfile.ZipFile(path, "w") as wheel:
        for info, data in files:
            wheel.writestr(info, rows if info.filename.endswith(RECORD) else data)
    return path


def _row(name: str, data: bytes) -> str:
    """Return a line of RECORD; the line of that itself has no digest."""
    if name.endswith(RECORD):
        return f"{name},,\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"{name},sha256={digest.decode()},{len(data)}\n"


def _info(like: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    """Return the same date and mode for another name; what isn't a script is not to be run."""
    info = zipfile.ZipInfo(name, like.date_time)
    mode = like.external_attr if name == like.filename else like.external_attr & ~(0o111 << 16)
    info.compress_type, info.external_attr = like.compress_type, mode
    info.create_system = like.create_system
    return info


def main() -> int:
    """Make the wheels that are asked for, and print their paths."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pure", help="the pure wheel")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="default: both")
    parser.add_argument("--zig", metavar="PYTHON", help="compile with the Zig that this one has")
    parser.add_argument("-o", dest="folder", help="default: where the pure wheel lies")
    options = parser.parse_args()
    for arch in options.arch or ARCHITECTURES:
        compiler = find_compiler(arch, options.zig)
        if compiler is None:
            print(f"platform_wheels: no compiler for {arch}: install gcc", file=sys.stderr)
            return 1
        folder = options.folder or os.path.dirname(os.path.abspath(options.pure))
        print(make_wheel(options.pure, arch, compiler, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
