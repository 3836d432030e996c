"""Less than an AWS role may do, said as its session policies.

A request's scopes are actions (`s3:GetObject`, `s3:Get*`) and its resources ARNs; or the scopes are
ARNs of managed policies. STS gives what the role and its session policies both allow. Sources:
docs.aws.amazon.com, STS API, AssumeRoleWithWebIdentity; IAM User Guide, "Session policies" and
"IAM JSON policy elements".

Security: session policies add up, and a resource can give more to a session that it names. So the
request is written as denials, which nothing overrules, into the profile's own policy: what is left
is allowed by all three.
"""

from __future__ import annotations

from brokerctl import jsonlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.model import Profile

MAX_CHARS = 2048  # of the inline policy and the ARNs of the managed ones
MAX_MANAGED = 10
_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
_LOWER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
_SERVICE = frozenset(_LOWER + _DIGITS + "-")
_ACTION = frozenset(_LOWER + _LOWER.upper() + _DIGITS + "*?")
_ARN_PARTS = 6  # arn, partition, service, region, account, and the resource, which may have colons


def find_problem(
    profile: Profile, scopes: tuple[str, ...] | None, resource: tuple[str, ...] | None
) -> str | None:
    """Return why a request can't be said as session policies of a profile's role; None: it can.

    None for what the request does not name.
    """
    wrong = _find_wrong_word(scopes, resource or ())
    if wrong is not None:
        return wrong
    managed = [one for one in scopes or () if _is_arn(one)]
    if managed:
        return _find_problem_of_managed(profile, managed, scopes or (), resource)
    try:
        text = _inline(profile, scopes or (), resource or ())
    except ValueError:
        return "the policy of the profile has no statements that could be narrowed"
    if len(text) > MAX_CHARS:
        return f"its session policy has {len(text)} characters, and STS takes {MAX_CHARS}"
    return None


def _find_wrong_word(scopes: tuple[str, ...] | None, resource: tuple[str, ...]) -> str | None:
    if scopes == ():
        return "no action is named, which is not none for STS"
    wrong = next((one for one in scopes or () if not (_is_action(one) or _is_arn(one))), None)
    if wrong is not None:
        return f"scope {wrong} is neither an action, as s3:GetObject, nor a managed policy's ARN"
    wrong = next((one for one in resource if not _is_arn(one)), None)
    return None if wrong is None else f"resource {wrong} is no ARN"


def _find_problem_of_managed(
    profile: Profile,
    managed: list[str],
    scopes: tuple[str, ...],
    resource: tuple[str, ...] | None,
) -> str | None:
    """Security: what stands beside a managed policy adds to it, or is no part of it."""
    if len(managed) != len(scopes) or resource:
        return "a managed policy can't be narrowed to actions or resources: name one or the other"
    if _own_policy(profile) is not None:
        return "a managed policy would add to the policy of the profile, and not narrow it"
    _, partition, _, _, account, _ = profile.client_id.split(":", _ARN_PARTS - 1)
    starts = tuple(f"arn:{partition}:iam::{whose}:policy/" for whose in (account, "aws"))
    other = next((one for one in managed if not one.startswith(starts)), None)
    if other is not None:
        return f"{other} is no managed policy of AWS's or of the role's account"
    if len(managed) > MAX_MANAGED:
        return f"it names {len(managed)} managed policies, and STS takes {MAX_MANAGED}"
    size = sum(map(len, managed))
    return None if size <= MAX_CHARS else f"the ARNs have {size} characters, STS takes {MAX_CHARS}"


def parameters(
    profile: Profile, scopes: tuple[str, ...], resource: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Return what is sent to STS for a request that `find_problem` has no problem with."""
    if not scopes and not resource:
        return []
    if any(map(_is_arn, scopes)):
        return [(f"PolicyArns.member.{at}.arn", arn) for at, arn in enumerate(scopes, 1)]
    return [("Policy", _inline(profile, scopes, resource))]


def _inline(profile: Profile, scopes: tuple[str, ...], resource: tuple[str, ...]) -> str:
    """Return the policy of the profile with what the request leaves of it, as short as it can be.

    ValueError where it has no statements.
    """
    own = _own_policy(profile)
    policy: dict[str, Any] = _ALL if own is None else own
    statements = policy.get("Statement")
    statements = statements if isinstance(statements, list) else [statements]
    if not all(isinstance(one, dict) for one in statements):
        raise ValueError("no statements")
    denials: list[dict[str, Any]] = []
    if scopes:
        denials.append({"Effect": "Deny", "NotAction": list(scopes), "Resource": "*"})
    if resource:
        denials.append({"Effect": "Deny", "Action": "*", "NotResource": list(resource)})
    return jsonlite.dumps(policy | {"Statement": [*statements, *denials]})


def _own_policy(profile: Profile) -> dict[str, Any] | None:
    sent = jsonlite.loads((profile.extra or "{}").encode())
    text = sent.get("Policy") if isinstance(sent, dict) else None
    return None if text is None else jsonlite.loads(text.encode())  # config has seen to it


def _is_action(word: str) -> bool:
    service, colon, action = word.partition(":")
    is_made_so = _SERVICE.issuperset(service) and _ACTION.issuperset(action)
    return bool(service and colon and action) and is_made_so


def _is_arn(word: str) -> bool:
    """Return whether a word has the six parts of an ARN, and no character that one can't have."""
    parts = word.split(":", _ARN_PARTS - 1)
    is_shown = all("!" <= char <= "~" and char not in '"\\' for char in word)
    return len(parts) == _ARN_PARTS and parts[0] == "arn" and bool(parts[-1]) and is_shown
