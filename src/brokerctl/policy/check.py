"""Warns of rules that say something else than they seem to: never read, never true, or evaded.

What can't be meant at all is an error of `config.words.policy`. What is found here is in force, so
each warning names its place and what to write instead.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from brokerctl.config.rules import (
    AGE,
    ALLOW,
    CONDITIONS,
    DEFAULT_PROFILE,
    DENY,
    DIGEST,
    GIVEN,
    NARROWED,
    NUMBER,
    PATH,
    PATTERN,
    TIME,
    WORD,
    can_match,
    matches,
)
from brokerctl.config.source import line_of
from brokerctl.model import Value
from brokerctl.text import any_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from brokerctl.config.rules import Rule, RuleLayer
    from brokerctl.config.source import Source
    from brokerctl.model import Profile

_DAY_MIN = 24 * 60
_STRICTER = {"allow": ("deny", "ask"), "ask": ("deny",), "deny": ()}
# What tells one requester from another, where a machine and not its user says so.
_PROOFS = frozenset(("login_age", *(name for name, one in CONDITIONS.items() if one.is_claim)))
_WHOLE = frozenset((PATTERN, GIVEN, NUMBER, DIGEST, WORD))


class Warned(Value):
    """One thing that is probably not meant; `rule` is None where it is the whole policy."""

    kind: str
    path: str
    line: int
    column: int
    rule: str | None
    message: str
    hint: str | None = None


class Checked(Value):
    """One file's policy; `layer` is None where the file has no rule."""

    source: Source
    layer: RuleLayer | None


def find_warnings(
    files: Iterable[Checked], profiles: Mapping[str, Profile], tools: Iterable[str]
) -> list[Warned]:
    """Return what is found in each file, in the order of its lines.

    `profiles` are all that a rule could be of, and `tools` the names that a requester can have.
    """
    found: list[Warned] = []
    for one in files:
        checking = _Checking(one, profiles, tuple(tools))
        found += sorted(checking.run(), key=lambda warned: (warned.line, warned.column))
    return found


def render_check(files: Iterable[Checked], warnings: list[Warned]) -> dict[str, object]:
    """Return the documented JSON of `policy check --json` (schema 1)."""
    return {
        "schema": 1,
        "files": [
            {
                "path": one.source.path,
                "layer": one.source.label,
                "rules": 0 if one.layer is None else len(one.layer.rules),
            }
            for one in files
        ],
        "warnings": [one.as_dict() for one in warnings],
    }


