"""docs/json.schema.json has every answer of --json, and refuses what is none."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import doctor
from brokerctl.audit.record import render_body
from brokerctl.broker.events import EVENTS
from brokerctl.config import fields
from brokerctl.errors import BrokerError
from brokerctl.store.check import GcReport
from brokerctl.store.entry import KIND_NAMES
from brokerctl.store.file.disk import PLACES
from tests.answers import definition_of, read_document, read_examples
from tests.house.source import ROOT, read
from tests.schema import Schema, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCUMENT = read_document()
NOT_ALWAYS = frozenset(
    ("rule", "expires_at_assumed", "ci", "policy", "facts", "approval", "by", "question", "lease")
)
DEFS = DOCUMENT["$defs"]
ANSWERS = [part["$ref"].removeprefix("#/$defs/") for part in DOCUMENT["anyOf"]]
EXAMPLES = {command: json.loads(text) for command, text in read_examples().items()}
RECORD = EXAMPLES["audit log --limit 1 --json"]
PROBLEM = {
    "kind": "edited",
    "segment": "log-1",
    "line": 1,
    "offset": 0,
    "after": 0,
    "digest": RECORD["mac"],
    "message": "1 line was edited",
}
DAMAGE = {"kind": "token", "name": "ab/cd", "why": "it was cut", "aside": None}
# What the page's examples have no room for, by the definition that it belongs to.
MORE: dict[str, list[dict[str, Any]]] = {
    "get": [EXAMPLES["get person --json"] | {"expires_at_assumed": True}],
    "login": [
        EXAMPLES["login person --json"] | {"expires_at_assumed": True},
        EXAMPLES["login person --json"]
        | {
            "ci": {"platform": "github", "job": "x", "sub": "x", "audience": "x", "kept": False}
            | {"issued_type": "x", "endings": ["revoked"]}
        },
    ],
    "audit-log": [
        {"schema": 1, "damaged": {"segment": "log", "bytes": 0}},
        {key: RECORD[key] for key in ("schema", "v", "seq", "kid", "time", "event")}
        | {key: RECORD[key] for key in ("host", "boot", "pid_ns", "prev", "mac")}
        | {"cut": True},
        RECORD
        | {"error": "x", "reason": "x", "proven": True, "sub": "x", "generation": 1, "url": "x"}
        | {"profiles": ["person"]},
    ],
    "audit-verify": [
        EXAMPLES["audit verify --json"]
        | {"problems": [PROBLEM], "accepted": [PROBLEM]}
        | {"notices": [{"segment": "log", "line": 1, "seq": 1, "message": "a write was cut"}]}
    ],
    "store-check": [EXAMPLES["store check --json"] | {"damaged": [DAMAGE], "aside": ["token-ab"]}],
    "store-backup": [
        EXAMPLES["store backup FILE --json"]
        | {"outside": [{"kind": "env", "name": "X", "profiles": ["person"]}]}
    ],
    "revoke": [
        EXAMPLES["revoke person --verify --json"]
        | {"kept": [{"tool": "git", "url": "smtp://x", "username": "x", "outcome": "kept"}]}
    ],
    "unlock": [{"schema": 1, "keeper": "passphrase", "unlocked_for": 28800}],
    "doctor": [EXAMPLES["doctor --json"] | {"start_ratio": 1.25}],
    "error": [{"schema": 1, "error": EXAMPLES["error"]["error"] | {"rule": "narrowing"}}],
}
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
BAD_TIMES = ("2026-11-24T01:11:30+00:00", "2026-11-31T01:11:30Z", "2026-11-31T01:11:30.000000Z")
# A new key of `profile show` is a setting, of a map of counts it is a count; else it is anything.
SETTING = {"value": "x", "origin": "default", "place": None}
# What can be missing: what only some records or errors say, and settings that a profile has not.
OPTIONAL = {
    "audit-log": r"\.requester\.(pid|exe|parents|ci)"
    r"|\.(error|reason|proven|sub|generation|profiles|url)",
    "profile-show": r"\.values\.(?!flow|issuer|client_id)\w+",
    "error": r"\.error\.rule",
    "doctor-ci": r"\.identities\[\]\.claims\.\w+",
    "get": r"\.expires_at_assumed",
    "login": r"\.(expires_at_assumed|ci)",
}
# What a setting has is as the configuration has it: of any type, but never null. So is a claim.
SETTING_VALUE = re.compile(r"\.value(\[\])?$")
CLAIM = re.compile(r"\.claims\.\w+$")
# What can be null. A key that joins them is a change that every reader of answers has to know of.
NULLABLE = {
    "get": "expires_at expires_in subject",
    "login": "subject sub expires_at job audience issued_type",
    "revoke": "subject until proven reason",
    "status": "subject sub expires_at login_ends_at todo revocations_queued_for kept key damaged",
    "audit-log": "profile subject sub fingerprint size expires_at owner proven requester exe"
    " session issuer_expires_at parents[][] ci boot pid_ns",
    "audit-tokens": "profile issuer subject fingerprint issued_at expires_at session damage",
    "approve-list": "profile subject url max_ttl_s purpose requester uses_left session",
    **dict.fromkeys(("approve-yes", "approve-no"), "profile lease"),
    "session-list": "agent purpose command files child expires_at ended_at",
    "session-show": "agent purpose command files child expires_at ended_at issued_at"
    " narrowed.scopes narrowed.resource narrowed.audience hosts max_ttl_s uses rate",
    "session-end": "signal subject until proven reason",
    "profile-show": "place",
    "profile-show-for": "profile",
    "policy-explain": "max_ttl matched condition",
    "policy-check": "warnings[].rule hint",
    "policy-who": "subject tool agent subject[] tool[] agent[] values[] max_ttl",
    "policy-diff": "changes[].profile agent max_ttl",
    "helper-list": "fault profile",
    "helper-kept": "expires_at kept_until unanswered",
    "unlock": "unlocked_for",
    "store-check": "damaged[].aside",
    "store-rekey": "resealed",
    "doctor": "hint start_ratio",
    "doctor-ci": "fork job sub text note hint",
    "error": "hint",
}
# What is no free text: times, hashes, names, addresses, and words of which there are a few.
FORMED = {
    "get": "expires_at profile issuer",
    "login": "expires_at profile issuer platform endings[]",
    "revoke": "kind fingerprint outcome until tool url",
    "status": "profile issuer flow state expires_at login_ends_at keeper",
    "audit-log": "time event issuer fingerprint expires_at issuer_expires_at session effect"
    " prev mac segment",
    "audit-verify": "kind segment digest",
    "audit-tokens": "kind fingerprint issued_at expires_at status session",
    "profile-list": "name flow issuer from",
    "profile-show": "profile origin place",
    "profile-show-for": "profile name",
    "policy-explain": "profile effect condition",
    "policy-check": "layer kind",
    "policy-test": "effect field",
    "policy-who": "profile flow revoke may[] fact effect",
    "policy-diff": "effect fact",
    "approve-list": "expires_at by profile",
    **dict.fromkeys(("approve-yes", "approve-no"), "answer profile"),
    "session-list": "id state supervisor files started_at expires_at ended_at",
    "session-show": "id state supervisor files started_at expires_at ended_at last_at issued_at"
    " fingerprint status",
    "session-end": "id state supervisor signal kind fingerprint outcome until",
    "trust": "pinned",
    "trust-list": "folder state",
    "trust-remove": "removed",
    "unlock": "keeper",
    "store-check": "kind",
    "store-backup": "kind profiles[]",
    "store-rekey": "keeper",
    "doctor": "state check",
    "doctor-ci": "platforms[] platform profiles[] cloud state check",
    "helper-install": "tool path",
    "helper-uninstall": "tool path",
    "helper-list": "tool path profile",
    "helper-kept": "tool url kept_at expires_at kept_until",
    "error": "name",
}
EXEC_CODES = 125
FIXED = (".schema", ".v", ".error.code")
SAMPLES = [(definition_of(command), answer) for command, answer in EXAMPLES.items()]
SAMPLES += [(name, answer) for name, answers in MORE.items() for answer in answers]
each_sample = pytest.mark.parametrize(("name", "answer"), SAMPLES)


def schema() -> Schema:
    """Return the schema, which raises here for whatever we can't judge."""
    return Schema(DOCUMENT)


