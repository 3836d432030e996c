"""docs/json.schema.json has every answer of --json, and refuses what is none."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import checkup
from brokerctl.config import fields
from brokerctl.errors import BrokerError
from brokerctl.store.envelope import KIND_NAMES
from brokerctl.store.maintenance import GcReport
from brokerctl.store.reading import PLACES
from tests.answers import definition_of, find_faults, read_document, read_examples
from tests.house.source import ROOT, read
from tests.schema import Schema, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = read_document()
DEFS = DOCUMENT["$defs"]
ANSWERS = [part["$ref"].removeprefix("#/$defs/") for part in DOCUMENT["anyOf"]]
EXAMPLES = {command: json.loads(text) for command, text in read_examples().items()}
# One value of each type, as JSON has them.
VALUES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "number": 7.5,
    "string": "?",
    "array": [],
    "object": {},
}
# A new key of `profile show` is a setting, of a map of counts it is a count; else it is anything.
SETTING = {"value": "x", "origin": "default", "place": None}
# What can be missing: what only some records or errors say, and settings that a profile has not.
OPTIONAL = re.compile(r"\.requester\.(pid|exe|parents|ci)|\.values\.(?!flow|issuer|client_id)\w+")
# What a setting has is as the configuration has it: of any type, but never null.
SETTING_VALUE = re.compile(r"\.value(\[\d+\])?$")
# What can be null. A key that joins them is a change that every reader of answers has to know of.
NULLABLE = {
    *("aside", "boot", "ci", "damage", "exe", "expires_at", "expires_in"),
    *("fingerprint", "hint", "issued_at", "issuer", "issuer_expires_at", "key", "owner", "pid_ns"),
    *("place", "profile", "reason", "requester", "resealed", "revocations_queued_for", "session"),
    *("start_ratio", "sub", "subject", "todo", "unlocked_for", "until", "proven", "parents"),
}


def schema() -> Schema:
    """Return the schema, which raises here for whatever we can't judge."""
    return Schema(DOCUMENT)


def kind_of(value: object) -> str:
    """Return the type of a JSON value."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")


def places(value: Any, at: str = "$") -> Iterator[tuple[str, Any, Any, Any]]:  # noqa: ANN401 - JSON has any type
    """Yield every place below a value: its path, its container, its key there, what is there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        path = f"{at}.{key}" if isinstance(value, dict) else f"{at}[{key}]"
        yield path, value, key, inner
        if isinstance(inner, dict | list):
            yield from places(inner, path)


