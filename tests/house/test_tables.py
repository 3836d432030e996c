"""A table names what it should: import-linter can't see into its strings, so this does."""

from __future__ import annotations

import ast
import importlib
import os
import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple

import pytest

from brokerctl.config import fields
from brokerctl.config.platforms import PLATFORMS, PlatformTraits
from brokerctl.doctor import CHECKS, EARLY
from brokerctl.helpers import HELPERS, outcomes
from brokerctl.helpers.install import find_setup
from brokerctl.helpers.setups import SETUPS
from brokerctl.helpers.unchecked_tls import VARIABLES
from brokerctl.model import FLOWS, KEEPERS, FlowTraits, KeeperTraits
from brokerctl.platform.commands import PROGRAMS
from brokerctl.store import STORES
from tests.contracts.helper_contract import OUTCOMES
from tests.house.source import ROOT, Source, imported_at_start, read, sources

if TYPE_CHECKING:
    from collections.abc import Sized


class Room(NamedTuple):
    """A room with a table, and what marks a file of it as one that belongs into the table."""

    package: str
    table: str
    methods: frozenset[str]  # what the room's interface asks of a class
    where: str  # the module that holds the table


ROOMS = (
    Room("brokerctl.oauth.flows", "FLOWS", frozenset({"obtain"}), "brokerctl.model"),
    Room("brokerctl.keys", "KEEPERS", frozenset({"make", "fetch", "drop"}), "brokerctl.model"),
    Room("brokerctl.store", "STORES", frozenset({"find_token", "lock_grant"}), "brokerctl.store"),
    Room("brokerctl.helpers", "HELPERS", frozenset({"read", "answer"}), "brokerctl.helpers"),
    Room("brokerctl.identity", "PLATFORMS", frozenset({"ask"}), "brokerctl.config.platforms"),
    Room("brokerctl.cli", "COMMANDS", frozenset({"register"}), "brokerctl.cli.app"),
)


def table_of(room: Room) -> dict[str, str]:
    """Return the table's entries as `module` or `module:name`."""
    found: dict[str, str | FlowTraits | KeeperTraits | PlatformTraits] = getattr(
        importlib.import_module(room.where), room.table
    )
    return {
        name: one if isinstance(one, str) else f"{room.package}.{one.entry}"
        for name, one in found.items()
    }


def entries() -> list[tuple[Room, str, str]]:
    """Return every entry of every table."""
    return [(room, name, dotted) for room in ROOMS for name, dotted in table_of(room).items()]


def offered(room: Room, source: Source) -> list[str]:
    """Return what a file offers to the table: classes with the interface, or a `register`."""
    tops = [node for node in source.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    found = []
    for node in tops:
        if isinstance(node, ast.FunctionDef):
            has = {node.name}
        else:
            if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
                continue  # the interface itself
            has = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        if room.methods <= has:
            found.append(node.name)
    return found


def test_an_entry_resolves_and_stays_in_its_room() -> None:
    """Every table entry names a thing of its own room that has the room's interface."""
    for room, name, dotted in entries():
        module, _, attribute = dotted.partition(":")
        assert module.startswith(f"{room.package}."), f"{name} leads out of its room"
        found = importlib.import_module(module)
        if attribute:
            found = getattr(found, attribute)
        assert all(callable(getattr(found, method, None)) for method in room.methods), dotted


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.table)
def test_no_file_is_missing_from_its_table(room: Room) -> None:
    """A flow, keeper, store or command whose file is not in the table would never be found."""
    wanted = set()
    for source in sources("src/" + room.package.replace(".", "/")):
        if source.module == room.package:
            continue  # where the interface and the table are
        for name in offered(room, source):
            wanted.add(source.module if name == "register" else f"{source.module}:{name}")
    assert wanted == set(table_of(room).values())


