"""Conditions by which AWS, Google and Azure trust this job and no other, ready to paste.

They are built on ids where the token has any: a name can be given up and taken by somebody else.
Security: claims are others' text. A claim is used only if it is one printable text, and each is
quoted for the language that it stands in, so that it can't end a string, name a variable of a
policy, or be a wildcard there.

Sources: docs.aws.amazon.com/IAM, "Available keys for AWS OIDC federation" (GitHub's claims since
January 2026) and "IAM policy elements: variables and tags"; cloud.google.com/iam, "Configure
Workload Identity Federation"; learn.microsoft.com/entra/workload-id, "Federated credentials".
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from brokerctl.doctor.subjects import Subject, read_subject
from brokerctl.model import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Path = tuple[str, ...]

AWS_AUDIENCE = "sts.amazonaws.com"
AZURE_AUDIENCE = "api://AzureADTokenExchange"
# Claims that AWS compares beside `aud` and `sub`, by the issuer that they are known of.
_AWS_CLAIMS = {"https://token.actions.githubusercontent.com": ("repository_id",)}
_MAX_CHARS = 1024
_MAX_SUBJECT_BYTES = 127  # of google.subject
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ISSUER = re.compile(r"https://[\x21-\x7e]{1,500}", re.ASCII)
_DELIMITERS = "|;~%#"


class Ids(Value):
    """The claims that name a job's project for ever, and those that say where in it a job runs."""

    claims: tuple[Path, ...]
    places: tuple[tuple[Path, ...], ...] = ()  # the first whose claims are all there is used


_CIRCLECI = "oidc.circleci.com/"
_CLUSTER = "kubernetes.io"
# The first whose claims are all in the token: GitHub's, GitLab's, Buildkite's, CircleCI's,
# Bitbucket's, a cluster's.
IDS = (
    Ids(
        claims=(("repository_owner_id",), ("repository_id",)),
        places=((("environment",),), (("ref",),)),
    ),
    Ids(
        claims=(("namespace_id",), ("project_id",)),
        places=((("environment",),), (("ref_type",), ("ref",))),
    ),
    Ids(claims=(("organization_id",), ("pipeline_id",)), places=((("build_branch",),),)),
    Ids(claims=((f"{_CIRCLECI}project-id",),), places=(((f"{_CIRCLECI}vcs-ref",),),)),
    Ids(claims=(("workspaceUuid",), ("repositoryUuid",)), places=((("branchName",),),)),
    Ids(claims=((_CLUSTER, "namespace"), (_CLUSTER, "serviceaccount", "uid"))),
)


class Condition(Value):
    """How one cloud is told whom to trust; `text` None: it can't be told, and `note` says why."""

    cloud: str  # aws | google | azure
    title: str
    text: str | None
    note: str | None = None


def conditions_for(
    claims: Mapping[str, Any], audiences: Mapping[str, str | None]
) -> tuple[Condition, ...]:
    """Return the condition of each cloud for a token's claims.

    `audiences`: who the token is made out to at each cloud; None: as is usual there.
    """
    subject = read_subject(claims)
    issuer = _find(claims, ("iss",))
    return tuple(
        _condition(cloud, claims, subject, issuer, audiences.get(cloud)) for cloud in CLOUDS
    )


def _condition(
    cloud: str,
    claims: Mapping[str, Any],
    subject: Subject | None,
    issuer: str | None,
    audience: str | None,
) -> Condition:
    title, render = CLOUDS[cloud]
    note = None
    if issuer is None or not _ISSUER.fullmatch(issuer):
        note = "its issuer is no https address, where a cloud could find the keys"
    elif subject is None:
        note = "its sub is no printable text, so that no rule can name it"
    if note or issuer is None or subject is None:
        return Condition(cloud=cloud, title=title, text=None, note=note)
    text, note = render(claims, subject, issuer, audience)
    return Condition(cloud=cloud, title=title, text=text, note=note)


# --- AWS: the trust policy of a role ------------------------------------------------------------


def _aws(
    claims: Mapping[str, Any], subject: Subject, issuer: str, audience: str | None
) -> tuple[str | None, str | None]:
    """Return the policy. IAM wants `sub` in it for issuers that many organizations share."""
    provider = issuer.removeprefix("https://")
    ids = {name: _find(claims, (name,)) for name in _AWS_CLAIMS.get(issuer, ())}
    ids = {f"{provider}:{name}": _aws_text(value) for name, value in ids.items() if value}
    equal = {f"{provider}:aud": _aws_text(audience or AWS_AUDIENCE)} | ids
    like: dict[str, list[str]] = {}
    if subject.patterns == ((subject.text,),):
        equal[f"{provider}:sub"] = _aws_text(subject.text)
    else:
        like[f"{provider}:sub"] = [_aws_pattern(parts) for parts in subject.patterns]
    condition = {"StringEquals": equal} | ({"StringLike": like} if like else {})
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::ACCOUNT:oidc-provider/{provider}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }
    note = "put the number of the account for ACCOUNT"
    if subject.is_of_names and not ids:
        note += "; AWS compares nothing of this issuer but aud and sub, which is made of names here"
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2), note


