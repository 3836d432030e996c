"""What STS takes as session policies, and what they leave of a role: moto ignores them.

Sources: docs.aws.amazon.com, STS API, AssumeRoleWithWebIdentity (lengths, characters, 10 managed
policies, packed size) and IAM User Guide, "IAM JSON policy elements" and "Policy evaluation logic".
The packed size stands in for AWS's own: what zlib makes of the texts, at most PACKED bytes.
"""

from __future__ import annotations

import json
import re
import zlib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MALFORMED, TOO_LARGE, WRONG = "MalformedPolicyDocument", "PackedPolicyTooLarge", "ValidationError"
PACKED = 900
_MOST_CHARS, _MOST_ARNS = 2048, 10
_TEXT = re.compile(r"[\t\n\r\x20-\xff]+")
_MANAGED = re.compile(r"arn:aws[a-z-]*:iam::(?:aws|123456789012):policy/[\w+=,.@/-]+", re.ASCII)
_ACTION = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+", re.ASCII)
_RESOURCE = re.compile(r"\*|arn:[^:]*:[^:]*:[^:]*:[^:]*:.+")
_ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}


def refusal(form: Mapping[str, str]) -> str | None:
    """Return STS's code for a request that says its session policies wrongly, or None."""
    policy = form.get("Policy")
    arns = [value for name, value in form.items() if name.startswith("PolicyArns.member.")]
    names = {f"PolicyArns.member.{at}.arn" for at in range(1, len(arns) + 1)}
    text = "".join((policy or "", *arns))
    if len(text) > _MOST_CHARS or len(arns) > _MOST_ARNS or (text and not _TEXT.fullmatch(text)):
        return WRONG
    if not names <= form.keys() or not all(map(_MANAGED.fullmatch, arns)):
        return WRONG
    if policy is not None and not _is_policy(policy):
        return MALFORMED
    return TOO_LARGE if len(zlib.compress(text.encode(), 9)) > PACKED else None


def _is_policy(text: str) -> bool:
    try:
        policy = json.loads(text)
    except ValueError:
        return False
    if not isinstance(policy, dict) or not policy.keys() <= {"Version", "Id", "Statement"}:
        return False
    found = statements(policy)
    return bool(found) and all(map(_is_statement, found))


def statements(policy: Mapping[str, Any]) -> list[Any]:
    """Return the statements: one may stand without a list."""
    found = policy.get("Statement", [])
    return found if isinstance(found, list) else [found]


def _is_statement(one: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(one, dict) or not one.keys() <= _ELEMENTS:
        return False
    for name, pattern in (("Action", _ACTION), ("Resource", _RESOURCE)):
        named = [key for key in (name, f"Not{name}") if key in one]
        if len(named) != 1 or not all(map(pattern.fullmatch, _words(one[named[0]]))):
            return False
    return one.get("Effect") in {"Allow", "Deny"}


def _words(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def allows(policy: Mapping[str, Any], action: str, resource: str) -> bool:
    """Return whether a policy lets an action be done to a resource: a denial beats all."""
    matching = [one for one in statements(policy) if _matches(one, action, resource)]
    effects = {one["Effect"] for one in matching}
    return effects == {"Allow"}


def _matches(one: Mapping[str, Any], action: str, resource: str) -> bool:
    for name, asked in (("Action", action), ("Resource", resource)):
        patterns = _words(one.get(name, one.get(f"Not{name}")))
        is_named = any(matches(asked, pattern, is_action=name == "Action") for pattern in patterns)
        if is_named is (f"Not{name}" in one):
            return False
    return True


def matches(asked: str, pattern: str, *, is_action: bool) -> bool:
    """Return whether a pattern with * and ? names this; actions have no case."""
    if is_action:
        asked, pattern = asked.lower(), pattern.lower()
    return fnmatchcase(asked, pattern.replace("[", "[[]"))