def test_each_definition_says_what_it_is() -> None:
    """The file is of the draft that it names, and has a sentence for whoever reads a definition."""
    assert DOCUMENT["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    schema()
    assert not [name for name, one in DEFS.items() if not one.get("description", "").endswith(".")]


def test_a_required_key_is_spelled_as_its_property() -> None:
    """What is required is described, what is described is required, and nothing is forbidden."""
    for one in walk(DOCUMENT):
        described, required = set(one.get("properties", {})), set(one.get("required", []))
        assert one.get("additionalProperties") is not False
        if "type" in one and "additionalProperties" not in one:
            assert required <= described, one
        is_open = one in (DEFS["record"], DEFS["requester-or-null"])
        if required and not is_open and "additionalProperties" not in one:
            assert described - required <= {"rule"} or "event" in described, one


def test_every_command_with_json_has_its_definition() -> None:
    """Each command whose manual names --json is there under its words, and nothing else is."""
    named = set()
    for page in os.listdir(os.path.join(ROOT, "man")):
        command = page.removesuffix(".1").removeprefix("brokerctl-")
        text = read(f"man/{page}")
        parts = re.split(r'^\.SH "?(.+?)"?$', text, flags=re.MULTILINE)[1:]
        for title, body in zip(parts[::2], parts[1::2], strict=True):
            if re.search(r"^\.B \\-\\-json$", body, re.MULTILINE):
                is_group = title.lower().startswith(f"{command} ")
                named.add(title.lower().replace(" ", "-") if is_group else command)
    assert named | {"error", "trust-list", "trust-remove"} == set(ANSWERS)
    assert {definition_of(command) for command in EXAMPLES} == set(ANSWERS)


def test_no_definition_lies_idle() -> None:
    """What is no command's answer is a part of one."""
    used, new = set(), set(ANSWERS)
    while new:
        used |= new
        found = [one.get("$ref", "") for name in new for one in walk(DEFS[name])]
        new = {name.removeprefix("#/$defs/") for name in found if name} - used
    assert used == set(DEFS)


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_example_fits(command: str) -> None:
    """What the page shows is what the schema says; new keys can appear anywhere."""
    assert find_faults(schema(), command, EXAMPLES[command]) == []
    grown = json.loads(json.dumps(EXAMPLES[command]))
    for inner in [one for *_, one in places({"all": grown}) if isinstance(one, dict)]:
        inner["x_new"] = 1 if "grant" in inner or "locks" in inner else SETTING
    assert find_faults(schema(), command, grown) == []


@pytest.mark.parametrize("command", EXAMPLES)
def test_a_missing_key_is_refused(command: str) -> None:
    """Each key of each example is required, at any depth, but those that can be missing."""
    answer, judge, taken = EXAMPLES[command], schema(), []
    for path, container, key, inner in places(answer):
        if isinstance(container, dict):
            kept = dict(container)
            del container[key]
            if not judge.faults(answer, definition_of(command)) and not OPTIONAL.search(path):
                taken.append(path)
            container.clear()
            container.update(kept)
        assert inner is container[key]
    assert not taken


@pytest.mark.parametrize("command", EXAMPLES)
def test_a_wrong_type_is_refused(command: str) -> None:
    """Each value of each example has one type, and beside it null where that can be."""
    answer, judge, taken = EXAMPLES[command], schema(), []
    for path, container, key, inner in places(answer):
        kinds = set()
        for kind, value in VALUES.items():
            container[key] = value
            if kind != kind_of(inner) and not judge.faults(answer, definition_of(command)):
                kinds.add(kind)
        container[key] = inner
        if not may_be(path, inner, kinds):
            taken.append((path, sorted(kinds)))
    assert not taken


def may_be(path: str, inner: object, kinds: set[str]) -> bool:
    """Say whether a place may take these types beside the one of its example."""
    if found := SETTING_VALUE.search(path):
        return bool(found[1]) or "null" not in kinds
    if inner is None:  # an example that shows no type: there is one, and every integer is a number
        return len(kinds - {"integer"} if "number" in kinds else kinds) <= 1
    name = re.sub(r"(\[\d+\])+$", "", path).rpartition(".")[2]
    return kinds <= ({"null"} if name in NULLABLE else set())


def pairs() -> set[tuple[int, str]]:
    """Return code and name of every error of the program."""
    found, new = set(), [BrokerError]
    while new:
        error = new.pop()
        found.add((error.exit_code, error.name))
        new += error.__subclasses__()
    return found


def test_errors_are_those_of_the_program() -> None:
    """A name goes with its exit code alone, and both are those of the tree of errors."""
    answer = json.loads(json.dumps(EXAMPLES["error"]))
    right = set()
    for code in range(12):
        for name in {name for _, name in pairs()} | {"other"}:
            answer["error"].update(code=code, name=name)
            right |= set() if schema().faults(answer, "error") else {(code, name)}
    assert right == pairs()


def test_closed_values_are_those_of_the_program() -> None:
    """Where the program has a table of the values, the schema has the same."""
    part = DEFS["store-check"]["properties"]["entries"]
    assert set(part["required"]) == {KIND_NAMES[kind] for kind in PLACES}
    part = DEFS["store-gc"]["properties"]["removed"]
    assert set(part["required"]) == set(GcReport._fields)
    part = DEFS["store-backup"]["properties"]["outside"]["items"]["properties"]["kind"]
    assert set(part["enum"]) == set(fields.REFERENCE_KINDS)
    part = DEFS["doctor"]["properties"]["findings"]["items"]["properties"]["state"]
    assert part["enum"] == [checkup.OK, checkup.WARNING, checkup.PROBLEM]