def kind_of(value: object) -> str:
    """Return the type of a JSON value."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")


def places(value: Any, at: str = "") -> Iterator[tuple[str, Any, Any, Any]]:  # noqa: ANN401 - JSON has any type
    """Yield every place below a value: its path, its container, its key there, what is there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        path = f"{at}.{key}" if isinstance(value, dict) else f"{at}[]"
        yield path.removeprefix(".all"), value, key, inner
        if isinstance(inner, dict | list):
            yield from places(inner, path)


def tried(name: str, answer: Any) -> Iterator[tuple[str, Any, Callable[[Any], bool]]]:  # noqa: ANN401 - as above
    """Yield every place of an answer, itself too: path, value, and whether another is taken."""
    judge, whole = schema(), {"all": json.loads(json.dumps(answer))}
    for path, container, key, inner in places(whole):

        def is_taken(value: object, container: Any = container, key: Any = key) -> bool:  # noqa: ANN401 - as above
            before, container[key] = container[key], value
            faults = judge.faults(whole["all"], name)
            container[key] = before
            return not faults

        yield path, inner, is_taken


def is_of(path: str, listed: str) -> bool:
    """Return whether a path ends with one of the words of a list."""
    return any(path.endswith(f".{word}") for word in listed.split())


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
            assert described - required <= NOT_ALWAYS or "event" in described, one


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
    assert named | {"error", "profile-show-for", "trust-list", "trust-remove", "doctor-ci"} == set(
        ANSWERS
    )
    assert {definition_of(command) for command in EXAMPLES} == set(ANSWERS)