class _Checking:
    """Looks at one file."""

    def __init__(
        self, checked: Checked, profiles: Mapping[str, Profile], tools: tuple[str, ...]
    ) -> None:
        self.source, self.layer = checked.source, checked.layer
        self.profiles, self.tools = profiles, tools
        self.candidates = _Candidates(() if self.layer is None else self.layer.rules)

    def run(self) -> Iterator[Warned]:
        layer = self.layer
        if layer is None:
            if "default" in self.source.table.get("policy", {}):
                text = "a default without a rule does not vote: nothing is decided by it"
                yield self._warn("no_vote", ("policy", "default"), None, text, "add a rule")
            return
        yield from self._default(layer)
        for number, rule in enumerate(layer.rules):
            for check in _CHECKS:
                yield from check(self, layer, number, rule)

    def _warn(
        self,
        kind: str,
        where: tuple[str | int, ...],
        rule: Rule | None,
        message: str,
        hint: str | None = None,
    ) -> Warned:
        line, column = line_of(self.source, where)
        name = None if rule is None else rule.name
        if name is not None:
            message = f"rule '{name}': {message}"
        return Warned(
            kind=kind,
            path=self.source.path,
            line=line,
            column=column,
            rule=name,
            message=message,
            hint=hint,
        )

    def _default(self, layer: RuleLayer) -> Iterator[Warned]:
        if layer.default != DEFAULT_PROFILE:
            return
        text = 'default = "profile" allows what no rule matches'
        if any(rule.effect == ALLOW for rule in layer.rules):
            text += ", so that a rule that allows can only narrow"
        hint = 'write default = "deny" where the rules are all that is allowed'
        yield self._warn("default_allows", ("policy", "default"), None, text, hint)

    def unreachable(self, layer: RuleLayer, number: int, rule: Rule) -> Iterator[Warned]:
        """A rule that another one always goes before: stricter, or earlier with its effect."""
        for position in self.candidates.find(rule):
            other = layer.rules[position]
            is_before = other.effect == rule.effect and position < number
            if not is_before and other.effect not in _STRICTER[rule.effect]:
                continue
            if not implies(rule, other):
                continue
            is_same = implies(other, rule)
            if is_same and (rule.effect, other.effect) == (ALLOW, DENY):
                kind, text = "contradiction", f"rule '{other.name}' denies the same"
            else:
                kind, text = "unreachable", f"rule '{other.name}' goes before it, always"
            yield self._warn(
                kind, (*_at(number), "name"), rule, text, "change or remove one of them"
            )
            return

    def never(self, _: RuleLayer, number: int, rule: Rule) -> Iterator[Warned]:
        """A condition that nothing can fulfil."""
        for begin, end in rule.when.get("time", ()):
            if begin == end:
                text = "a time that ends when it begins is never"
                where = (*_at(number), "when", "time")
                yield self._warn("never", where, rule, text, 'always is "00:00-24:00"')
        mine = self._profiles_of(rule)
        for name in rule.when:
            why = _never_known(name, mine)
            if why is not None:
                yield self._warn("never", (*_at(number), "when", name), rule, why)
                return  # what is said of one claim holds for all

    def evidence(self, _: RuleLayer, number: int, rule: Rule) -> Iterator[Warned]:
        """A rule whose requester is told by what the same user can say of himself."""
        named = [name for name in rule.when if CONDITIONS[name].is_evidence]
        if named and _PROOFS.isdisjoint(rule.when):
            text = f"rests on {' and '.join(named)} alone, which the same user can imitate"
            hint = "it is a guard rail and evidence, no boundary"
            yield self._warn("evidence", (*_at(number), "when", named[0]), rule, text, hint)

    def repository(self, _: RuleLayer, number: int, rule: Rule) -> Iterator[Warned]:
        """A repository by its name, which somebody else can have later."""
        if "repository" in rule.when and "repository_id" not in rule.when:
            text = "a repository's name can become another's"
            where = (*_at(number), "when", "repository")
            yield self._warn("repository", where, rule, text, "add repository_id")

    def unknown(self, _: RuleLayer, number: int, rule: Rule) -> Iterator[Warned]:
        """A profile, a tool, a scope that there is none of."""
        where, mine = _at(number), self._profiles_of(rule)
        known: dict[str, Iterable[str] | None] = {
            "profile": self.profiles,
            "tool": self.tools,
            "scope": self._known("scopes", mine),
            "resource": self._known("resource", mine),
        }
        for name, words in known.items():
            gone = _find_unknown(rule.when.get(name, ()), words)
            if gone:
                text = f"there is no {name} {gone}"
                hint = "'*' is at least one character more" if "*" in gone else None
                yield self._warn("unknown", (*where, "when", name), rule, text, hint)
        for name in NARROWED:
            gone = _find_unknown(getattr(rule, name) or (), self._known(name, mine))
            if gone:
                text = f"no profile that it could match has {gone} among its {name}"
                yield self._warn("unknown", (*where, name), rule, text)

    def project(self, layer: RuleLayer, number: int, rule: Rule) -> Iterator[Warned]:
        """A rule of a project that changes nothing, since a project can only narrow."""
        is_narrowing = any(
            getattr(rule, name) is not None for name in (*NARROWED, "max_ttl_s", "uses", "rate")
        )
        if layer.label != "project" or rule.effect != ALLOW or is_narrowing:
            return
        later = layer.rules[number + 1 :]
        if layer.default == DEFAULT_PROFILE and not any(one.effect == ALLOW for one in later):
            text = "allows what is allowed without it, and a project can give nothing more"
            yield self._warn("no_effect", (*_at(number), "name"), rule, text)

    def _profiles_of(self, rule: Rule) -> list[Profile]:
        return [one for name, one in self.profiles.items() if can_match(rule, name)]

    def _known(self, field: str, profiles: list[Profile]) -> set[str] | None:
        """Return all scopes, resources or audiences; None where an issuer could have any."""
        if not profiles:
            return None  # the profile is what is unknown
        if field != "audience" and any(one.traits.has_session_policy for one in profiles):
            return None  # a role is narrowed to actions and resources that no profile lists
        if field == "scopes" and any(one.traits.has_levels or not one.scopes for one in profiles):
            return None
        return {word for one in profiles for word in getattr(one, field)}


