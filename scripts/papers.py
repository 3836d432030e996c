"""Writes what is made from the program: completions/, man/ and the help texts in README.md.

`python scripts/papers.py` writes, `--check` only says what is out of date, with exit code 1.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import manpage
from typer.main import get_command

from brokerctl.cli.app import COMMANDS, COMPLETE, build

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
README = "README.md"
SHELLS = {
    "bash": "completions/brokerctl.bash",
    "zsh": "completions/_brokerctl",
    "fish": "completions/brokerctl.fish",
}
HELP = re.compile(r"(?<=```text\n)\$ (brokerctl[a-z ]*) --help\n.*?(?=```\n)", re.DOTALL)


def make() -> dict[str, str]:
    """Return every made file by its path."""
    program = get_command(build())
    files = {"man/brokerctl.1": manpage.render(program, ("brokerctl",))}
    for name in COMMANDS:
        page = manpage.render(program.commands[name], ("brokerctl", name))
        files[f"man/brokerctl-{name}.1"] = page
    for shell, path in SHELLS.items():
        files[path] = run([], **{COMPLETE: f"source_{shell}"}).strip() + "\n"
    files[README] = HELP.sub(
        lambda found: f"$ {found[1]} --help\n{help_of(found[1])}", read(README)
    )
    return files


def help_of(command: str) -> str:
    """Return what `--help` of a command prints."""
    return run([*command.split()[1:], "--help"])


def run(words: list[str], **variables: str) -> str:
    """Return what the program beside this interpreter prints."""
    program = os.path.join(os.path.dirname(sys.executable), "brokerctl")
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "COLUMNS": "80"}
    done = subprocess.run(
        [program, *words], env={**env, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout


def read(path: str) -> str:
    """Return a file of the repository; nothing for one that is not there yet."""
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def main() -> int:
    """Write or check; return the exit code."""
    files = make()
    stale = [path for path, text in files.items() if read(path) != text]
    found = {os.path.relpath(path, ROOT) for path in glob.glob(f"{ROOT}/man/*")}
    left = sorted(found - set(files))
    if "--check" in sys.argv[1:]:
        for path in [*stale, *left]:
            print(f"{path} is out of date: run 'make papers'")
        return 1 if stale or left else 0
    for path in left:
        os.unlink(os.path.join(ROOT, path))
    for path in stale:
        os.makedirs(os.path.dirname(os.path.join(ROOT, path)), exist_ok=True)
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
            file.write(files[path])
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