def test_no_definition_lies_idle() -> None:
    """What is no command's answer is a part of one."""
    used, new = set(), set(ANSWERS)
    while new:
        used |= new
        found = [one.get("$ref", "") for name in new for one in walk(DEFS[name])]
        new = {name.removeprefix("#/$defs/") for name in found if name} - used
    assert used == set(DEFS)


@each_sample
def test_every_example_fits(name: str, answer: dict[str, Any]) -> None:
    """What the page shows is what the schema says; new keys can appear anywhere."""
    assert schema().faults(answer, name) + schema().faults(answer) == []
    grown = json.loads(json.dumps(answer))
    for inner in [one for *_, one in places({"all": grown}) if isinstance(one, dict)]:
        inner["x_new"] = 1 if "grant" in inner or "locks" in inner else SETTING
    assert schema().faults(grown, name) + schema().faults(grown) == []


@each_sample
def test_a_missing_key_is_refused(name: str, answer: dict[str, Any]) -> None:
    """Each key is required, at any depth, but those that can be missing."""
    for path, inner, is_taken in tried(name, answer):
        for key in inner if isinstance(inner, dict) else ():
            can_go = bool(re.fullmatch(OPTIONAL.get(name, ""), f"{path}.{key}"))
            assert is_taken({k: v for k, v in inner.items() if k != key}) is can_go, (path, key)


