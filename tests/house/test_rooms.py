"""The house is cut by subjects: no crumbs of files, no circles, one meaning for a class's name.

What stood against it before the move has its list, which only gets shorter: an entry that is not
needed any more fails too. `make rooms` prints the figures.
"""

from __future__ import annotations

from functools import cache

from scripts import rooms
from scripts.rooms_measure import House, circles, shared_class_names, small_files

# A file of fewer than 80 lines that only one other file imports belongs into that one, but for a
# reason: a heavy import that it keeps off the warm road, a program of its own. Tables name theirs.
REASONS = {
    "helpers/output_file.py": "contextlib, and the care for a file: one tool wants one",
    "demo/visitor.py": "a program of its own: the browser and the tool of the story",
    "platform/libc_by_ctypes.py": "ctypes, which is loaded where cffi's way is not there",
}
BEFORE_THE_MOVE = [
    "audit/repair.py",
    "keys/interface.py",
    "oauth/flows/refresh.py",
]
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
TWO_MEANINGS = {
    "Change": "helpers/edit/file_changes.py store/__init__.py",
    "Code": "demo/state.py oauth/flows/code.py",
    "Damage": "audit/recover.py store/__init__.py",
    "Device": "demo/state.py oauth/flows/device.py",
    "Ending": "broker/revoke.py session/supervise.py",
    "Entry": "helpers/git/config.py store/__init__.py",
    "Found": "audit/read.py helpers/edit/credential_lines.py",
    "Held": "helpers/kept.py store/inventory.py",
    "Keyring": "helpers/keyring/__init__.py keys/keyring.py",
    "LockedGrant": "store/interface.py store/locked.py",
    "Match": "audit/read.py store/__init__.py",
    "Place": "helpers/git/urls.py helpers/setups.py",
    "Revocation": "demo/grants.py oauth/revocation.py",
    "Source": "config/source.py helpers/import_plain.py",
    "Wanted": "helpers/__init__.py session/environment.py",
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
    new = sorted(crumbs() - REASONS.keys() - {*BEFORE_THE_MOVE})
    assert not new


def test_no_reason_is_left_of_a_file_that_needs_none() -> None:
    """A file that was joined, grew or found a second importer leaves both lists."""
    needless = sorted((REASONS.keys() | {*BEFORE_THE_MOVE}) - crumbs())
    assert not needless
    assert not REASONS.keys() & {*BEFORE_THE_MOVE}


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
    """A public name of a class stands in one file, but for those from before the move."""
    found = shared_class_names(house())
    listed = {name: set(paths.split()) for name, paths in TWO_MEANINGS.items()}
    assert not {
        name: paths for name, paths in found.items() if set(paths) - listed.get(name, set())
    }


def test_no_name_is_listed_that_means_one_thing() -> None:
    """A name that was made clear leaves the list."""
    found = shared_class_names(house())
    assert {name: " ".join(found.get(name, ())) for name in TWO_MEANINGS} == TWO_MEANINGS


def test_the_picture_of_the_rooms_is_current() -> None:
    """Where ARCHITECTURE.md shows the rooms, it shows those that there are."""
    assert rooms.hang(house(), write=False) == 0