def _aws_text(text: str) -> str:
    """Return text that holds no variable of a policy."""
    return text.replace("$", "${$}")


def _aws_pattern(parts: tuple[str | int, ...]) -> str:
    """Return the pattern of a subject, whose texts hold no variable and no wildcard."""
    shown = []
    for part in parts:
        if isinstance(part, str):
            shown += [f"${{{char}}}" if char in "$*?" else char for char in part]
        else:
            shown.append("?" * part or "*")
    return "".join(shown)


# --- Google: a provider of a workload identity pool ---------------------------------------------


def _google(
    claims: Mapping[str, Any], subject: Subject, issuer: str, audience: str | None
) -> tuple[str | None, str | None]:
    """Return the command that makes the provider, with its attribute condition."""
    ids, rules = google_rules(claims, subject)
    is_long = len(subject.text.encode()) > _MAX_SUBJECT_BYTES
    named = _accessor(ids[-1]) if is_long and ids else "assertion.sub"
    mapping = [f"google.subject={named}"]
    mapping += [f"attribute.{_attribute(path)}={_accessor(path)}" for path in ids]
    words = [
        "gcloud iam workload-identity-pools providers create-oidc PROVIDER",
        "--location=global --workload-identity-pool=POOL",
        f"--issuer-uri={shlex.quote(issuer)}",
        *([f"--allowed-audiences={shlex.quote(_listed(audience))}"] if audience else []),
        f"--attribute-mapping={shlex.quote(','.join(mapping))}",
        f"--attribute-condition={shlex.quote(' && '.join(rules))}",
    ]
    note = "put the names of pool and provider for POOL and PROVIDER"
    if is_long:
        note += f"; its sub is longer than the {_MAX_SUBJECT_BYTES} bytes that google.subject takes"
    return " \\\n  ".join(words), note


def google_rules(
    claims: Mapping[str, Any], subject: Subject
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the paths of the ids, and the comparisons in CEL that must all hold."""
    for row in IDS:
        if all(_find(claims, path) is not None for path in row.claims):
            place = next((one for one in row.places if all(_find(claims, p) for p in one)), ())
            rules = (_rule(path, _find(claims, path) or "") for path in (*row.claims, *place))
            return row.claims, tuple(rules)
    return (), (_rule(("sub",), subject.text),)


def _rule(path: Path, value: str) -> str:
    return f"{_accessor(path)} == {_cel_text(value)}"


def _accessor(path: Path) -> str:
    """Return a claim in CEL."""
    steps = (f".{one}" if _NAME.fullmatch(one) else f"[{_cel_text(one)}]" for one in path)
    return f"assertion{''.join(steps)}"


def _cel_text(text: str) -> str:
    """Return a string of CEL, in the quotes that a shell leaves alone within its own.

    What is printable but a quote or a backslash stands for itself.
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _attribute(path: Path) -> str:
    return re.sub(r"[^a-z0-9_]", "_", path[-1].rpartition("/")[2].lower())


def _listed(text: str) -> str:
    """Return text as one element of a list of gcloud's (`gcloud topic escaping`)."""
    if "," not in text and not text.startswith("^"):
        return text
    unused = next((char for char in _DELIMITERS if char not in text), "::::")
    return f"^{unused}^{text}"


# --- Azure: a federated credential of an application --------------------------------------------


def _azure(
    claims: Mapping[str, Any],  # noqa: ARG001 - Azure compares issuer, subject and audience alone
    subject: Subject,
    issuer: str,
    audience: str | None,
) -> tuple[str | None, str | None]:
    """Return the credential, whose subject is compared letter by letter."""
    if subject.changes:
        return None, f"Azure compares sub as a whole, and {subject.changes}"
    credential = {
        "name": "brokerctl",
        "issuer": issuer,
        "subject": subject.text,
        "audiences": [audience or AZURE_AUDIENCE],
    }
    note = "az ad app federated-credential create --id APP --parameters FILE"
    if subject.is_of_names:
        note += "; Azure compares nothing else than sub, which is made of names here"
    return json.dumps(credential, indent=2), note


def _find(claims: Mapping[str, Any], path: Path) -> str | None:
    """Return a claim that is one printable text; None for anything else."""
    found: Any = claims
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str) or not 0 < len(found) <= _MAX_CHARS or not found.isprintable():
        return None
    return found


CLOUDS: dict[str, tuple[str, Callable[..., tuple[str | None, str | None]]]] = {
    "aws": ("AWS: the trust policy of a role", _aws),
    "google": ("Google: a provider of a workload identity pool", _google),
    "azure": ("Azure: a federated credential", _azure),
}
