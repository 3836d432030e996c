"""The compiled configuration: what the warm road reads instead of TOML."""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.model import Exchange, Profile, Reference, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
    from typing import Any

    from brokerctl.config.rules import RuleLayer

RULES = "brokerctl.broker.evidence"  # what a decision by rules needs, in the start-up image
_VERSION = 1
_REFERENCES = ("client_secret", "client_key", "identity", "job_source")

_SOURCES = ("subject", "actor")


class Plan(Value):
    """Every profile by name, fully resolved, and the settings."""

    profiles: Mapping[str, Profile]
    keeper: str | None = None  # keys.keeper: what is made at first use
    unlock_for_s: int | None = None  # keys.unlock_for
    rotate_bytes: int | None = None  # audit.rotate
    keep: tuple[str, ...] = ()  # helpers.keep: tools whose own credentials are kept
    approve_wait_s: int | None = None  # approve.wait: how long a question is open
    approve_command: tuple[str, ...] = ()  # approve.command: who answers, in place of a person
    default_profile: str | None = None  # a trusted project's choice
    # A trusted project's narrowing, by profile. It is no part of the profile's own scopes, because
    # those name the grant: a narrowed project uses the grant that its user already has.
    narrowed_scopes: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - a default of a Value, never written to
    policy: tuple[RuleLayer, ...] = ()  # of the layers that have a rule
    policy_digest: str | None = None  # what names those files, where there is a rule
    parts: Parts | None = None  # of a divided plan, whose `profiles` they are

    def narrowed_of(self, name: str) -> tuple[str, ...] | None:
        """Return the scopes of a profile that a trusted project leaves; None: it names none."""
        plan = self if self.parts is None else self.parts.plan_of(name)
        return plan.narrowed_scopes.get(name)

    def policy_of(self, name: str) -> tuple[RuleLayer, ...]:
        """Return the layers with rules, each with those that could match the profile at least."""
        return self.policy if self.parts is None else self.parts.plan_of(name).policy

    def part(self, name: str) -> Plan:
        """Return what the requests for one profile need: it alone, and the rules it could match."""
        narrowed = self.narrowed_scopes.get(name)
        return self.replace(
            profiles={name: self.profiles[name]},
            narrowed_scopes={} if narrowed is None else {name: narrowed},
            policy=self.policy and _rules_for(self.policy, name),
        )


def _rules_for(policy: tuple[RuleLayer, ...], name: str) -> tuple[RuleLayer, ...]:
    from brokerctl.config.rules import can_match  # noqa: PLC0415 - most plans have no rule

    return tuple(
        layer.replace(rules=tuple(rule for rule in layer.rules if can_match(rule, name)))
        for layer in policy
    )


class Parts:
    """The profiles by name, each read when it is asked for; all at once where all are.

    `find` returns a profile's part, None where there is no such profile.
    """

    __slots__ = ("_find", "_found", "_read_whole", "_whole")

    def __init__(
        self, first: Plan, find: Callable[[str], Plan | None], read_whole: Callable[[], Plan]
    ) -> None:
        self._found: dict[str, Plan] = dict.fromkeys(first.profiles, first)
        self._find, self._read_whole = find, read_whole
        self._whole: Plan | None = None

    @property
    def whole(self) -> Plan:
        """The whole plan."""
        if self._whole is None:
            self._whole = self._read_whole()
        return self._whole

    def plan_of(self, name: str) -> Plan:
        """Return the part of a profile; the whole plan for a name that is none's."""
        if self._whole is not None:
            return self._whole
        if name not in self._found:
            part = self._find(name)
            if part is None:
                return self.whole
            self._found[name] = part
        return self._found[name]

    def get(self, name: str, default: Profile | None = None) -> Profile | None:
        """Return a profile."""
        return self.plan_of(name).profiles.get(name, default)

    def __getitem__(self, name: str) -> Profile:
        return self.plan_of(name).profiles[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.plan_of(name).profiles

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole.profiles)

    def __len__(self) -> int:
        return len(self.whole.profiles)

    def keys(self) -> KeysView[str]:
        """Return all names."""
        return self.whole.profiles.keys()

    def values(self) -> ValuesView[Profile]:
        """Return all profiles."""
        return self.whole.profiles.values()

    def items(self) -> ItemsView[str, Profile]:
        """Return all profiles by name."""
        return self.whole.profiles.items()


def default_profile(plan: Plan, environ: Mapping[str, str]) -> str | None:
    """Return the profile that is meant when none is named: environment, else project."""
    return environ.get("BROKERCTL_PROFILE") or plan.default_profile


def render_plan(plan: Plan) -> bytes:
    """Render a plan as JSON; what has its default is left out."""
    body = plan.as_dict()
    body["profiles"] = [_render_profile(profile) for profile in plan.profiles.values()]
    body["v"] = _VERSION
    del body["parts"]
    if plan.policy:
        from brokerctl.config.rules import render_layers  # noqa: PLC0415 - as above

        body["policy"] = render_layers(plan.policy)
    else:
        del body["policy"], body["policy_digest"]
    return jsonlite.dumps(body).encode("ascii")


def parse_plan(data: bytes) -> Plan | None:
    """Return the plan, or None for one of another version (which is compiled anew).

    Members that this version does not know are passed over: what must be understood raises `v`.
    """
    try:
        body = jsonlite.loads(data)
        if not isinstance(body, dict) or body.pop("v", None) != _VERSION:
            return None
        profiles = [_parse_profile(fields) for fields in body.pop("profiles")]
        for name in ("keep", "approve_command"):
            body[name] = tuple(body.get(name, ()))
        narrowed = {name: tuple(scopes) for name, scopes in body.pop("narrowed_scopes").items()}
        if "policy" in body:
            from brokerctl.platform.import_finder import load_at_once  # noqa: PLC0415 - as above

            load_at_once(RULES)
            from brokerctl.config.rules import parse_layers  # noqa: PLC0415 - as above

            body["policy"] = parse_layers(body["policy"])
        return Plan(
            profiles={profile.name: profile for profile in profiles},
            narrowed_scopes=narrowed,
            **_known(Plan, body),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _render_profile(profile: Profile) -> dict[str, Any]:
    defaults = Profile._defaults  # noqa: SLF001 - what a Value was declared with
    fields = {}
    for name, value in profile.as_dict().items():
        if name in defaults and defaults[name] == value:
            continue
        fields[name] = _render(value)
    return fields


def _render(value: object) -> object:
    if isinstance(value, Reference):
        return [value.kind, *value.target]
    if isinstance(value, Exchange):
        return {name: _render(one) for name, one in value.as_dict().items() if one is not None}
    return value


def _parse_profile(fields: dict[str, Any]) -> Profile:
    for name in _REFERENCES:
        if name in fields:
            fields[name] = _parse_reference(fields[name])
    if "exchange" in fields:
        words = _known(Exchange, fields["exchange"])
        found = {name: _parse_reference(words[name]) for name in _SOURCES if name in words}
        fields["exchange"] = Exchange(**words | found)
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    return Profile(**_known(Profile, fields))


def _parse_reference(words: list[str]) -> Reference:
    kind, *target = words
    return Reference(kind=kind, target=tuple(target))


def _known(cls: type[Value], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a value has, which are all of them as a rule."""
    known = cls._fields
    if any(name not in known for name in fields):
        return {name: value for name, value in fields.items() if name in known}
    return fields
