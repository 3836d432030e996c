"""A CI job as its platform describes it: the claims of its identity token.

Sources, read in November 2026 (facts alone are taken from them):
GitHub: docs.github.com/en/actions/reference/security/oidc, whose immutable subjects hold for
repositories made, renamed or moved since 2026-07-15; `check_run_id` tells legs of a matrix apart.
GitLab: docs.gitlab.com/ci/secrets/id_token_authentication; for a merge request from a fork the
`project_*` claims are the fork's, and `job_project_*` (18.4) those of where the job runs.
Buildkite: buildkite.com/docs/agent/v3/cli-oidc. CircleCI: circleci.com/docs/openid-connect-tokens,
whose tokens have no jti. Azure Pipelines: learn.microsoft.com (the issuer of Azure DevOps, which
ends 2027-07-01; the subject is `sc://ORGANISATION/PROJECT/CONNECTION`, and for a job that names no
connection `p://ORGANISATION/PROJECT/PIPELINE`; the claims beside it are from public reports).
Bitbucket: support.atlassian.com, integrate-pipelines-with-resource-servers-using-oidc; its uuids
stand in braces.
Kubernetes: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin. SPIFFE:
spiffe.io, JWT-SVID.md 3 (`sub`, `aud`, `exp` are a must, `iat` is usual; SPIRE adds `iss` where it
is told to). Google: cloud.google.com/compute/docs/instances/verifying-instance-identity.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.emulations.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ORGANISATION = "b9f0c2e4-3c4b-4b0e-9a43-0d6c1f6a2a11"
PROJECT = "4f4a2b64-52a1-4f2e-8a4d-97d9f1f3c0d7"
STRANGER = "stranger"  # who has the fork
SHA = "9f3182061f1e2cca4702c368cbc039b7dc9d4485"

ISSUERS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
    "buildkite": "https://agent.buildkite.com",
    "circleci": f"https://oidc.circleci.com/org/{ORGANISATION}",
    "azure": f"https://vstoken.dev.azure.com/{ORGANISATION}",
    "bitbucket": (
        "https://api.bitbucket.org/2.0/workspaces/octo-org/pipelines-config/identity/oidc"
    ),
    "kubernetes": "https://kubernetes.default.svc.cluster.local",
    "spiffe": "https://spire.example.org",
    "google": "https://accounts.google.com",
}


_EVENTS = {"same": "pull_request", "private": "pull_request", "deleted": "pull_request_target"}


class Job(NamedTuple):
    """One job of one pipeline, in words that every platform has a name for.

    Two jobs differ in `number`, two legs of one matrix in `leg`, two tries of one in `attempt`.
    `fork` is a kind of pull request from a fork, see environ.py. `is_immutable` is whether GitHub
    writes ids into `sub`.
    """

    owner: str = "octo-org"
    owner_id: str = "123456"
    repo: str = "octo-repo"
    repo_id: str = "456789"
    branch: str = "main"
    actor: str = "octocat"
    actor_id: str = "583231"
    run: int = 9876543210
    number: int = 1
    attempt: int = 1
    leg: str = ""
    name: str = "deploy"
    event: str = "push"
    environment: str = ""
    fork: str = ""
    is_immutable: bool = True

    @property
    def path(self) -> str:
        """The repository as OWNER/REPO."""
        return f"{self.owner}/{self.repo}"

    @property
    def github_event(self) -> str:
        """The event's name on GitHub, which a kind of fork implies."""
        return _EVENTS.get(self.fork, self.fork or self.event)

    def id(self, what: str) -> str:
        """Return a uuid that this job, leg and attempt has, and no other."""
        return _uuid(self._names(what))

    def id_number(self, what: str) -> str:
        """Return the same as a number, for platforms that count."""
        return str(int(hashlib.sha256(self._names(what).encode()).hexdigest()[:10], 16))

    def run_id(self, what: str) -> str:
        """Return a uuid that all jobs of the run have."""
        return _uuid(f"{what} {self.run}")

    def _names(self, what: str) -> str:
        return f"{what} {self.run} {self.number} {self.attempt} {self.leg}"


