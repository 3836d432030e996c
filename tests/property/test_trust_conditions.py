"""Trust conditions: built on ids for each platform, and no claim gets out of its quotes."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from brokerctl.doctor.subjects import read_subject
from brokerctl.doctor.trust_conditions import CLOUDS, Condition, conditions_for
from tests.emulations.jobs import ISSUERS, ORGANISATION, PROJECT, Job, claims_of

GITHUB = "token.actions.githubusercontent.com"
# CEL: comparisons of claims with strings, all of which must hold; nothing else is ever written.
TEXT = r'"((?:[^"\\\n]|\\[\\"])*)"'
ACCESSOR = rf"assertion(?:\.[A-Za-z_][A-Za-z0-9_]*|\[{TEXT}\])+"
RULE = re.compile(rf"({ACCESSOR}) == {TEXT}")
STEP = re.compile(rf"\.([A-Za-z_][A-Za-z0-9_]*)|\[{TEXT}\]")


def conditions(claims: dict[str, Any], **audiences: str) -> dict[str, Condition]:
    """Return the conditions by their cloud."""
    return {one.cloud: one for one in conditions_for(claims, audiences)}


def claims(platform: str, job: Job = Job()) -> dict[str, Any]:  # noqa: B008 - it can't be changed
    """Return a job's claims as its platform signs them."""
    return {"iss": ISSUERS[platform]} | claims_of(platform, job, "https://issuer.example")


