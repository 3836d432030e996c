"""The house is cut by subjects: no crumbs of files, no circles, one meaning for a class's name.

The circles that are left have their list, which only gets shorter: an entry that is not needed any
more fails too. `make rooms` prints the figures.
"""

from __future__ import annotations

from functools import cache

from scripts import rooms
from scripts.rooms_measure import House, circles, shared_class_names, small_files

# A file of fewer than 80 lines that only one other file imports belongs into that one, but for a
# reason: a heavy import that it keeps off the warm road, a program of its own. Tables name theirs.
REASONS = {
    "audit/repair.py": "what `audit repair` does: looked for by its name",
    "helpers/output_file.py": "contextlib, and the care for a file: one tool wants one",
    "demo/visitor.py": "a program of its own: the browser and the tool of the story",
    "keys/interface.py": "types alone, which no road loads",
    "oauth/flows/refresh.py": "a grant type of its own (RFC 6749, 6)",
    "platform/libc_by_ctypes.py": "ctypes, which is loaded where cffi's way is not there",
}
CIRCLES = [
    "audit/append.py audit/recover.py audit/repeats.py",
    "broker/__init__.py broker/obtain.py",
    "demo/grants.py demo/issuer.py",
    "keys/making.py keys/ring.py",
    "platform/libc.py platform/libc_by_ctypes.py",
    (
        "store/file/__init__.py store/file/lock.py store/file/lock_wait.py store/grant_state.py"
        " store/locked.py store/slots.py"
    ),
]


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
    """No circle, types and imports inside functions counted, but those from before the move."""
    known = [set(circle.split()) for circle in CIRCLES]
    new = [circle for circle in circles_now() if not any(circle <= one for one in known)]
    assert not new


def test_no_circle_is_listed_that_is_gone() -> None:
    """A circle that was cut leaves the list, and one that got smaller is listed as it is."""
    now = circles_now()
    assert not [circle for circle in CIRCLES if set(circle.split()) not in now]


def test_a_class_s_name_means_one_thing() -> None:
    """A public name of a class stands in one file."""
    assert not shared_class_names(house())


def test_the_picture_of_the_rooms_is_current() -> None:
    """Where ARCHITECTURE.md shows the rooms, it shows those that there are."""
    assert rooms.hang(house(), write=False) == 0
