"""Prints what CHANGELOG.md says of one version: `python scripts/release_notes.py 0.1.0`."""

from __future__ import annotations

import os
import re
import sys

CHANGELOG = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "CHANGELOG.md"
)
SECTION = re.compile(r"^## \[(?P<version>[^\]\n]+)\](?P<rest>[^\n]*)$", re.MULTILINE)
DATE = re.compile(r" - \d{4}-\d{2}-\d{2}")
LINK = re.compile(r"^\[[^\]\n]+\]: \S+\n?", re.MULTILINE)


def cut(changelog: str, version: str) -> str:
    """Return a version's section without its heading; LookupError if it is no release's."""
    found = list(SECTION.finditer(changelog))
    ends = [*(section.start() for section in found[1:]), len(changelog)]
    for section, end in zip(found, ends, strict=True):
        if section["version"] != version:
            continue
        if not DATE.fullmatch(section["rest"]):
            raise LookupError(f"the section [{version}] of CHANGELOG.md has no date")
        notes = LINK.sub("", changelog[section.end() : end]).strip()
        if not notes:
            raise LookupError(f"the section [{version}] of CHANGELOG.md is empty")
        return f"{notes}\n"
    raise LookupError(f"CHANGELOG.md has no section [{version}]")


def main() -> int:
    """Print the notes, or say why there are none."""
    with open(CHANGELOG, encoding="utf-8") as file:
        changelog = file.read()
    try:
        notes = cut(changelog, sys.argv[1])
    except LookupError as error:
        print(f"release: {error.args[0]}", file=sys.stderr)
        return 1
    print(notes, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
