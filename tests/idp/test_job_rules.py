"""Rules about a CI job: what its platform proved counts, what a variable says does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.emulations.jobs import Job
from tests.idp.test_job_exchange import deploy, enter, records

if TYPE_CHECKING:
    from tests.emulations.platforms import Platforms
    from tests.idp.issuer import OidcProvider
    from tests.program import Program, Result

JOB = Job()
RULE = """
[policy]
default = "deny"

[[policy.rule]]
name = "ours"
effect = "allow"
when = {{ {when} }}
"""


class Rules:
    """A GitHub job whose profile has one rule that allows."""

    def __init__(
        self, program: Program, issuer: OidcProvider, platforms: Platforms, job: Job = JOB
    ) -> None:
        self.program, self.issuer = program, issuer
        self.job = enter(program, platforms, issuer, "github", job)
        self.program.env["BROKERCTL_KEEPER"] = "file"

    def get(self, when: str, default: str = "deny", **variables: str) -> Result:
        """Ask for the token under a rule with this condition."""
        policy = RULE.format(when=when).replace('"deny"', f'"{default}"')
        self.program.config(deploy(self.issuer) + policy)
        return self.program("get", "deploy", env=self.job | variables)


@pytest.fixture
def rules(brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms) -> Rules:
    """Return the room."""
    return Rules(brokerctl, http_exchange, platforms)


def test_what_is_proven_counts(rules: Rules) -> None:
    """It is asked for before the decision, and found with the token after it."""
    other = rules.get('repository = "other/*"')
    assert (other.returncode, other.stdout) == (4, "")
    assert rules.issuer.exchanges() == []
    done = rules.get('ci = "github", repository = "*", branch = "*"')
    assert done.returncode == 0, done.stderr
    record = records(rules.program, rules.job, "token.handed_out")[-1]
    facts = record["decision"]["facts"]
    assert facts["ci"] == "github"
    assert facts["repository"] == record["job"]["repository"]
    exact = rules.get(f'repository = "{facts["repository"]}", branch = "{facts["branch"]}"')
    assert exact.stdout == done.stdout, exact
    assert len(rules.issuer.exchanges()) == 1


def test_a_variable_proves_nothing(rules: Rules) -> None:
    """Whoever can set one could be in any repository."""
    done = rules.get('repository = "evil/repo"', GITHUB_REPOSITORY="evil/repo")
    assert (done.returncode, done.stdout) == (4, "")
    gitlab = rules.get('ci = "gitlab"', CI_PROJECT_PATH="acme/shop")
    assert (gitlab.returncode, gitlab.stdout) == (4, "")


def test_a_platform_that_proves_nothing(rules: Rules) -> None:
    """Where a rule asks for a claim and the platform does not answer, nothing is handed out."""
    broken = {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:1/token"}
    done = rules.get('repository = "*"', **broken)
    assert (done.returncode, done.stdout) == (5, ""), done
    plain = rules.get('tool = "exec"', **broken)
    assert plain.returncode == 4  # nobody is asked: the tool was the reason


def test_a_fork_needs_a_rule_of_its_own(
    brokerctl: Program, http_exchange: OidcProvider, platforms: Platforms
) -> None:
    """A rule that allows all, or a default that does, means no stranger's pull request."""
    rules = Rules(brokerctl, http_exchange, platforms, Job(fork="private"))
    for when, default in (
        ('tool = "get"', "deny"),
        ('tool = "x"', "profile"),
        ("fork = false", "profile"),
    ):
        done = rules.get(when, default)
        assert (done.returncode, done.stdout) == (4, ""), when
    assert rules.issuer.exchanges() == []
    assert rules.get("fork = true").returncode == 0