def _uuid(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def authority_of(platform: str, **options: Any) -> Authority:  # noqa: ANN401 - Authority's own
    """Return a new authority with the platform's real issuer, but for its key."""
    return Authority(ISSUERS[platform], **options)


def claims_of(platform: str, job: Job, audience: str | Sequence[str]) -> dict[str, Any]:
    """Return the claims that the platform puts into this job's token."""
    if platform in {"kubernetes", "spiffe"} and isinstance(audience, str):
        audience = [audience]  # a list there, also of one
    return {"aud": audience, **CLAIMS[platform](job)}


def _github_subject(job: Job) -> str:
    owner, repo = job.owner, job.repo
    if job.is_immutable:
        owner, repo = f"{owner}@{job.owner_id}", f"{repo}@{job.repo_id}"
    context = f"ref:refs/heads/{job.branch}"
    if job.github_event == "pull_request":
        context = "pull_request"
    if job.environment:
        context = f"environment:{job.environment.replace(':', '%3A')}"
    return f"repo:{owner}/{repo}:{context}"


def _github(job: Job) -> dict[str, Any]:
    workflow = f"{job.path}/.github/workflows/release.yml@refs/heads/{job.branch}"
    optional = {"environment": job.environment} if job.environment else {}
    return {
        "sub": _github_subject(job),
        "ref": f"refs/heads/{job.branch}",
        "ref_type": "branch",
        "ref_protected": "true",
        "sha": SHA,
        "base_ref": "main" if job.fork else "",
        "head_ref": "topic" if job.fork else "",
        "repository": job.path,
        "repository_id": job.repo_id,
        "repository_owner": job.owner,
        "repository_owner_id": job.owner_id,
        "repository_visibility": "private",
        "run_id": str(job.run),
        "run_number": "10",
        "run_attempt": str(job.attempt),
        "check_run_id": job.id_number("check run"),
        "runner_environment": "github-hosted",
        "actor": job.actor,
        "actor_id": job.actor_id,
        "workflow": "release",
        "workflow_ref": workflow,
        "workflow_sha": SHA,
        "job_workflow_ref": workflow,
        "job_workflow_sha": SHA,
        "event_name": job.github_event,
        **optional,
    }


def _gitlab(job: Job) -> dict[str, Any]:
    fork = {
        "project_id": "77",
        "project_path": f"stranger/{job.repo}",
        "namespace_path": "stranger",
    }
    optional = {"environment": job.environment, "environment_protected": "true"}
    return {
        "sub": f"project_path:{job.path}:ref_type:branch:ref:{job.branch}",
        "namespace_id": job.owner_id,
        "namespace_path": job.owner,
        "project_id": job.repo_id,
        "project_path": job.path,
        "job_namespace_id": job.owner_id,
        "job_namespace_path": job.owner,
        "job_project_id": job.repo_id,
        "job_project_path": job.path,
        "user_id": job.actor_id,
        "user_login": job.actor,
        "user_email": f"{job.actor}@example.com",
        "pipeline_id": str(job.run),
        "pipeline_source": "merge_request_event" if job.fork else job.event,
        "job_id": job.id_number("job"),
        "ref": job.branch,
        "ref_type": "branch",
        "ref_path": f"refs/heads/{job.branch}",
        "ref_protected": "false" if job.fork else "true",
        "runner_id": 1,
        "runner_environment": "gitlab-hosted",
        "sha": SHA,
        "ci_config_ref_uri": f"gitlab.com/{job.path}//.gitlab-ci.yml@refs/heads/{job.branch}",
        "ci_config_sha": SHA,
        "project_visibility": "private",
        **(optional if job.environment else {}),
        **(fork if job.fork else {}),
    }


def _buildkite(job: Job) -> dict[str, Any]:
    ref = f"refs/heads/{job.branch}"
    pipeline = f"organization:{job.owner}:pipeline:{job.repo}"
    return {
        "sub": f"{pipeline}:ref:{ref}:commit:{SHA}:step:{job.name}",
        "organization_slug": job.owner,
        "organization_id": ORGANISATION,
        "pipeline_slug": job.repo,
        "pipeline_id": PROJECT,
        "build_number": job.run,
        "build_branch": job.branch,
        "build_commit": SHA,
        "step_key": job.name,
        "job_id": job.id("job"),
        "agent_id": job.id("agent"),
        "runner_environment": "self-hosted",
    }


def _circleci(job: Job) -> dict[str, Any]:
    origin = f"github.com/{STRANGER if job.fork else job.owner}/{job.repo}"
    ref = "refs/heads/pull/7" if job.fork else f"refs/heads/{job.branch}"
    who = f"org/{ORGANISATION}/project/{PROJECT}/user/{_uuid(job.actor)}"
    return {
        "jti": None,
        "nbf": None,
        "sub": f"{who}/vcs-origin/{origin}/vcs-ref/{ref}",
        "oidc.circleci.com/org-id": ORGANISATION,
        "oidc.circleci.com/project-id": PROJECT,
        "oidc.circleci.com/pipeline-definition-id": _uuid("definition"),
        "oidc.circleci.com/pipeline-id": job.run_id("pipeline"),
        "oidc.circleci.com/workflow-id": job.run_id("workflow"),
        "oidc.circleci.com/job-id": job.id("job"),
        "oidc.circleci.com/vcs-origin": origin,
        "oidc.circleci.com/vcs-ref": ref,
        "oidc.circleci.com/context-ids": [_uuid("context")],
        "oidc.circleci.com/ssh-rerun": False,
    }


def _azure(job: Job) -> dict[str, Any]:
    return {
        "nbf": None,
        "sub": f"sc://{job.owner}/{job.repo}/production",
        "org_id": ORGANISATION,
        "prj_id": PROJECT,
        "def_id": "12",
        "run_id": str(job.run),
        "rpo_id": job.path,
        "rpo_uri": f"https://github.com/{job.path}.git",
        "rpo_ver": SHA,
        "rpo_ref": f"refs/heads/{job.branch}",
    }


def _bitbucket(job: Job) -> dict[str, Any]:
    step = f"{{{job.id('step')}}}"
    repository = f"{{{_uuid(job.path)}}}"
    return {
        "jti": None,
        "nbf": None,
        "sub": f"{repository}:{step}",
        "stepUuid": step,
        "pipelineUuid": f"{{{job.run_id('pipeline')}}}",
        "repositoryUuid": repository,
        "workspaceUuid": f"{{{ORGANISATION}}}",
        "branchName": job.branch,
    }


def _kubernetes(job: Job) -> dict[str, Any]:
    pod = {"name": f"{job.name}-0", "uid": job.id("pod")}
    return {
        "sub": f"system:serviceaccount:{job.owner}:{job.name}",
        "kubernetes.io": {
            "namespace": job.owner,
            "node": {"name": "node-1", "uid": _uuid("node")},
            "pod": pod,
            "serviceaccount": {"name": job.name, "uid": _uuid(job.name)},
        },
    }


def _spiffe(job: Job) -> dict[str, Any]:
    return {"nbf": None, "jti": None, "sub": f"spiffe://example.org/ci/{job.name}"}


def _google(job: Job) -> dict[str, Any]:
    instance = {
        "project_id": job.owner,
        "project_number": int(job.owner_id),
        "zone": "europe-west1-b",
        "instance_id": job.id_number("instance"),
        "instance_name": job.name,
        "instance_creation_timestamp": 1_700_000_000,
    }
    return {
        "jti": None,
        "nbf": None,
        "sub": job.actor_id,
        "azp": job.actor_id,
        "email": f"ci@{job.owner}.iam.gserviceaccount.com",
        "email_verified": True,
        "google": {"compute_engine": instance},
    }


CLAIMS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "buildkite": _buildkite,
    "circleci": _circleci,
    "azure": _azure,
    "bitbucket": _bitbucket,
    "kubernetes": _kubernetes,
    "spiffe": _spiffe,
    "google": _google,
}
