"""Cases that a policy is tested by: a request, the facts about it, and what must come of it.

A file of cases is TOML beside the policy. It is read like a configuration, so that an error has
its file, line and column. Facts that a case does not name are not known.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config.duration import parse_duration, render_duration
from brokerctl.config.layers import MAX_LAYER_BYTES, Layer, Layers
from brokerctl.config.rules import CONDITIONS, EFFECTS
from brokerctl.config.source import check_keys, checked, get_table, line_of, parse_layer
from brokerctl.errors import UsageError
from brokerctl.model import Requester, TokenRequest, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.config.source import Source
    from brokerctl.model import Decision

MONDAY_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()  # where a case names no time
LABELS = ("system", "user", "project")
_TEXT_CHARS, _MAX_CASES = 1024, 100_000
_CLAIMS = tuple(name for name, one in CONDITIONS.items() if one.is_claim)
# What a proven job has beside: no rule speaks of it, so it is passed over.
_PASSED_OVER = ("iss", "sub", "job", "audience", "actor", "workflow", "ref")


class Case(Value):
    """One case; `expected` has the fields of a decision that it names."""

    name: str
    line: int
    request: TokenRequest
    facts: dict[str, Any]  # those that cost something, and `fork`
    now: float
    expected: dict[str, Any]


class CaseFile(Value):
    """The cases of one file; `layers` and `source` where it brings policy or profiles itself."""

    path: str
    cases: tuple[Case, ...]
    layers: Layers | None = None
    profiles: Source | None = None


class Difference(Value):
    """One field of a decision that is not as expected, both as text."""

    field: str
    expected: str
    found: str


class CaseResult(Value):
    """What a case got, and what of it is not as expected: () where all is."""

    path: str
    case: Case
    decision: Decision
    differences: tuple[Difference, ...]


def read_cases(path: str) -> CaseFile:
    """Return the cases of a file; UsageError with its place for what can't be read."""
    source = parse_layer(Layer(label="user", path=path, content=read_file(path)))
    assert source is not None  # noqa: S101 - it has content
    check_keys(source, (), ("case", "layers", "profile"))
    tables = source.table.get("case", [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise source.error(("case",), "case must be tables, as in [[case]]")
    if not 0 < len(tables) <= _MAX_CASES:
        raise source.error(("case",), f"a file has 1 to {_MAX_CASES} cases")
    own = {"profile": source.table["profile"]} if "profile" in source.table else None
    return CaseFile(
        path=path,
        cases=tuple(_read_case(source, number) for number in range(len(tables))),
        layers=_read_layers(source),
        profiles=None if own is None else source.replace(table=own),
    )


def _read_layers(source: Source) -> Layers | None:
    """Return the files that stand for the layers in force; a path is from the case's folder."""
    named = get_table(source, "layers")
    if not named:
        return None
    check_keys(source, ("layers",), LABELS)
    files = []
    for label in LABELS:
        if label in named:
            name = checked(source, ("layers", label), _text, named[label])
            path = os.path.join(os.path.dirname(source.path), name)
            files.append(Layer(label=label, path=path, content=read_file(path)))
    return Layers(files=tuple(files))


def _read_case(source: Source, number: int) -> Case:
    where = ("case", number)
    table = source.table["case"][number]
    check_keys(source, where, ("name", "request", "facts", "expect"))
    for key in ("name", "request", "expect"):
        if key not in table:
            raise source.error((*where, key), f"{key} is missing")
    asked = _read_table(source, (*where, "request"), table["request"], _REQUEST)
    if "profile" not in asked:
        raise source.error((*where, "request"), "profile is missing")
    told = table.get("facts")
    facts = {} if told is None else _read_table(source, (*where, "facts"), told, _FACTS)
    expected = _read_table(source, (*where, "expect"), table["expect"], _EXPECTED)
    if not expected:
        raise source.error((*where, "expect"), "nothing is expected")
    return Case(
        name=checked(source, (*where, "name"), _text, table["name"]),
        line=line_of(source, where)[0],
        request=TokenRequest(requester=_requester(facts), **asked),
        facts={name: one for name, one in facts.items() if name in _COSTLY},
        now=facts.get("time", MONDAY_NOON),
        expected=expected,
    )


def _read_table(
    source: Source,
    where: tuple[str | int, ...],
    table: object,
    checks: Mapping[str, Callable[[object], Any]],
) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise source.error(where, f"{where[-1]} must be a table")
    check_keys(source, where, checks)
    return {key: checked(source, (*where, key), checks[key], one) for key, one in table.items()}


def _requester(facts: Mapping[str, Any]) -> Requester:
    agent = facts.get("agent")
    is_session = facts.get("session", agent is not None)
    return Requester(
        uid=facts.get("uid", os.geteuid()),
        pid=0,
        exe=facts.get("exe"),
        parents=tuple((one, None) for one in facts.get("parent", ())),
        tool=facts.get("tool", "get"),
        session="case" if is_session else None,
        agent=agent,
    )


def find_differences(case: Case, decision: Decision) -> list[Difference]:
    """Return what is not as the case expects, in the order of its fields."""
    found = _fields_of(decision)
    return [
        Difference(field=name, expected=_render(name, wanted), found=_render(name, found[name]))
        for name, wanted in case.expected.items()
        if found[name] != wanted
    ]


def _fields_of(decision: Decision) -> dict[str, Any]:
    """Return the fields of a decision by the keys of `expect`."""
    fields = {name: getattr(decision, name) for name in _EXPECTED if name != "max_ttl"}
    return fields | {"max_ttl": decision.max_ttl_s}


def _render(name: str, value: Any) -> str:  # noqa: ANN401 - of a decision's field
    if value is None:
        return "none"
    if name == "max_ttl":
        return render_duration(int(value))
    return (" ".join(value) or "none") if isinstance(value, tuple) else str(value)


def render_results(results: list[CaseResult]) -> dict[str, object]:
    """Return the documented JSON of `policy test --json` (schema 1)."""
    return {
        "schema": 1,
        "passed": sum(not one.differences for one in results),
        "failed": sum(bool(one.differences) for one in results),
        "cases": [
            {
                "path": one.path,
                "line": one.case.line,
                "name": one.case.name,
                "passed": not one.differences,
                "effect": one.decision.effect,
                "rule": one.decision.rule,
                "layer": one.decision.layer,
                "reason": one.decision.reason,
                "differences": [difference.as_dict() for difference in one.differences],
            }
            for one in results
        ],
    }


def read_file(path: str) -> bytes:
    """Return the bytes of a file that a command line names; UsageError where that can't be."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_LAYER_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = os.strerror(getattr(error, "errno", 0) or 0).lower()
        raise UsageError(f"can't read {path}: {reason}") from error
    if len(data) > MAX_LAYER_BYTES:
        raise UsageError(f"{path} is larger than a configuration can be")
    return data


def read_claims(path: str) -> dict[str, Any]:
    """Return the claims of a JSON file by the names of conditions; they are taken as proven."""
    try:
        found = jsonlite.loads(read_file(path))
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no JSON object of claims")
    if "platform" in found:
        found["ci"] = found.pop("platform")
    known = (*_CLAIMS, "fork", *_PASSED_OVER)
    for name in found:
        if name not in known:
            raise UsageError(
                f"{path}: unknown claim '{name[:80]}'", hint=f"known: {', '.join(sorted(known))}"
            )
    try:
        return {
            name: _FACTS[name](_as_text(name, one)) for name, one in found.items() if name in _FACTS
        }
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}") from None


def _as_text(name: str, value: object) -> object:
    """Return a claim as a rule has it: a number is its digits, and fork a flag."""
    if name == "fork":
        return {"true": True, "false": False}.get(str(value).lower(), value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


def parse_time(text: object) -> float:
    """Return the seconds since 1970 of an RFC 3339 time; UsageError for anything else."""
    hint = "as in 2026-03-01T09:00:00Z"
    try:
        found = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
        if found.tzinfo is None:
            raise UsageError(f"'{text}' has no offset from UTC", hint=hint)
        return max(0.0, found.timestamp())
    except (ValueError, OverflowError):
        raise UsageError(f"'{str(text)[:80]}' is no time in RFC 3339", hint=hint) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_CHARS:
        raise UsageError(f"must be 1 to {_TEXT_CHARS} characters")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError('must be a list of strings, as in ["one", "two"]')
    return tuple(sorted({_text(one) for one in value}))


def _ordered(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError('must be a list of strings, as in ["sh", "/usr/bin/make"]')
    return tuple(_text(one) for one in value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError("must be true or false")
    return value


def _uid(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError("must be a user id")
    return value


def _duration(value: object) -> int:
    if not isinstance(value, str):
        raise UsageError('must be a duration, as in "15m"')
    return parse_duration(value)


def _effect(value: object) -> str:
    if value not in (*EFFECTS, "narrow"):  # a list in its place has no hash
        raise UsageError("must be one of allow, narrow, ask, deny")
    return str(value)


_REQUEST: dict[str, Callable[[object], Any]] = {
    "profile": _text,
    "scopes": _texts,
    "resource": _texts,
    "audience": _texts,
    "subject": _text,
    "purpose": _text,
    "url": _text,
}
_FACTS: dict[str, Callable[[object], Any]] = {
    **dict.fromkeys(("tool", "agent", "exe", "exe_sha256", *_CLAIMS), _text),
    **dict.fromkeys(("session", "tty", "fork"), _flag),
    "uid": _uid,
    "parent": _ordered,
    "login_age": _duration,
    "time": parse_time,
}
_COSTLY = {*(name for name, one in CONDITIONS.items() if one.costs), "fork"}
_EXPECTED: dict[str, Callable[[object], Any]] = {
    "effect": _effect,
    **dict.fromkeys(("rule", "layer", "reason"), _text),
    **dict.fromkeys(("scopes", "resource", "audience"), _texts),
    "max_ttl": _duration,
}
