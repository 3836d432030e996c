"""The forms that platforms give to `sub`, and which of its parts a trust rule can hold on to.

Sources: docs.github.com, "OpenID Connect reference" (subjects with ids, since 2026-07-15);
docs.gitlab.com, "OpenID Connect (OIDC) authentication using ID tokens"; buildkite.com/docs,
"buildkite-agent oidc"; circleci.com/docs, "Using OpenID Connect tokens in jobs";
support.atlassian.com, "Integrate Pipelines with resource servers using OIDC"; learn.microsoft.com,
"Workload identity federation" of Azure Pipelines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl.model import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Found = re.Match[str]
    Claims = Mapping[str, Any]

_MAX_CHARS = 1024
GITHUB = "https://token.actions.githubusercontent.com"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ANY = 0  # a part of a pattern that stands for any text
_UUID_CHARS = 36
_SINCE = "GitHub gives it to repositories that were made, renamed or moved since 2026-07-15"


class Subject(Value):
    """A `sub`, letter by letter, and what a rule can hold on to.

    `patterns`: one of them must match. A part is a text, or so many characters of any kind; ANY is
    any number of them.
    """

    text: str
    patterns: tuple[tuple[str | int, ...], ...]
    is_of_names: bool = False  # whoever gets the names, once they are given up, gets the trust
    changes: str = ""  # why it is another one in another job of the same project
    warning: str = ""


def read_subject(claims: Claims) -> Subject | None:
    """Return the subject of a token; None where it is not one printable text."""
    text = claims.get("sub")
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_CHARS or not text.isprintable():
        return None
    for form, read in FORMS:
        found = form.fullmatch(text)
        if found:
            return read(found, claims)
    return Subject(text=text, patterns=((text,),))


def _with_ids(found: Found, _claims: Claims) -> Subject:
    _, owner_id, _, repo_id, rest = found.groups()
    return Subject(
        text=found[0],
        patterns=(("repo:", ANY, f"@{owner_id}/", ANY, f"@{repo_id}:{rest}"),),
        warning=f"its sub has ids ({_SINCE}): a rule that is written for repo:OWNER/REPO:…"
        " refuses it in silence",
    )


def _with_names(found: Found, claims: Claims) -> Subject:
    owner, repo, rest = found.groups()
    owner_id, repo_id = (claims.get(f"repository{one}_id") for one in ("_owner", ""))
    patterns: tuple[tuple[str | int, ...], ...] = ((found[0],),)
    warning = "its sub is made of names, which another can have once they are given up"
    if claims.get("iss") == GITHUB and _is_number(owner_id) and _is_number(repo_id):
        # What it is once the repository is renamed or moved, or its owner asks for it.
        patterns += (("repo:", ANY, f"@{owner_id}/", ANY, f"@{repo_id}:{rest}"),)
        warning += (
            f"; with ids it is repo:{owner}@{owner_id}/{repo}@{repo_id}:{rest} ({_SINCE}):"
            " a rule that is written for the one refuses the other in silence"
        )
    return Subject(text=found[0], patterns=patterns, is_of_names=True, warning=warning)


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit()


def _of_build(found: Found, _claims: Claims) -> Subject:
    return Subject(
        text=found[0],
        patterns=((found[1], len(found[2]), ":step:", ANY),),
        is_of_names=True,
        changes="Buildkite's has commit and step in it: with BUILDKITE_OIDC_TOKEN_SUBJECT_CLAIM="
        "pipeline_id in the step its agent makes sub the pipeline's id",
        warning="its sub is made of names; BUILDKITE_OIDC_TOKEN_SUBJECT_CLAIM=pipeline_id in the"
        " step makes it the pipeline's id",
    )


def _of_user(found: Found, _claims: Claims) -> Subject:
    return Subject(
        text=found[0],
        patterns=((found[1], _UUID_CHARS, found[2] or ""),),  # ANY could hold a branch's name
        changes="CircleCI's names the person who started the job: it is another one's for others",
    )


def _of_step(found: Found, _claims: Claims) -> Subject:
    return Subject(
        text=found[0],
        patterns=((found[1], _UUID_CHARS, "}"),),
        changes="Bitbucket's has the step's own id in it: it is another one in each run",
    )


def _of_names(found: Found, _claims: Claims) -> Subject:
    return Subject(
        text=found[0],
        patterns=((found[0],),),
        is_of_names=True,
        warning="its sub is made of names, which another can have once they are given up",
    )


# The first form that fits counts; what fits none is compared as a whole.
FORMS: tuple[tuple[re.Pattern[str], Callable[[Found, Claims], Subject]], ...] = (
    (re.compile(r"repo:([^/:@]+)@([0-9]+)/([^/:@]+)@([0-9]+):(.+)"), _with_ids),
    (re.compile(r"repo:([^/:@]+)/([^/:@]+):(.+)"), _with_names),
    (re.compile(r"(organization:[^:]+:pipeline:[^:]+:ref:.+:commit:)([^:]+):step:.*"), _of_build),
    (re.compile(rf"(org/{_UUID}/project/{_UUID}/user/){_UUID}(/.+)?"), _of_user),
    (re.compile(rf"(\{{{_UUID}\}}:(?:\{{{_UUID}\}}:)?\{{){_UUID}\}}"), _of_step),
    (re.compile(r"(?:project_path:|sc://).+"), _of_names),
)
