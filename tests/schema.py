"""A small JSON Schema validator (draft 2020-12): the keywords that our own schemas use, no others.

A keyword that it does not know is an error and is not skipped, wherever in the schema it stands:
what is not looked at would count as right. What it says shows where and never a value, which may
be a token.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[["Schema", Any, Any, str, dict[str, Any]], Iterator[str]]

_REFERENCE = "#/$defs/"
_ANNOTATIONS = ("$schema", "$defs", "title", "description")
_ONE, _MANY, _NAMED = ("items", "propertyNames"), ("anyOf",), ("properties", "$defs")
_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


class SchemaError(ValueError):
    """The schema itself says something that is not understood here."""


class Schema:
    """One schema with its `$defs`; SchemaError for a keyword, type, form or name unknown to us."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._defs: dict[str, Any] = document.get("$defs", {})
        for schema in walk(document):
            self._check(schema)

    def faults(self, value: object, name: str | None = None) -> list[str]:
        """Return where and why a value does not fit; `name` is the definition that it is for."""
        return list(self._judge(value, self._document if name is None else self._defs[name], "$"))

    def _judge(self, value: object, schema: dict[str, Any], at: str) -> Iterator[str]:
        for keyword, rule in schema.items():
            if keyword not in _ANNOTATIONS:
                yield from _CHECKS[keyword](self, value, rule, at, schema)

    def _check(self, schema: dict[str, Any]) -> None:
        unknown = schema.keys() - _CHECKS.keys() - set(_ANNOTATIONS)
        if unknown:
            raise SchemaError(f"keyword {min(unknown)}")
        if "$ref" in schema and schema["$ref"] not in {
            f"{_REFERENCE}{name}" for name in self._defs
        }:
            raise SchemaError(f"$ref {schema['$ref']}")
        if not set(_names(schema.get("type", []))) <= _TYPES.keys():
            raise SchemaError(f"type {schema['type']}")
        if schema.get("format", "date-time") != "date-time":
            raise SchemaError(f"format {schema['format']}")
        _compile(schema.get("pattern", ""))

    def _ref(self, value: object, rule: str, at: str, _: dict[str, Any]) -> Iterator[str]:
        yield from self._judge(value, self._defs[rule.removeprefix(_REFERENCE)], at)

    def _any_of(self, value: object, rule: list[Any], at: str, _: dict[str, Any]) -> Iterator[str]:
        found = [list(self._judge(value, schema, at)) for schema in rule]
        if all(found):
            yield f"{at}: none of anyOf: {min(found, key=len)[0]}"

    def _properties(
        self, value: object, rule: dict[str, Any], at: str, _: dict[str, Any]
    ) -> Iterator[str]:
        if isinstance(value, dict):
            for key in rule.keys() & value.keys():
                yield from self._judge(value[key], rule[key], f"{at}.{key}")

    def _additional(
        self, value: object, rule: object, at: str, schema: dict[str, Any]
    ) -> Iterator[str]:
        if not isinstance(value, dict):
            return
        for key in value.keys() - schema.get("properties", {}).keys():
            if isinstance(rule, dict):
                yield from self._judge(value[key], rule, f"{at}.{key}")
            elif not rule:
                yield f"{at}: there can be no {key!r}"

    def _required(
        self, value: object, rule: list[str], at: str, _: dict[str, Any]
    ) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (f"{at}: no {key!r}" for key in rule if key not in value)

    def _property_names(
        self, value: object, rule: dict[str, Any], at: str, _: dict[str, Any]
    ) -> Iterator[str]:
        for key in value if isinstance(value, dict) else ():
            yield from self._judge(key, rule, f"{at} {key!r}")

    def _items(
        self, value: object, rule: dict[str, Any], at: str, _: dict[str, Any]
    ) -> Iterator[str]:
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from self._judge(item, rule, f"{at}[{index}]")


def walk(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and every schema in it."""
    yield schema
    inner = [schema[word] for word in _ONE if word in schema]
    inner += [one for word in _MANY for one in schema.get(word, [])]
    inner += [one for word in _NAMED for one in schema.get(word, {}).values()]
    if not isinstance(other := schema.get("additionalProperties", True), bool):
        inner.append(other)
    for one in inner:
        if not isinstance(one, dict):
            raise SchemaError(f"{type(one).__name__} where a schema belongs")
        yield from walk(one)


def is_same(one: object, other: object) -> bool:
    """Return whether two values are equal as JSON: true is not 1, and 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return one == other


def is_type(value: object, name: str) -> bool:
    """Return whether a value is of a type: true is no number, and 1.0 is an integer."""
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _names(rule: str | list[str]) -> list[str]:
    return [rule] if isinstance(rule, str) else rule


def _compile(pattern: str) -> re.Pattern[str]:
    """Compile as ECMA 262 has it: `$` is the end alone, and not also a newline before it."""
    try:
        return re.compile(f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern)
    except re.error as error:
        raise SchemaError(f"pattern {pattern}: {error}") from error


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _simple(fits: Callable[[Any, Any], bool], applies: str | None, told: str) -> Check:
    """Make the check of a keyword that looks at one value; others than `applies` always fit."""

    def check(_: Schema, value: object, rule: object, at: str, __: dict[str, Any]) -> Iterator[str]:
        if (applies is None or is_type(value, applies)) and not fits(value, rule):
            yield f"{at}: {type(value).__name__}, {told} {rule}"

    return check


_CHECKS: dict[str, Check] = {
    "$ref": Schema._ref,  # noqa: SLF001 - the table of the class itself
    "anyOf": Schema._any_of,  # noqa: SLF001 - as above
    "properties": Schema._properties,  # noqa: SLF001 - as above
    "additionalProperties": Schema._additional,  # noqa: SLF001 - as above
    "propertyNames": Schema._property_names,  # noqa: SLF001 - as above
    "items": Schema._items,  # noqa: SLF001 - as above
    "type": _simple(lambda value, rule: any(is_type(value, n) for n in _names(rule)), None, "not"),
    "enum": _simple(lambda value, rule: any(is_same(value, one) for one in rule), None, "not in"),
    "const": _simple(is_same, None, "not"),
    "required": Schema._required,  # noqa: SLF001 - as above
    "minProperties": _simple(lambda value, rule: len(value) >= rule, "object", "with fewer than"),
    "maxProperties": _simple(lambda value, rule: len(value) <= rule, "object", "with more than"),
    "minimum": _simple(lambda value, rule: value >= rule, "number", "below"),
    "pattern": _simple(lambda value, rule: bool(_compile(rule).search(value)), "string", "not"),
    "format": _simple(lambda value, _: _is_time(value), "string", "not a"),
}