def _find_unknown(items: Iterable[str], known: Iterable[str] | None) -> str:
    """Return the items that match nothing that is known, as words; "" where each does."""
    if known is None:
        return ""
    words = tuple(known)
    gone = [one for one in items if not any(matches(one, word) for word in words)]
    return any_of(gone) if gone else ""


_CHECKS: tuple[Callable[[_Checking, RuleLayer, int, Rule], Iterator[Warned]], ...] = (
    _Checking.unreachable,
    _Checking.never,
    _Checking.evidence,
    _Checking.repository,
    _Checking.unknown,
    _Checking.project,
)


def _at(number: int) -> tuple[str | int, ...]:
    return ("policy", "rule", number)


def _never_known(name: str, profiles: list[Profile]) -> str | None:
    """Return why a fact is known of none of these profiles; None where it can be."""
    if not profiles:
        return None
    if CONDITIONS[name].is_claim and not any(one.job_source for one in profiles):
        return f"{name} is proven of no job: no profile that it could match exchanges an identity"
    if name == "login_age" and not any(one.traits.needs_person for one in profiles):
        return "no profile that it could match has a person's login"
    return None


class _Candidates:
    """Finds the rules that another one could go before, without comparing each with each.

    A rule is filed under the items of its rarest condition that has whole words alone: what it
    matches has one of these words there. A rule without such a condition is filed under no word.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        words = [_words_of(rule) for rule in rules]
        count = Counter(one for found in words for items in found.values() for one in items)
        self._filed: dict[tuple[str, object] | None, list[int]] = {}
        for position, found in enumerate(words):
            rarest = min(
                found.values(), key=lambda items: sum(count[one] for one in items), default=None
            )
            for key in (None,) if rarest is None else rarest:
                self._filed.setdefault(key, []).append(position)

    def find(self, rule: Rule) -> list[int]:
        """Return the positions of the rules that could match all that this one does."""
        keys = {None, *(items[0] for items in _words_of(rule).values())}
        return sorted({position for key in keys for position in self._filed.get(key, ())})


def _words_of(rule: Rule) -> dict[str, list[tuple[str, object]]]:
    """Return the items of each condition that is a list of whole words; no pattern is one."""
    return {
        name: [(name, item) for item in wanted]
        for name, wanted in rule.when.items()
        if CONDITIONS[name].kind in _WHOLE
        and isinstance(wanted, list)
        and not any(str(item).endswith("*") for item in wanted)
        and not _is_always(name, wanted)
    }


def implies(rule: Rule, other: Rule) -> bool:
    """Return whether `other` matches whatever `rule` does, as far as their words show it."""
    return all(
        name in rule.when and _covers(CONDITIONS[name].kind, wanted, rule.when[name])
        for name, wanted in other.when.items()
        if not _is_always(name, wanted)
    )


def _is_always(name: str, wanted: Any) -> bool:  # noqa: ANN401 - what CONDITIONS says of it
    if name == "time":
        return len(_minutes(wanted)) == _DAY_MIN
    return name == "days" and len(wanted) == len(CONDITIONS[name].words)


def _covers(kind: str, outer: Any, inner: Any) -> bool:  # noqa: ANN401 - as above
    """Return whether one condition holds wherever another of the same name does."""
    if kind == AGE:
        return bool(inner <= outer)
    if kind == TIME:
        return _minutes(inner) <= _minutes(outer)
    if isinstance(outer, bool) or isinstance(inner, bool):
        return outer is inner or (kind == GIVEN and outer is True)
    item_covers = {PATTERN: _pattern_covers, GIVEN: _pattern_covers, PATH: _path_covers}.get(
        kind, lambda one, two: one == two
    )
    return all(any(item_covers(one, two) for one in outer) for two in inner)


def _pattern_covers(outer: str, inner: str) -> bool:
    if inner.endswith("*") and outer.endswith("*"):
        return inner[:-1].startswith(outer[:-1])
    return outer == inner or (not inner.endswith("*") and matches(outer, inner))


def _path_covers(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def _minutes(spans: list[list[int]]) -> frozenset[int]:
    found: set[int] = set()
    for begin, end in spans:
        found |= set(range(begin, end) if begin <= end else (*range(begin, _DAY_MIN), *range(end)))
    return frozenset(found)