def test_scripts_are_one_text() -> None:
    """They differ in the helper that their name says, and in nothing else."""
    told = {}
    for name in sorted(os.listdir("bin")):
        text = read(f"bin/{name}")
        if name != "brokerctl":
            words = re.findall(r'helper (\w+) "', text)
            told[name] = words[0]
            assert text.replace(f'helper {words[0]} "', "") == one_text()
    assert set(told.values()) <= set(HELPERS)
    listed = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert listed["shared-scripts"] == {f"bin/{name}": name for name in os.listdir("bin")}


def one_text() -> str:
    """Return what all scripts of helpers have in common."""
    return read("bin/git-credential-brokerctl").replace('helper git "', "")


def test_no_key_is_here_and_to_come() -> None:
    """What the configuration takes is not refused as what it will take."""
    assert not set(fields.PROFILE) & fields.LATER_PROFILE


def test_every_entry_has_its_paper() -> None:
    """A flow or keeper is in docs/configuration.md, a command has a man page."""
    configuration = read("docs/configuration.md")
    for room, name, _ in entries():
        if room.table == "COMMANDS":
            assert read(f"man/brokerctl-{name}.1").startswith('.\\"')
        elif room.table == "HELPERS":
            assert read(f"docs/helpers/{name}.md").startswith("# ")
            assert f"(helpers/{name}.md)" in read("docs/index.md")
            page = read(f"docs/helpers/{name}.md")
            assert "\n## Certificates\n" in page, name
            for variable, _ in VARIABLES.get(name, ()):
                assert variable.replace("*", "NAME").lower() in page.lower(), variable
        elif room.table != "STORES":
            assert f"`{name}`" in configuration, name


def test_every_outcome_is_tried_by_the_helpers_contract() -> None:
    """What a helper can be asked to answer, each kind of it, is answered by every tool there."""
    kinds = [one for one in vars(outcomes).values() if isinstance(one, type)]
    own = [one for one in kinds if one.__module__ == outcomes.__name__]
    leaves = {one for one in own if not any(one in other.__bases__ for other in own)}
    assert {type(one) for one in OUTCOMES.values()} == leaves


def test_every_implementation_keeps_its_room_s_contract() -> None:
    """Each flow, helper, keeper and store has a subclass of its room's contract test."""
    bases = [
        base.id
        for source in sources("tests/contracts")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Name)
    ]
    tables: dict[str, Sized] = {
        "Flow": FLOWS,
        "Helper": HELPERS,
        "Keeper": KEEPERS,
        "Platform": PLATFORMS,
        "Store": STORES,
    }
    kept = {name: bases.count(f"{name}Contract") for name in tables}
    assert kept == {name: len(table) for name, table in tables.items()}


# Who starts a program, and which row of `programs.PROGRAMS` says what of our environment it gets.
STARTERS = {
    "brokerctl.doctor.program": "brokerctl",
    "brokerctl.platform.commands": "its caller's: issuer and references, below",
    "brokerctl.broker.channels": "approve",
    "brokerctl.broker.issuer": "identity",
    "brokerctl.config.references": "keyring secret",
    "brokerctl.demo.stage": "none: an environment made for the play",
    "brokerctl.effects.browser": "browser",
    "brokerctl.effects.workload_api": "workload_api",
    "brokerctl.helpers.shadow": "git git_anywhere",
    "brokerctl.keyring_backend": "none: it imports nothing of ours, and what it runs is brokerctl",
    "brokerctl.keys.keyring": "keyring",
    "brokerctl.session.child": "none: the user's own command",
    "brokerctl.session.supervise": "none: a fork of ours",
}
STARTS = re.compile(
    r"(subprocess\.(run|Popen|call|check_\w+|getoutput|getstatusoutput)"
    r"|os\.(posix_spawnp?|exec\w+|fork\w*|spawn\w+|system|popen)|pty\.\w+|run_bounded"
    r"|(click|typer)\.(edit|launch)|webbrowser\.\w+)"
)


