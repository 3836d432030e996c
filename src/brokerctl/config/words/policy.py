"""The words of `[policy]` and `[[policy.rule]]`, checked: file, line, column, nearest key.

What is refused here every command refuses (contract, section 4): a rule that was misread would be
one that nobody wrote.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from brokerctl.config.duration import parse_duration
from brokerctl.config.hosts import parse_url
from brokerctl.config.rules import (
    AGE,
    CONDITIONS,
    DEFAULT_DENY,
    DEFAULT_PROFILE,
    DENY,
    EFFECTS,
    FLAG,
    GIVEN,
    NARROWED,
    NUMBER,
    PATTERN,
    Rule,
    RuleLayer,
)
from brokerctl.config.rules import ASK as ASKED
from brokerctl.config.source import check_keys, checked, get_table
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.config.rules import ConditionTraits
    from brokerctl.config.source import Source

_KEYS = ("name", "when", "effect", *NARROWED, "max_ttl", "uses", "rate", "reason")
_TEXT_CHARS, _ITEM_CHARS, _MAX_ITEMS, _MAX_RULES = 200, 1024, 256, 10_000
_MOST_USES, _DAY_MIN, _HOUR_MIN = 1_000_000, 24 * 60, 60
_MOST_UID = 2**32 - 1
_SPAN = re.compile(r"([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])", re.ASCII)
_RATE = re.compile(r"([1-9][0-9]{0,5})/([0-9]+[smhd])", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
_PROFILE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\*?|\*", re.ASCII)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}", re.ASCII)


def read_layer(source: Source, scope: Callable[[object], Any]) -> RuleLayer | None:
    """Return a file's policy; None where it has no rule: a default alone does not vote.

    `scope` checks a list of scopes. Raises UsageError with the place.
    """
    table = get_table(source, "policy")
    check_keys(source, ("policy",), ("rule", "default")) if table else None
    rules = table.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise source.error(("policy", "rule"), "rule must be tables, as in [[policy.rule]]")
    default = None
    if "default" in table:
        default = checked(source, ("policy", "default"), _default, table["default"])
    if not rules:
        return None
    if len(rules) > _MAX_RULES:
        raise source.error(("policy", "rule"), f"has more than {_MAX_RULES} rules")
    if default is None:
        hint = (
            f'put default = "{DEFAULT_DENY}" into [policy], or default = "{DEFAULT_PROFILE}" for'
            " the profile's own limits"
        )
        raise source.error(("policy", "rule", 0), "a policy with a rule needs a default", hint)
    return RuleLayer(label=source.label, default=default, rules=_read_rules(source, rules, scope))


def _read_rules(
    source: Source, rules: list[dict[str, Any]], scope: Callable[[object], Any]
) -> tuple[Rule, ...]:
    found: list[Rule] = []
    names: set[str] = set()
    for number, table in enumerate(rules):
        where = ("policy", "rule", number)
        rule = _Reader(source, where, table, scope).read()
        if rule.name in names:
            raise source.error((*where, "name"), f"two rules are named '{rule.name}'")
        names.add(rule.name)
        found.append(rule)
    return tuple(found)


class _Reader:
    """Reads one rule, whose place in the file is `where`."""

    def __init__(
        self,
        source: Source,
        where: tuple[str | int, ...],
        table: dict[str, Any],
        scope: Callable[[object], Any],
    ) -> None:
        self.source, self.where, self.table = source, where, table
        self.scope = scope

    def read(self) -> Rule:
        check_keys(self.source, self.where, _KEYS)
        for key in ("name", "effect"):
            if key not in self.table:
                raise self._error(key, f"{key} is missing")
        rule = Rule(
            name=self._value("name", _text),
            effect=self._value("effect", _one_of(*EFFECTS)),
            when=self._conditions(),
            scopes=self._value("scopes", self.scope),
            resource=self._value("resource", _items),
            audience=self._value("audience", _items),
            max_ttl_s=self._value("max_ttl", _seconds),
            uses=self._value("uses", _uses),
            rate=self._value("rate", _rate),
            reason=self._value("reason", _text),
        )
        self._check(rule)
        return rule

    def _check(self, rule: Rule) -> None:
        if rule.effect == DENY:
            for key in (*NARROWED, "max_ttl", "uses", "rate"):
                if key in self.table:
                    raise self._error(key, f"a rule that denies has no {key}")
        for key in NARROWED:
            if self.table.get(key) == []:
                raise self._error(key, f'{key}: nothing would be left; use effect = "deny"')
        is_counted = rule.effect == ASKED or rule.when.get("session") or "agent" in rule.when
        for key in ("uses", "rate"):
            if key in self.table and not is_counted:
                hint = 'put session = true into when, or use effect = "ask"'
                raise self._error(key, f"{key} are counted in a session or a lease alone", hint)

    def _value(self, key: str, check: Callable[[object], Any]) -> Any:  # noqa: ANN401 - the check says
        if key not in self.table:
            return None
        return checked(self.source, (*self.where, key), check, self.table[key])

    def _conditions(self) -> dict[str, Any]:
        if "when" not in self.table:
            return {}
        where = (*self.where, "when")
        table = self.table["when"]
        if not isinstance(table, dict):
            raise self._error("when", 'when: must be a table, as in { tool = "git" }')
        check_keys(self.source, where, CONDITIONS)
        found = {
            key: checked(self.source, (*where, key), _check_of(CONDITIONS[key]), value)
            for key, value in table.items()
        }
        return {key: found[key] for key in CONDITIONS if key in found}

    def _error(self, key: str, message: str, hint: str | None = None) -> UsageError:
        return self.source.error((*self.where, key), message, hint)


def _check_of(condition: ConditionTraits) -> Callable[[object], Any]:
    if condition.kind == FLAG:
        return _flag
    if condition.kind == NUMBER:
        return _numbers
    if condition.kind == AGE:
        return _seconds
    shape = _SHAPES.get(condition.shape, _plain)
    if condition.words:
        shape = _one_of(*condition.words)
    elif condition.kind in {PATTERN, GIVEN}:
        shape = _pattern(shape)

    def check(value: object) -> object:
        if condition.kind == GIVEN and isinstance(value, bool):
            return _only_true(value)
        return _list(value, shape)

    return check


def _list(value: object, check: Callable[[str], Any]) -> list[Any]:
    """Return the items of a list, or of the one that stands for itself; in order, each once."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise UsageError('must be a string, or a list of strings as in ["one", "two"]')
    if not 0 < len(found) <= _MAX_ITEMS:
        raise UsageError(f"must have 1 to {_MAX_ITEMS} items")
    return list({repr(item): item for item in map(check, found)}.values())


