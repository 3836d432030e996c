"""Prints how the code is cut into rooms and files, and draws them: `python scripts/rooms.py`.

`--json` prints the figures for machines, `--against REF` beside those of a git revision.
`--picture` draws the floors of the house; `--picture --check` only says whether the drawing in
ARCHITECTURE.md is out of date, with exit code 1, and `--picture --write` renews it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from scripts.rooms_measure import PACKAGE, Files, House, measure
from scripts.rooms_picture import MARKS, draw, put_in

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = f"src/{PACKAGE}/"
PAPER = "ARCHITECTURE.md"


def house_now() -> House:
    """Return the house as it stands on the disk."""
    files = {}
    for folder, _, names in os.walk(os.path.join(ROOT, SOURCE)):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                files[os.path.relpath(path, ROOT)] = read(path)
    return house_of(files, read(os.path.join(ROOT, "pyproject.toml")))


def house_then(revision: str) -> House:
    """Return the house of a git revision, which is read and not checked out."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", revision, "--", SOURCE, "pyproject.toml"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith((".py", ".toml")):
                files[member.name] = file.read().decode()
    return house_of(files, files.pop("pyproject.toml"))


def house_of(files: Files, settings: str = "") -> House:
    """Return the house of some files, by their paths in the repository."""
    named = {
        path.removeprefix("src/").removesuffix(".py").replace("/", "."): text
        for path, text in files.items()
    }
    return House({name.removesuffix(".__init__"): text for name, text in named.items()}, settings)


def read(path: str) -> str:
    """Return the text of a file."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def figure(value: object) -> str:
    """Return a figure as it is printed: of a list, how long it is."""
    if isinstance(value, list) and value and isinstance(value[0], int):
        return " ".join(map(str, value))  # the greatest function: its lines and its name
    return str(len(value)) if isinstance(value, list | dict) else str(value)


def table(columns: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the figures, one revision beside the other."""
    for key in columns[-1]:
        words = [figure(column[key]) for column in columns]
        yield f"{title(key):<46} {'  '.join(f'{word:<10}' for word in words)}".rstrip()


def lists(columns: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what stands in the lists, marked - and + where only one of two revisions has it."""
    before, after = columns[0], columns[-1]
    for key, value in after.items():
        if not isinstance(value, list | dict) or key == "greatest_function":
            continue
        old, new = items(before[key]), items(value)
        if old or new:
            yield f"\n{title(key)}:"
        for item in sorted(old.keys() | new.keys()):
            mark = " " if item in old and item in new else "+" if item in new else "-"
            text, was = new.get(item, old.get(item)), old.get(item, new.get(item))
            yield f" {mark} {text}" if text == was else f" {mark} {text}, was {was}"


def title(key: str) -> str:
    """Return a figure's name as it is printed."""
    return key.replace("_", " ")


def items(value: list[Any] | dict[str, Any]) -> dict[str, str]:
    """Return the items of a list by what tells them apart, each with its text."""
    if isinstance(value, list):
        texts = [" ".join(item) if isinstance(item, list) else item for item in value]
        return {text: text for text in texts}
    return {key: f"{key}: {told(item)}" for key, item in value.items()}


def told(item: object) -> str:
    """Return what a list says of one of its items."""
    if isinstance(item, dict):
        why = f" ({item['excuse']})" if item["excuse"] else ""
        return f"{item['lines']} lines, imported by {item['importer']}{why}"
    if isinstance(item, list) and item and isinstance(item[0], int):
        return f"{item[0]} and {item[1]} for types" if item[1] else str(item[0])
    return " ".join(item) if isinstance(item, list) else str(item)


def picture(house: House) -> str:
    """Return the drawing of the rooms, with the imports that are run as its arrows."""
    arrows = {rooms for rooms, (run, _) in house.arrows().items() if run}
    return draw(house.floors, {room: len(names) for room, names in house.rooms().items()}, arrows)


def hang(house: House, *, write: bool) -> int:
    """Renew the picture in the paper, or say that it is out of date; return the exit code."""
    path = os.path.join(ROOT, PAPER)
    paper = read(path)
    made = put_in(paper, picture(house)) if MARKS[0] in paper else paper
    if made != paper and write:
        with open(path, "w", encoding="utf-8") as file:
            file.write(made)
    elif made != paper:
        print(f"{PAPER} is out of date: run 'make papers'")
        return 1
    return 0


def main(words: list[str]) -> int:
    """Print what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="rooms.py", description="How the code is cut into rooms.")
    parser.add_argument("--json", action="store_true", help="print the figures for machines")
    parser.add_argument(
        "--against", metavar="REF", help="print those of a git revision beside them"
    )
    parser.add_argument("--picture", action="store_true", help="draw the rooms")
    parser.add_argument("--check", action="store_true", help=f"is the picture in {PAPER} current?")
    parser.add_argument("--write", action="store_true", help=f"renew the picture in {PAPER}")
    asked = parser.parse_args(words)
    house = house_now()
    if asked.picture:
        if asked.check or asked.write:
            return hang(house, write=asked.write)
        print(picture(house), end="")
        return 0
    columns = [measure(house_then(asked.against))] if asked.against else []
    columns.append(measure(house))
    if asked.json:
        told_of = (
            dict(zip(("before", "after"), columns, strict=True)) if asked.against else columns[0]
        )
        print(json.dumps(told_of, indent=2, ensure_ascii=False))
        return 0
    for line in (*table(columns), *lists(columns)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