def called(source: Source) -> set[str]:
    """Return the dotted names that a file calls."""
    return {ast.unparse(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}


def test_every_starter_of_programs_has_its_row() -> None:
    """Security: what a program gets of our environment is said in one table, for every program."""
    found, used = set(), {}
    for source in sources("src"):
        if any(STARTS.fullmatch(name) for name in called(source)):
            found.add(source.module)
        rows = re.findall(r'environ_for\(\s*"(\w+)"', source.text)
        if rows:
            used[source.module] = set(rows)
    assert found == set(STARTERS) - {"brokerctl.broker.issuer"}  # it asks `references` to
    named = {
        module: set(rows.split())
        for module, rows in STARTERS.items()
        if set(rows.split()) <= PROGRAMS.keys()
    }
    assert used == named
    assert set().union(*used.values()) == set(PROGRAMS)


def compared_flows(source: Source) -> list[str]:
    """Return where a flow is told from others by its name."""
    compares = [node for node in ast.walk(source.tree) if isinstance(node, ast.Compare)]
    return [
        f"{source.path}:{node.lineno}"
        for node in compares
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and one.value in FLOWS
    ]


def test_no_trait_of_a_flow_is_asked_by_its_name() -> None:
    """What tells flows apart stands in their table, so that a new one has no second list."""
    own = ("src/brokerctl/oauth/flows/", "src/brokerctl/demo/")
    rooms = [source for source in sources("src") if not source.path.startswith(own)]
    assert not [place for source in rooms for place in compared_flows(source)]


def named_keepers(source: Source) -> list[str]:
    """Return where a keeper's name stands in the room of keys, or is compared with a keeper."""
    is_room = source.path.startswith("src/brokerctl/keys/")
    return [
        f"{source.path}:{one.lineno}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Compare | ast.Call)
        if is_room or (isinstance(node, ast.Compare) and "keeper" in ast.unparse(node))
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and one.value in KEEPERS
    ]


def test_no_trait_of_a_keeper_is_asked_by_its_name() -> None:
    """What tells keepers apart stands in their table, or in the keeper's own file."""
    own = {f"src/brokerctl/keys/{one.entry.partition(':')[0]}.py" for one in KEEPERS.values()}
    rooms = [source for source in sources("src") if source.path not in own]
    assert not [place for source in rooms for place in named_keepers(source)]


def compared_tools(source: Source) -> list[str]:
    """Return where a tool is told from others by its name; a keyring is a keeper, too."""
    return [
        f"{source.path}:{node.lineno}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Compare)
        for one in (node.left, *node.comparators)
        if isinstance(one, ast.Constant) and one.value in SETUPS.keys() - {"keyring"}
    ]


def test_no_trait_of_a_tool_is_asked_by_its_name() -> None:
    """What tells tools apart stands in their table, or in the tool's own folder."""
    rooms = [source for source in sources("src") if source.path.count("/") < 4]  # no tool's folder
    assert not [place for source in rooms for place in compared_tools(source)]


def test_every_set_up_is_where_its_table_says() -> None:
    """And two tools share no alias."""
    assert all(find_setup(name)[0] == name for name in SETUPS)
    aliases = [alias for tool in SETUPS.values() for alias in tool.aliases]
    assert len({*aliases, *SETUPS}) == len(aliases) + len(SETUPS)
    assert all(find_setup(alias)[0] in SETUPS for alias in aliases)


CLOUDS = frozenset({"aws", "gcp"})  # whose programs the README does not name one by one


def rows_of(path: str, heading: str) -> list[str]:
    """Return the rows of the Markdown table that has this heading."""
    before, found, after = read(path).partition(f"\n{heading}\n")
    assert before
    assert found, f"{path} has no such table"
    return after.partition("\n\n")[0].splitlines()[1:]


def page_of(tool: str) -> str:
    """Return the page in docs/helpers that is about a tool: podman has docker's protocol."""
    has_own = os.path.exists(os.path.join(ROOT, f"docs/helpers/{tool}.md"))
    return tool if has_own else SETUPS[tool].kept_by or tool


def test_the_readme_s_table_of_tools_is_that_of_set_ups() -> None:
    """Each tool has its page in one row, with the programs that are set up with it."""
    rows = rows_of("README.md", "| tool | by | tried with |")
    linked = [page for row in rows for page in re.findall(r"\(docs/helpers/(\w+)\.md\)", row)]
    assert sorted(linked) == sorted({page_of(tool) for tool in [*SETUPS, *HELPERS]})
    for name, tool in SETUPS.items():
        (row,) = [one for one in rows if f"(docs/helpers/{page_of(name)}.md)" in one]
        shown = " ".join(re.findall(r"\[([^]]+)\]", row.split("|")[1])).lower()
        missing = [one for one in tool.aliases if one not in shown]
        assert not missing or name in CLOUDS, f"{name}: its row lacks {missing}"


def test_the_table_of_keepers_in_docs_is_theirs() -> None:
    """Each keeper, for how long the kernel has its key, and the variable that gives it."""
    rows = rows_of("docs/files.md", "| keeper | the key is | it protects against |")
    listed = {row.split("`")[1]: row for row in rows}
    assert len(listed) == len(rows)
    assert listed.keys() == KEEPERS.keys()
    assert f"`{'|'.join(KEEPERS)}`" in read("README.md")
    for name, one in KEEPERS.items():
        said = re.findall(r"by the kernel for (\d+) h", listed[name])
        assert said == ([] if one.cached_for_s is None else [f"{one.cached_for_s // 3600}"]), name
        assert one.is_given is (f"`{one.variable}_FILE`" in listed[name]), name
        assert one.lies_beside is ("`v1/keys/`" in listed[name]), name


def test_what_is_known_of_tools() -> None:
    """Their programs' own names, whose credentials can be kept and who asks for every host."""
    aliases = {alias: name for name, tool in SETUPS.items() for alias in tool.aliases}
    assert aliases == {
        "awscli": "aws",
        "boto3": "aws",
        "buildah": "podman",
        "go": "goauth",
        "google-auth": "gcp",
        "kubectl": "kubernetes",
        "poetry": "keyring",
        "skopeo": "podman",
        "tofu": "terraform",
        "twine": "keyring",
    }
    kept = {name: tool.kept_by for name, tool in SETUPS.items() if tool.kept_by}
    assert kept == {"cargo": "cargo", "docker": "docker", "git": "git", "podman": "docker"}
    asking = {name for name, tool in SETUPS.items() if tool.asks_for_all}
    assert asking == {"goauth", "keyring", "pip", "terraform", "uv", "vault"}


def test_every_check_of_doctor_is_in_one_of_its_two_tables() -> None:
    """A file with a `check` that no table names would never be run."""
    rows = {**EARLY, **CHECKS}
    assert len(rows) == len(EARLY) + len(CHECKS)
    files = {
        f"{source.module}:check"
        for source in sources("src/brokerctl/doctor")
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "check"
    }
    assert files == set(rows.values())
    for dotted in rows.values():
        module, _, name = dotted.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_what_is_queued_for_revocation_is_made_in_one_place() -> None:
    """Each item has its fingerprint, its hint and its times from there, so that all are alike."""
    makers = {source.module for source in sources("src") if "Queued" in called(source)}
    assert makers == {"brokerctl.store.slots"}


def test_a_store_is_opened_by_its_name() -> None:
    """The table of stores is what opens one: nobody outside of the room imports a store's class."""
    classes = {dotted.partition(":")[0] for dotted in STORES.values()}
    for source in sources("src"):
        if not source.path.startswith("src/brokerctl/store/"):
            assert not imported_at_start(source) & classes, source.path
    assert [source.path for source in sources("src") if "find_store(" in source.text] == [
        "src/brokerctl/home.py",
        "src/brokerctl/session/inner_session.py",
        "src/brokerctl/store/__init__.py",
    ]