def _pattern(check: Callable[[str], str]) -> Callable[[str], str]:
    def checked_item(text: str) -> str:
        if "*" in text[:-1]:
            raise UsageError(f"{text[:80]!r}: '*' can only be at the end")
        return check(text)

    return checked_item


def _plain(text: str) -> str:
    if not text or len(text) > _ITEM_CHARS or not text.isprintable():
        raise UsageError(f"an item must be 1 to {_ITEM_CHARS} printable characters")
    return text


def _profile(text: str) -> str:
    if not _PROFILE.fullmatch(text):
        raise UsageError(
            f"{text[:80]!r} can't be the name of a profile, or the begin of one and '*'"
        )
    return text


def _host(text: str) -> str:
    """Return a canonical `host[:port]`; `*` stands for its port, or for any host that is known.

    Security: a host begins with what anybody can choose, so that no other pattern makes sense.
    """
    name, star = (text[:-2], ":*") if text.endswith(":*") else (text, "")
    if text == "*":
        return text
    if "*" in name or "/" in name or "@" in name:
        raise UsageError(
            f"{text[:80]!r} is not host[:port]", hint="write the host; '*' can stand for its port"
        )
    url = parse_url(f"https://{name}")
    if star and url.port != 443:  # noqa: PLR2004 - https' own
        raise UsageError(f"{text[:80]!r} is not host[:port]")
    return url.origin.removeprefix("https://") + star


def _executable(text: str) -> str:
    if not text.startswith("/") and text != "*":
        raise UsageError(f"{text[:80]!r} is not an absolute path")
    return _plain(text)


def _path(text: str) -> str:
    """Return a path to compare by segments: decoded once, without dot segments."""
    if not text.startswith("/") or any(char in text for char in "?#*"):
        raise UsageError(f"{text[:80]!r} is not a path that begins with '/'")
    if _ESCAPE.search(text) or "%" in text:
        raise UsageError(f"{text[:80]!r}: write the path as it is after decoding, without '%'")
    if any(part in {".", ".."} for part in text.split("/")) or "//" in text:
        raise UsageError(f"{text[:80]!r}: a path has no dot segments and no empty ones")
    return _plain(text).rstrip("/") or "/"


def _span(text: str) -> list[int]:
    """Return the minutes of "HH:MM-HH:MM": the first one in it, and the first one after it."""
    found = _SPAN.fullmatch(text)
    if found:
        hours = int(found[1]), int(found[3])
        begin, end = hours[0] * _HOUR_MIN + int(found[2]), hours[1] * _HOUR_MIN + int(found[4])
        if begin < _DAY_MIN and end <= _DAY_MIN:
            return [begin, end]
    raise UsageError(f'{text[:80]!r} is not a time in UTC, as in "08:00-18:30"')


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise UsageError(f"{text[:80]!r} is not {what}")
        return text

    return check


_SHAPES: dict[str, Callable[[str], Any]] = {
    "profile": _profile,
    "host": _host,
    "executable": _executable,
    "path": _path,
    "time": _span,
    "sha256": _matching(_SHA256, "a SHA-256 digest in lower-case hex"),
    "method": _matching(_METHOD, "a method of HTTP in upper case"),
}


def _one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise UsageError(f"must be one of {', '.join(words)}")
        return str(value)

    return check


def _default(value: object) -> str:
    return _one_of(DEFAULT_DENY, DEFAULT_PROFILE)(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_CHARS or not value.isprintable():
        raise UsageError(f"must be 1 to {_TEXT_CHARS} printable characters")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError("must be true or false")
    return value


def _only_true(value: bool) -> bool:  # noqa: FBT001 - a value of TOML
    if not value:
        raise UsageError("can't be false: leave it out, which matches with and without one")
    return value


def _numbers(value: object) -> list[int]:
    found: list[Any] = value if isinstance(value, list) else [value]
    for item in found:
        if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item <= _MOST_UID:
            raise UsageError("must be a user id, or a list of them")
    if not 0 < len(found) <= _MAX_ITEMS:
        raise UsageError(f"must have 1 to {_MAX_ITEMS} items")
    return list(dict.fromkeys(found))


def _items(value: object) -> list[str]:
    if not isinstance(value, list):
        raise UsageError('must be a list of strings, as in ["one", "two"]')
    return sorted(_list(value, _plain)) if value else []


def _seconds(value: object) -> int:
    if not isinstance(value, str):
        raise UsageError('must be a duration, as in "15m"')
    seconds = parse_duration(value)
    if seconds == 0:
        raise UsageError("must be longer than 0")
    return seconds


def _uses(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST_USES:
        raise UsageError(f"must be a number from 1 to {_MOST_USES}")
    return value


def _rate(value: object) -> list[int]:
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise UsageError('must be a number of hand-outs and a duration, as in "10/1m"')
    return [int(found[1]), _seconds(found[2])]