def aws(text: str | None) -> dict[str, dict[str, Any]]:
    """Return the conditions of a policy, which is one statement for one issuer."""
    policy = json.loads(text or "")
    (statement,) = policy["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    found: dict[str, dict[str, Any]] = statement["Condition"]
    return found


def google_words(text: str | None) -> dict[str, str]:
    """Return the options of the command, as a shell reads it."""
    words = shlex.split((text or "").replace("\\\n", ""))
    assert words[:5] == ["gcloud", "iam", "workload-identity-pools", "providers", "create-oidc"]
    return dict(word[2:].split("=", 1) for word in words[6:])


def cel(text: str) -> dict[tuple[str, ...], str]:
    """Return what a condition compares, or fail where it is anything else."""
    found, position = {}, 0
    while True:
        rule = RULE.match(text, position)
        assert rule, text[position:]
        path = tuple(name or unquote(quoted) for name, quoted in STEP.findall(rule[1]))
        found[path] = unquote(rule[rule.re.groups])
        position = rule.end()
        if position == len(text):
            return found
        assert text.startswith(" && ", position), text
        position += 4


def unquote(text: str) -> str:
    """Return a string of CEL."""
    return re.sub(r"\\(.)", r"\1", text)


def unescape(text: str) -> str:
    """Return what a text of a policy stands for; wildcards are not in it."""
    return re.sub(r"\$\{([$*?])\}", r"\1", text)


def matches(pattern: str, text: str) -> bool:
    """Return whether IAM's StringLike would take the text."""
    parts = re.split(r"(\$\{[$*?]\}|\*|\?)", pattern)
    signs = {"*": ".*", "?": "."}
    return bool(re.fullmatch("".join(signs.get(p, re.escape(unescape(p))) for p in parts), text))


def aws_takes(text: str | None, given: dict[str, Any], audience: str = "sts.amazonaws.com") -> bool:
    """Return whether a policy trusts a token."""
    found = aws(text)
    sent = given | {"aud": audience}
    equal = all(
        unescape(value) == sent.get(name.rpartition(":")[2])
        for name, value in found["StringEquals"].items()
    )
    like = found.get("StringLike", {}).items()
    return equal and all(
        any(matches(one, str(sent[name.rpartition(":")[2]])) for one in values)
        for name, values in like
    )


@pytest.mark.parametrize("platform", sorted(set(ISSUERS) - {"google"}))
def test_each_platform_s_own_job_is_trusted(platform: str) -> None:
    """By each cloud's own reading of the rule; a sub that changes has no rule at Azure."""
    given = claims(platform)
    found = conditions(given)
    assert aws_takes(found["aws"].text, given)
    words = google_words(found["google"].text)
    assert words["issuer-uri"] == ISSUERS[platform]
    for path, value in cel(words["attribute-condition"]).items():
        held: Any = given
        for name in path:
            held = held[name]
        assert held == value
    changes = platform in {"buildkite", "circleci", "bitbucket"}
    assert (found["azure"].text is None) is changes
    if not changes:
        credential = json.loads(found["azure"].text or "")
        assert credential["subject"] == given["sub"]
        assert credential["audiences"] == ["api://AzureADTokenExchange"]


IDS: dict[str, dict[tuple[str, ...], str]] = {
    "github": {("repository_owner_id",): "123456", ("repository_id",): "456789"},
    "gitlab": {("namespace_id",): "123456", ("project_id",): "456789"},
    "buildkite": {("organization_id",): ORGANISATION, ("pipeline_id",): PROJECT},
    "circleci": {("oidc.circleci.com/project-id",): PROJECT},
    "bitbucket": {("workspaceUuid",): f"{{{ORGANISATION}}}"},
    "kubernetes": {("kubernetes.io", "namespace"): "octo-org"},
}


@pytest.mark.parametrize("platform", IDS)
def test_google_s_condition_has_the_ids(platform: str) -> None:
    """And no name of a project, and says where in it the job runs."""
    given = claims(platform)
    words = google_words(conditions(given)["google"].text)
    rules = cel(words["attribute-condition"])
    assert IDS[platform].items() <= rules.items()
    assert not [path for path in rules if path[-1].endswith(("_path", "_slug", "repository"))]
    another = {"environment": "prod"} if platform in {"github", "gitlab"} else {}
    rules = cel(google_words(conditions(given | another)["google"].text)["attribute-condition"])
    if another:
        assert rules["environment",] == "prod"
        assert ("ref",) not in rules


def test_github_s_rule_outlives_a_new_name() -> None:
    """A repository of the old form that is renamed gets ids into its sub: AWS still trusts it."""
    before = Job(is_immutable=False)
    after = Job(owner="new-org", repo="new-repo")
    for job in (before, Job()):
        text = conditions(claims("github", job))["aws"].text
        assert aws(text)["StringEquals"][f"{GITHUB}:repository_id"] == "456789"
        assert aws_takes(text, claims("github", after))
        # The old name, which somebody else has now.
        assert not aws_takes(text, claims("github", job._replace(repo_id="1", owner_id="2")))
        assert not aws_takes(text, claims("github", job._replace(branch="other")))


@pytest.mark.parametrize("platform", ["buildkite", "circleci", "bitbucket"])
def test_a_pattern_takes_other_jobs_of_the_project_alone(platform: str) -> None:
    """Another run is trusted; another branch is not, whatever its name, nor another project."""
    text = conditions(claims(platform))["aws"].text
    given = claims(platform, Job(run=7, number=9, actor="another"))
    assert aws_takes(text, given)
    other = given["sub"].replace("octo-repo", "other").replace(PROJECT, ORGANISATION)
    other = other.replace(str(given.get("repositoryUuid")), f"{{{ORGANISATION}}}")
    assert not aws_takes(text, given | {"sub": other})
    tail = claims(platform)["sub"].rpartition("/vcs-origin/")[2]
    branch = claims(platform, Job(branch=f"x/vcs-origin/{tail}"))
    if platform == "circleci":
        assert not aws_takes(text, branch)


def test_what_no_rule_can_name() -> None:
    """No issuer on https, or a sub that is no printable text: the reason, and nothing to paste."""
    given = claims("github")
    for change in ({"iss": None}, {"iss": "http://x"}, {"sub": None}, {"sub": "a\nb"}, {"sub": ""}):
        for one in conditions(given | change).values():
            assert one.text is None
            assert one.note


def test_a_long_sub_is_not_google_s_subject() -> None:
    """It takes 127 bytes; the id of the project is the subject then."""
    given = claims("github", Job(branch="b" * 120))
    words = google_words(conditions(given)["google"].text)
    assert words["attribute-mapping"].startswith("google.subject=assertion.repository_id,")


def test_a_sub_of_names_is_told() -> None:
    """Whoever gets the name gets the trust, where a cloud compares nothing else."""
    for platform in ("gitlab", "azure", "buildkite"):
        subject = read_subject(claims(platform))
        assert subject is not None
        assert subject.is_of_names
        assert subject.warning
        assert "made of names" in str(conditions(claims(platform))["aws"].note)


PUNCTUATION = "'\"\\$*?{}:/@&|,^=;`<>() "
LETTERS = some.sampled_from(PUNCTUATION) | some.characters(min_codepoint=0x20, max_codepoint=0x7E)
HOSTILE = some.text(LETTERS, max_size=60) | some.text(max_size=20)
AUDIENCE = some.text(LETTERS, min_size=1, max_size=60)
CLAIMS = some.fixed_dictionaries(
    {"sub": HOSTILE | some.builds("repo:{}/{}:{}".format, HOSTILE, HOSTILE, HOSTILE)},
    optional=dict.fromkeys(
        ("repository_owner_id", "repository_id", "ref", "environment", "project_id"), HOSTILE
    ),
)


@given(given=CLAIMS, audience=AUDIENCE)
@example(given={"sub": 'it\'s \\ "x"'}, audience="a,'b")
@example(given={"sub": '" || true || "'}, audience="|;~%#,")
def test_no_claim_gets_out(given: dict[str, str], audience: str) -> None:
    """Security: whatever a claim holds, a rule says that it is that very text, and nothing more."""
    signed = given | {"iss": f"https://{GITHUB}"}
    found = conditions(signed, **dict.fromkeys(CLOUDS, audience))
    if found["aws"].text is None:
        assert not given["sub"].isprintable() or not given["sub"]
        return
    assert aws_takes(found["aws"].text, signed, audience)
    changed = signed | {"sub": given["sub"] + "x"}
    assert not aws_takes(found["aws"].text, changed, audience)
    assert not aws_takes(found["aws"].text, signed, audience + "x")
    words = google_words(found["google"].text)
    for path, value in cel(words["attribute-condition"]).items():
        assert signed[path[0]] == value
    allowed = words["allowed-audiences"]
    if allowed.startswith("^"):
        _, unused, allowed = allowed.split("^", 2)
        assert unused not in allowed
    else:
        assert "," not in allowed
    assert allowed == audience
    credential = json.loads(found["azure"].text or "")
    assert (credential["subject"], credential["audiences"]) == (given["sub"], [audience])


def test_a_policy_s_variables_and_wildcards_are_letters() -> None:
    """Security: `${aws:username}` and `*` in a claim would be whatever the caller is."""
    for sub in ("${aws:username}", "*", "a?b", "repo:o/*:environment:${aws:x}", "$"):
        given = {"iss": f"https://{GITHUB}", "sub": sub, "repository_id": "1"}
        given["repository_owner_id"] = "2"
        text = conditions(given)["aws"].text
        assert aws_takes(text, given)
        other = sub.replace("*", "x").replace("?", "x")
        assert not aws_takes(text, given | {"sub": other if other != sub else sub + "y"})
        assert "${aws" not in (text or "")
