"""The figures of `scripts/rooms.py` are those of a small house that can be counted by hand."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from scripts import rooms
from scripts.rooms_measure import House, at_share, measure
from scripts.rooms_picture import MARKS, needed, put_in

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """
[[tool.importlinter.contracts]]
type = "layers"
containers = ["brokerctl"]
layers = ["(cli)", "(store) | (keys)", "(model) : (secret)"]
"""
FILES = {
    "src/brokerctl/__init__.py": "",
    "src/brokerctl/cli/__init__.py": "from brokerctl.store import open_it\n",
    "src/brokerctl/cli/app.py": (
        'COMMANDS = {"get": "brokerctl.cli.get:register"}\n'
        'load("brokerctl.keys:make")\n'
        "class Found: ...\n"
    ),
    "src/brokerctl/cli/get.py": "def register():\n    import brokerctl.cli.app\n",
    "src/brokerctl/store/__init__.py": "from brokerctl.store import disk\n",
    "src/brokerctl/store/disk.py": (
        "TYPE_CHECKING = False\n"
        "if TYPE_CHECKING:\n"
        "    from brokerctl.store import (\n"
        "        open_it,\n"
        "    )\n"
        "from brokerctl.keys import make\n"
        "class Found: ...\n"
    ),
    "src/brokerctl/keys.py": "from brokerctl import model, secret\n",
    "src/brokerctl/model.py": "class _Own: ...\n",
    "src/brokerctl/secret.py": "class _Own: ...\n",
}


@pytest.fixture
def house() -> House:
    """Return a house of nine files."""
    return rooms.house_of(FILES, SETTINGS)


def test_an_import_counts_wherever_it_stands(house: House) -> None:
    """At the top, for types, in a function and by a loader's word; never of the folder's file."""
    graph = house.graph()
    assert graph["brokerctl.cli"] == {"brokerctl.store"}
    assert graph["brokerctl.cli.app"] == {"brokerctl.keys"}
    assert graph["brokerctl.cli.get"] == {"brokerctl.cli.app"}
    assert graph["brokerctl.store"] == {"brokerctl.store.disk"}
    assert graph["brokerctl.store.disk"] == {"brokerctl.store", "brokerctl.keys"}
    assert house.graph(types=False)["brokerctl.store.disk"] == {"brokerctl.keys"}


def test_the_front_door_s_table_counts_as_imports() -> None:
    """A table whose values complete a loader's name is what its file imports."""
    text = 'DOORS = {"get": "hot"}\n__import__(f"brokerctl.{DOORS[word]}", fromlist=("run",))\n'
    files = {"src/brokerctl/__main__.py": text, "src/brokerctl/get.py": ""}
    assert rooms.house_of(files).graph()["brokerctl.__main__"] == {"brokerctl.get"}


def test_the_figures_are_what_stands_in_the_files(house: House) -> None:
    """Files, importers, heads, circles, rooms, arrows and names, each counted by hand."""
    found = measure(house)
    assert (found["files"], found["lines"]) == (9, 17)
    assert found["files_with_one_importer"] == 4
    small = found["small_files_with_one_importer"]
    assert set(small) == {"cli/app.py", "model.py", "secret.py", "store/disk.py"}
    assert small["model.py"] == {"lines": 1, "importer": "keys.py", "excuse": ""}
    assert found["lines_in_import_heads"] == 9
    assert found["imports_inside_functions"] == 1
    assert found["circles_of_files"] == [["store/__init__.py", "store/disk.py"]]
    assert found["circles_of_files_types_not_counted"] == []
    assert found["rooms"]["cli/"] == 3
    assert found["top_level_modules"] == ["__init__", "keys", "model", "secret"]
    assert found["class_names_in_more_than_one_file"] == {"Found": ["cli/app.py", "store/disk.py"]}


def test_an_entry_of_a_table_is_no_import(house: House) -> None:
    """A command that only its table names has no importer, and is excused."""
    assert house.importers()["brokerctl.cli.get"] == set()
    assert house.entries == {"brokerctl.cli.get"}


def test_arrows_that_lead_up_or_through_a_wall_are_told(house: House) -> None:
    """The store may not import its neighbour, nor a room above it."""
    assert house.upward() == [("store/", "keys")]
    files = {**FILES, "src/brokerctl/model.py": "import brokerctl.cli\n"}
    assert ("model", "cli/") in rooms.house_of(files, SETTINGS).upward()


def test_a_percentile_is_an_element() -> None:
    """The nearest rank: of ten, the ninth is the 90th percentile."""
    sizes = [(lines, "") for lines in range(1, 11)]
    assert [at_share(sizes, share)[0] for share in (0.01, 0.5, 0.9, 0.99)] == [1, 5, 9, 10]


def test_the_picture_shows_floors_walls_and_what_no_other_arrow_implies(house: House) -> None:
    """Two rooms that may not meet have a wall; an arrow implied by others is left out."""
    drawn = rooms.picture(house).splitlines()
    assert {len(line) for line in drawn} == {100}
    cells = [cell.strip() for line in drawn[1::2] for cell in line.strip("│").split("│")]
    assert cells == [
        "cli/ 3 → store",
        "store/ 2 → keys",
        "keys → model secret",
        "model secret",
    ]
    assert needed({"a", "b", "c"}, {("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
    circle = {("a", "b"), ("a", "c"), ("b", "c"), ("c", "b")}
    assert needed({"a", "b", "c"}, circle) == circle


def test_the_picture_hangs_between_its_marks() -> None:
    """What stands around it stays, and a second time changes nothing."""
    paper = f"above\n{MARKS[0]}\nold\n{MARKS[1]}\nbelow\n"
    once = put_in(paper, "new\n")
    assert once == f"above\n{MARKS[0]}\n```text\nnew\n```\n{MARKS[1]}\nbelow\n"
    assert put_in(once, "new\n") == once
    with pytest.raises(LookupError):
        put_in("no marks\n", "new\n")


def test_a_stale_picture_is_told_and_renewed(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--check` ends with 1 and changes nothing, `--write` mends it; no marks, no picture."""
    paper = tmp_path / "ARCHITECTURE.md"
    paper.write_text(f"{MARKS[0]}\n{MARKS[1]}\n")
    monkeypatch.setattr(rooms, "ROOT", str(tmp_path))
    assert rooms.hang(house, write=False) == 1
    assert paper.read_text() == f"{MARKS[0]}\n{MARKS[1]}\n"
    assert rooms.hang(house, write=True) == 0
    assert rooms.hang(house, write=False) == 0
    paper.write_text("plain\n")
    assert rooms.hang(house, write=True) == 0
    assert paper.read_text() == "plain\n"


def test_another_revision_stands_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--against` reads a revision's tree, and marks what only one of the two has."""
    for path, text in {**FILES, "pyproject.toml": SETTINGS}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "one")):
        subprocess.run(("git", *words), cwd=tmp_path, check=True)
    (tmp_path / "src/brokerctl/model.py").rename(tmp_path / "src/brokerctl/values.py")
    monkeypatch.setattr(rooms, "ROOT", str(tmp_path))
    assert rooms.main(["--against", "HEAD"]) == 0
    printed = capsys.readouterr().out
    assert " - model: 1\n" in printed
    assert " + values: 1\n" in printed
    assert rooms.main(["--json", "--against", "HEAD"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert ("model" in both["before"]["rooms"], "model" in both["after"]["rooms"]) == (True, False)
