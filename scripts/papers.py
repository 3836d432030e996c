"""Writes what is made from the program: completions/, man/, and in docs/ commands and events.

`python scripts/papers.py` writes, `--check` only says what is out of date, with exit code 1.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import manpage
from record_fields import FIELDS
from typer.main import get_command

from brokerctl.broker.events import EVENTS, REQUEST
from brokerctl.cli.app import COMMANDS, COMPLETE, build

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "docs/commands.md"
JSON_PAGE, JSON_SCHEMA = "docs/json.md", "docs/json.schema.json"
EVENT_MARKS = ("<!-- events: begin, made by scripts/papers.py -->", "<!-- events: end -->")
INTRO = """# Commands

What `--help` prints, of every command; `man brokerctl-get` and its sisters say the same.
"""
SHELLS = {
    "bash": "completions/brokerctl.bash",
    "zsh": "completions/_brokerctl",
    "fish": "completions/brokerctl.fish",
}


def make() -> dict[str, str]:
    """Return every made file by its path."""
    program = get_command(build())
    files = {"man/brokerctl.1": manpage.render(program, ("brokerctl",))}
    for name in COMMANDS:
        page = manpage.render(program.commands[name], ("brokerctl", name))
        files[f"man/brokerctl-{name}.1"] = page
    for shell, path in SHELLS.items():
        files[path] = run([], **{COMPLETE: f"source_{shell}"}).strip() + "\n"
    sections = [section(words) for words in all_commands(program, ())]
    files[PAGE] = INTRO + "".join(sections)
    files[JSON_PAGE] = put_events(JSON_PAGE)
    files[JSON_SCHEMA] = put_record_fields(JSON_SCHEMA)
    return files


def put_events(path: str) -> str:
    """Return the page of JSON answers with the table of what each event's record can say."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        before, begin, rest = file.read().partition(EVENT_MARKS[0])
    _, end, after = rest.partition(EVENT_MARKS[1])
    shared = ", ".join(f"`{name}`" for name in REQUEST)
    rows = [f"Most of them say of the request (*request* below): {shared}.", ""]
    rows += ["| event | its record can say |", "|---|---|"]
    for name, fields in EVENTS.items():
        is_request = fields[: len(REQUEST)] == REQUEST
        own = fields[len(REQUEST) :] if is_request else fields
        words = (["*request*"] if is_request else []) + [f"`{field}`" for field in own]
        rows.append(f"| `{name}` | {', '.join(words)} |")
    return f"{before}{begin}\n" + "\n".join(rows) + f"\n{end}{after}"


def put_record_fields(path: str) -> str:
    """Return the schema of JSON answers with every field that an event's record can have."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        before, begin, rest = file.read().partition('    "record": {')
    head, first, rest = rest.partition('        "event": {"$ref": "#/$defs/event"},\n')
    _, last, after = rest.partition('        "host": {"type": "string"},\n')
    names = dict.fromkeys(name for fields in EVENTS.values() for name in fields)
    lines = [f'        "{name}": {json.dumps(FIELDS[name])},\n' for name in names]
    return "".join([before, begin, head, first, *lines, last, after])


def all_commands(program: Any, words: tuple[str, ...]) -> list[tuple[str, ...]]:  # noqa: ANN401 - Typer's own
    """Return the words of every command below one, a group before its own."""
    found = [words]
    names = COMMANDS if not words else getattr(program, "commands", {})
    for name in names:
        if not program.commands[name].hidden:
            found += all_commands(program.commands[name], (*words, name))
    return found


def section(words: tuple[str, ...]) -> str:
    """Return the part of the page about one command."""
    name = " ".join(["brokerctl", *words])
    level = "##" if len(words) < 2 else "###"  # noqa: PLR2004 - a command of a group
    return f"\n{level} {name}\n\n```text\n{run([*words, '--help'])}```\n"


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