@each_sample
def test_a_wrong_type_is_refused(name: str, answer: dict[str, Any]) -> None:
    """Each value has one type, beside it null where that can be, and free text only where it is."""
    for path, inner, is_taken in tried(name, answer):
        taken = {kind for kind, value in VALUES.items() if is_taken(value)}
        if CLAIM.search(path):
            assert taken == set(VALUES), path
            continue
        if SETTING_VALUE.search(path):
            assert path.endswith("[]") or "null" not in taken, path
            continue
        assert ("null" in taken) is is_of(path, NULLABLE.get(name, "")), path
        taken -= {"null", "integer"} if "number" in taken else {"null"}
        is_formed = path in FIXED or is_of(path, FORMED.get(name, ""))
        if inner is None:  # no type is shown: there is one all the same
            assert len(taken) == (not is_formed), (path, taken)
        elif isinstance(inner, dict):
            assert taken <= {"object"}, (path, taken)
        else:
            assert taken == (set() if is_formed else {kind_of(inner)}), (path, taken)


@each_sample
def test_a_wrong_form_is_refused(name: str, answer: dict[str, Any]) -> None:
    """No number is negative, no other version is ours, and a time is one of UTC that exists."""
    for path, inner, is_taken in tried(name, answer):
        is_open = SETTING_VALUE.search(path) or CLAIM.search(path)
        if kind_of(inner) in {"integer", "number"} and not is_open:
            assert not is_taken(-1), path
            assert path not in FIXED or not is_taken(inner + 10), path
        if is_of(path, "expires_at time until issued_at issuer_expires_at kept_at"):
            assert not [text for text in BAD_TIMES if is_taken(text)], path


def test_what_is_cut_to_fit_its_line_fits_as_such() -> None:
    """A record of many long fields keeps its own; what is left of the others is not judged."""
    fields = {name: RECORD[name] for name in ("profile", "fingerprint", "scopes", "decision")}
    long = {f"field{number}": "x" * 400 for number in range(60)}
    place = {name: RECORD[name] for name in ("host", "boot", "pid_ns")}
    body = render_body("token.denied", fields | long, 0.0, place)
    record = {key: RECORD[key] for key in ("schema", "v", "seq", "kid", "prev", "mac")}
    record |= json.loads(b"{%s}" % body)
    assert schema().faults(record, "audit-log") == []
    assert schema().faults(record, "record") != []


def pairs() -> set[tuple[int, str]]:
    """Return code and name of every error of the program; `exec` has no JSON for its own three."""
    found, new = set(), [BrokerError]
    while new:
        error = new.pop()
        found.add((error.exit_code, error.name))
        new += error.__subclasses__()
    return {pair for pair in found if pair[0] < EXEC_CODES}


def test_errors_are_those_of_the_program() -> None:
    """A name goes with its exit code alone, and both are those of the tree of errors."""
    answer = json.loads(json.dumps(EXAMPLES["error"]))
    right = set()
    for code in range(12):
        for name in {name for _, name in pairs()} | {"other"}:
            answer["error"].update(code=code, name=name)
            right |= set() if schema().faults(answer, "error") else {(code, name)}
    assert right == pairs()


def test_a_record_s_fields_are_those_of_the_events() -> None:
    """Each has its line, and none is left of an event that has gone."""
    fields = {name for event in EVENTS.values() for name in event}
    own = {"schema", "v", "seq", "kid", "time", "event", "host", "boot", "pid_ns", "prev", "mac"}
    assert set(DEFS["record"]["properties"]) - own == fields


def test_closed_values_are_those_of_the_program() -> None:
    """Where the program has a table of the values, the schema has the same."""
    part = DEFS["store-check"]["properties"]["entries"]
    assert set(part["required"]) == {KIND_NAMES[kind] for kind in PLACES}
    part = DEFS["store-gc"]["properties"]["removed"]
    assert set(part["required"]) == set(GcReport._fields)
    part = DEFS["store-backup"]["properties"]["outside"]["items"]["properties"]["kind"]
    assert set(part["enum"]) == set(fields.REFERENCE_KINDS)
    part = DEFS["finding"]["properties"]["state"]
    assert part["enum"] == [doctor.OK, doctor.WARNING, doctor.PROBLEM]
