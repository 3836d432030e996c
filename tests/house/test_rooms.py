"""The house is cut by subjects: no crumbs of files, no circles, one meaning for a class's name.

`make rooms` prints the figures.
"""

from __future__ import annotations

import re
from functools import cache

from scripts import rooms
from scripts.rooms_measure import House, circles, shared_class_names, small_files
from tests.house.source import read, sources

# A file of fewer than 80 lines that only one other file imports belongs into that one, but for a
# reason: a heavy import that it keeps off the warm road, a program of its own. Tables name theirs.
REASONS = {
    "audit/repair.py": "what `audit repair` does: looked for by its name",
    "cli/start_image.py": "the tables of several rooms meet there, which no hot command needs",
    "demo/visitor.py": "a program of its own: the browser and the tool of the story",
    "keys/interface.py": "types alone, which no road loads",
    "session/serve/target.py": "which paths pass: looked for by its subject, and the proxy's too",
    "oauth/flows/refresh.py": "a grant type of its own (RFC 6749, 6)",
}


@cache
def house() -> House:
    """Return the house as it stands on the disk."""
    return rooms.house_now()


def crumbs() -> set[str]:
    """Return the small files with one importer that no table names."""
    return {path for path, one in small_files(house()).items() if not one["excuse"]}


def circles_now() -> list[set[str]]:
    """Return the sets of files that import one another, as paths."""
    return [{house().path(name) for name in circle} for circle in circles(house().graph())]


def test_a_small_file_has_two_importers_or_a_reason() -> None:
    """The floor: what one file alone needs in fewer than 80 lines stands in that file."""
    new = sorted(crumbs() - REASONS.keys())
    assert not new


def test_no_reason_is_left_of_a_file_that_needs_none() -> None:
    """A file that was joined, grew or found a second importer leaves both lists."""
    needless = sorted(REASONS.keys() - crumbs())
    assert not needless


def test_no_files_import_one_another() -> None:
    """No circle of files, types and imports inside functions counted."""
    assert not circles_now()


def test_a_class_s_name_means_one_thing() -> None:
    """A public name of a class stands in one file."""
    assert not shared_class_names(house())


def test_the_picture_of_the_rooms_is_current() -> None:
    """Where ARCHITECTURE.md shows the rooms, it shows those that there are."""
    assert rooms.hang(house(), write=False) == 0


def test_the_files_that_the_paper_names_are_there() -> None:
    """The ways through the house name files, and a move takes them along."""
    words = re.findall(r"`([a-z_/]+)`", read("ARCHITECTURE.md"))
    places = [word for word in words if "/" in word and not word.startswith("tests")]
    found = {source.path.removeprefix("src/brokerctl/") for source in sources("src", "bin")}
    folders = {path.rpartition("/")[0] for path in found}
    missing = [
        word for word in places if f"{word}.py" not in found and word not in {*found, *folders}
    ]
    assert not [word for word in missing if not word.startswith("bin/")]
    assert len(places) > 30
