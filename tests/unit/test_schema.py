"""The small JSON Schema validator of the tests says what the draft says, or that it can't."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schema import Schema, SchemaError

NUMBERS = {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 3}]}
TREE = {"type": "object", "required": ["n"], "properties": {"below": {"$ref": "#/$defs/tree"}}}

# A schema, what fits it, what does not.
CASES: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "nothing is asked": ({}, [None, 1, "", [], {}], []),
    "a type": ({"type": "string"}, ["", "a"], [None, 1, True, [], {}]),
    "an integer": ({"type": "integer"}, [0, -1, 1.0], [True, 1.5, "1", None]),
    "a number": ({"type": "number"}, [0, 1.5], [True, "1"]),
    "a boolean": ({"type": "boolean"}, [True, False], [0, 1, None, "true"]),
    "two types": ({"type": ["object", "null"]}, [None, {}], [[], 0, False]),
    "an enumeration": ({"enum": ["a", 1]}, ["a", 1, 1.0], ["b", True, None, ["a"]]),
    "a constant": ({"const": [1, {"a": True}]}, [[1, {"a": True}]], [[1, {"a": 1}], [1], 1, None]),
    "required keys": ({"required": ["a"]}, [{"a": None}, [], 1], [{}, {"b": 1}]),
    "properties": ({"properties": {"a": {"type": "null"}}}, [{}, {"b": 1}, []], [{"a": 0}]),
    "no others": (
        {"properties": {"a": {}}, "additionalProperties": False},
        [{}, {"a": 1}, "b"],
        [{"b": 1}],
    ),
    "others": (
        {"properties": {"a": {}}, "additionalProperties": {"const": 1}},
        [{"a": "x", "b": 1}],
        [{"b": "x"}],
    ),
    "any others": ({"additionalProperties": True}, [{"a": 1}], []),
    "names": ({"propertyNames": {"pattern": "^a"}}, [{"ab": 1}, "b"], [{"ba": 1}]),
    "few keys": ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}, []], [{}, {"a": 1, "b": 2}]),
    "items": ({"items": {"type": "string"}}, [[], ["a"], "a"], [["a", 1], [None]]),
    "a pattern": ({"pattern": "b$"}, ["b", "ab", 1, None], ["a", "ba", "b\n"]),
    "a least": ({"minimum": 2}, [2, 2.5, "1", True, None], [1, -1.5]),
    "a time": (
        {"format": "date-time"},
        ["2026-11-24T01:11:30Z", "2026-11-24T01:11:30.000001+01:00", 1],
        ["2026-11-24T01:11:30", "2026-02-30T01:11:30Z", "2026-11-24", "now"],
    ),
    "any of": (NUMBERS, [None, 3], [2, "3", False]),
    "two keywords": ({"type": "string", "pattern": "^a"}, ["ab"], ["b", 1]),
    "a reference": (
        {"$ref": "#/$defs/tree", "$defs": {"tree": TREE}},
        [{"n": 1}, {"n": 1, "below": {"n": 2, "below": {"n": 3}}}],
        [{}, {"n": 1, "below": {"n": 2, "below": {}}}, []],
    ),
    "a reference and more": (
        {"$ref": "#/$defs/tree", "required": ["m"], "$defs": {"tree": TREE}},
        [{"n": 1, "m": 1}],
        [{"n": 1}, {"m": 1}],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_fits_and_what_does_not(case: str) -> None:
    """Each keyword takes and refuses what the draft says, for values of every type."""
    document, right, wrong = CASES[case]
    schema = Schema(document)
    assert [value for value in right if schema.faults(value)] == []
    assert [value for value in wrong if not schema.faults(value)] == []


@pytest.mark.parametrize(
    "part",
    [
        {"maxLength": 3},
        {"type": "text"},
        {"type": ["string", "text"]},
        {"format": "uri"},
        {"pattern": "("},
        {"$ref": "#/$defs/none"},
        {"$ref": "other.json"},
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        lambda part: part,
        lambda part: {"properties": {"a": part}},
        lambda part: {"additionalProperties": part},
        lambda part: {"propertyNames": part},
        lambda part: {"items": part},
        lambda part: {"anyOf": [{}, part]},
        lambda part: {"$defs": {"never used": {"items": part}}},
    ],
)
def test_what_is_not_understood_is_never_skipped(part: dict[str, Any], around: Any) -> None:  # noqa: ANN401 - a function of the table
    """An unknown keyword, type, format or reference is an error, wherever it stands."""
    with pytest.raises(SchemaError):
        Schema(around(part))


@pytest.mark.parametrize("document", [{"items": True}, {"anyOf": ["a"]}, {"properties": {"a": 1}}])
def test_only_an_object_is_a_schema(document: dict[str, Any]) -> None:
    """The draft's `true` and `false` are taken for additionalProperties alone."""
    with pytest.raises(SchemaError):
        Schema(document)


def test_a_fault_says_where_and_shows_no_value() -> None:
    """The path leads to what is wrong; the value could be a token."""
    schema = Schema({"properties": {"a": {"items": {"type": "integer"}}}})
    assert schema.faults({"a": [1, "planted"]}) == ["$.a[1]: str, not integer"]


def test_a_definition_is_judged_by_its_name() -> None:
    """A value for one definition need not fit the whole schema, nor another definition."""
    schema = Schema({"$defs": {"one": {"const": 1}, "two": {"const": 2}}, "enum": []})
    assert schema.faults(1, "one") == []
    assert schema.faults(1, "two") == ["$: int, not 2"]
    assert schema.faults(1) != []
