"""The variables that each platform sets in a job, forks and legs of a matrix among them.

Kinds of `Job.fork`: GitHub `pull_request` (which gets no identity), `private` (the same in a
private repository that sends write tokens to forks, so that it gets one), `pull_request_target`,
`deleted` (the same, of a fork that is gone: `head.repo` is null) and `workflow_run`, all told by
the event file alone, and `same` for a pull request that is none of a fork; GitLab `parent` (the
pipeline runs in the project that the merge request is for, so that `CI_MERGE_REQUEST_SOURCE_
PROJECT_ID` is another) and `own` (it runs in the fork, as the fork); Buildkite, CircleCI and Azure
Pipelines `pull_request`, and `same`, where Buildkite's `BUILDKITE_PULL_REQUEST_REPO` names the same
repository as `BUILDKITE_REPO` in another way of writing.

Sources, beside those of jobs.py: docs.github.com/en/actions/reference/workflows-and-actions/
variables and webhooks-events-payloads; docs.gitlab.com/ci/variables/predefined_variables;
buildkite.com/docs/pipelines/configure/environment-variables; circleci.com/docs/variables
(`CIRCLE_PR_USERNAME` is set in forked pull requests alone); learn.microsoft.com, pipelines/build/
variables (Azure Pipelines does not set `CI`; `SYSTEM_ACCESSTOKEN` has to be mapped);
support.atlassian.com, variables-and-secrets. Documented nowhere, but seen in public logs of jobs:
GitHub's id-token address, with ids of the run and of the job, and `ACTIONS_ORCHESTRATION_ID`, with
run, job and leg of a matrix; how it spells the leg is a guess here.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from tests.emulations.jobs import ORGANISATION, PROJECT, SHA, STRANGER, Job

if TYPE_CHECKING:
    from collections.abc import Callable


def environ_of(platform: str, job: Job, folder: str) -> dict[str, str]:
    """Return the variables of a job but for what gives it an identity (platforms.py adds that).

    `folder` gets the event file, where the platform writes one.
    """
    return ENVIRONS[platform](job, folder)


def _github(job: Job, folder: str) -> dict[str, str]:
    event = job.github_event
    ref = "refs/pull/7/merge" if event == "pull_request" else f"refs/heads/{job.branch}"
    name = f"event-{job.id('event')}-{job.fork or 'none'}.json"
    path = os.path.join(folder, name)
    leg = re.sub(r"[^A-Za-z0-9-]", "_", job.leg)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(github_event(job), file)
    return {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": STRANGER if job.fork not in {"", "same"} else job.actor,
        "GITHUB_ACTOR_ID": job.actor_id,
        "GITHUB_API_URL": "https://api.github.com",
        "GITHUB_BASE_REF": "main" if job.fork else "",
        "GITHUB_EVENT_NAME": event,
        "GITHUB_EVENT_PATH": path,
        "GITHUB_HEAD_REF": "topic" if job.fork else "",
        "GITHUB_JOB": job.name,  # the same for all legs of a matrix
        "GITHUB_REF": ref,
        "GITHUB_REF_NAME": ref.removeprefix("refs/heads/").removeprefix("refs/pull/"),
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_REPOSITORY": job.path,
        "GITHUB_REPOSITORY_ID": job.repo_id,
        "GITHUB_REPOSITORY_OWNER": job.owner,
        "GITHUB_REPOSITORY_OWNER_ID": job.owner_id,
        "GITHUB_RUN_ATTEMPT": str(job.attempt),
        "GITHUB_RUN_ID": str(job.run),
        "GITHUB_RUN_NUMBER": "10",
        "GITHUB_SERVER_URL": "https://github.example",  # a server that asks at its own host
        "GITHUB_SHA": SHA,
        "GITHUB_WORKFLOW": "release",
        "GITHUB_WORKFLOW_REF": f"{job.path}/.github/workflows/release.yml@{ref}",
        "ACTIONS_ORCHESTRATION_ID": f"{github_plan(job)}.{job.name}.{leg or '__default'}",
        "RUNNER_ENVIRONMENT": "github-hosted",
        "RUNNER_NAME": "GitHub Actions 12",
        "RUNNER_OS": "Linux",
        "RUNNER_TEMP": folder,
        "RUNNER_TRACKING_ID": f"github_{job.id('tracking')}",
    }


def github_plan(job: Job) -> str:
    """Return the id that all jobs of one attempt of a run have."""
    return job._replace(number=0, leg="").id("plan")


def github_event(job: Job) -> dict[str, Any]:
    """Return what stands in the event file of a job."""
    base = {"full_name": job.path, "id": int(job.repo_id), "fork": False}
    fork = {"full_name": f"{STRANGER}/{job.repo}", "id": 999, "fork": True}
    head = {"same": base, "deleted": None}.get(job.fork, fork)
    event: dict[str, Any] = {"repository": base, "sender": {"login": job.actor}}
    if job.fork == "workflow_run":
        event["workflow_run"] = {
            "event": "pull_request",
            "repository": base,
            "head_repository": fork,
            "head_branch": "topic",
        }
    elif job.fork:
        branches = {"base": {"ref": "main", "repo": base}, "head": {"ref": "topic", "repo": head}}
        event |= {"action": "synchronize", "number": 7, "pull_request": branches}
    else:
        event["ref"] = f"refs/heads/{job.branch}"
    return event


def _gitlab(job: Job, _folder: str) -> dict[str, str]:
    project = "77" if job.fork == "own" else job.repo_id
    merge_request = {
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_PROJECT_ID": job.repo_id,
        "CI_MERGE_REQUEST_PROJECT_PATH": job.path,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": job.repo_id if job.fork == "same" else "77",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": f"{STRANGER}/{job.repo}",
    }
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER_URL": "https://gitlab.com",
        "CI_SERVER_HOST": "gitlab.com",
        "CI_JOB_ID": job.id_number("job"),
        "CI_JOB_NAME": job.name,  # with the leg, as in `deploy: [3.12]`
        "CI_PIPELINE_ID": str(job.run),
        "CI_PIPELINE_SOURCE": "merge_request_event" if job.fork else job.event,
        "CI_PROJECT_ID": project,
        "CI_PROJECT_PATH": f"{STRANGER}/{job.repo}" if job.fork == "own" else job.path,
        "CI_PROJECT_NAMESPACE": job.owner,
        "CI_COMMIT_REF_NAME": job.branch,
        "CI_COMMIT_SHA": SHA,
        "GITLAB_USER_ID": job.actor_id,
        "GITLAB_USER_LOGIN": job.actor,
        **(merge_request if job.fork else {}),
    }


def _buildkite(job: Job, _folder: str) -> dict[str, str]:
    other = job.owner if job.fork == "same" else STRANGER
    pull_request = {
        "BUILDKITE_PULL_REQUEST": "7",
        "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "main",
        "BUILDKITE_PULL_REQUEST_REPO": f"https://github.com/{other}/{job.repo}.git",
    }
    return {
        "CI": "true",
        "BUILDKITE": "true",
        "BUILDKITE_AGENT_ID": job.id("agent"),
        "BUILDKITE_BRANCH": job.branch,
        "BUILDKITE_BUILD_CREATOR": job.actor,
        "BUILDKITE_BUILD_ID": job.run_id("build"),
        "BUILDKITE_BUILD_NUMBER": str(job.run),
        "BUILDKITE_COMMIT": SHA,
        "BUILDKITE_JOB_ID": job.id("job"),
        "BUILDKITE_ORGANIZATION_SLUG": job.owner,
        "BUILDKITE_PIPELINE_SLUG": job.repo,
        "BUILDKITE_PULL_REQUEST": "false",
        "BUILDKITE_PULL_REQUEST_REPO": "",
        "BUILDKITE_REPO": f"git@github.com:{job.path}.git",
        "BUILDKITE_RETRY_COUNT": str(job.attempt - 1),
        "BUILDKITE_STEP_KEY": job.name,
        **(pull_request if job.fork else {}),
    }


def _circleci(job: Job, _folder: str) -> dict[str, str]:
    fork = {
        "CIRCLE_PR_NUMBER": "7",
        "CIRCLE_PR_REPONAME": job.repo,
        "CIRCLE_PR_USERNAME": STRANGER,
    }
    return {
        "CI": "true",
        "CIRCLECI": "true",
        "CIRCLE_BRANCH": "pull/7" if job.fork else job.branch,
        "CIRCLE_BUILD_NUM": job.id_number("build"),
        "CIRCLE_JOB": job.name,
        "CIRCLE_ORGANIZATION_ID": ORGANISATION,
        "CIRCLE_PROJECT_ID": PROJECT,
        "CIRCLE_PROJECT_REPONAME": job.repo,
        "CIRCLE_PROJECT_USERNAME": job.owner,
        "CIRCLE_REPOSITORY_URL": f"git@github.com:{job.path}.git",
        "CIRCLE_SHA1": SHA,
        "CIRCLE_USERNAME": job.actor,
        "CIRCLE_WORKFLOW_ID": job.run_id("workflow"),
        "CIRCLE_WORKFLOW_JOB_ID": job.id("job"),
        **(fork if job.fork not in {"", "same"} else {}),
    }


def _azure(job: Job, _folder: str) -> dict[str, str]:
    is_fork = job.fork not in {"", "same"}
    pull_request = {"SYSTEM_PULLREQUEST_ISFORK": str(is_fork), "SYSTEM_PULLREQUEST_NUMBER": "7"}
    return {
        "TF_BUILD": "True",
        "AGENT_ID": "8",
        "BUILD_BUILDID": str(job.run),
        "BUILD_REASON": "PullRequest" if job.fork else "IndividualCI",
        "BUILD_REPOSITORY_NAME": job.path,
        "BUILD_REQUESTEDFOR": job.actor,
        "BUILD_SOURCEBRANCH": "refs/pull/7/merge" if job.fork else f"refs/heads/{job.branch}",
        "BUILD_SOURCEVERSION": SHA,
        "SYSTEM_COLLECTIONURI": f"https://dev.azure.com/{job.owner}/",
        "SYSTEM_JOBATTEMPT": str(job.attempt),
        "SYSTEM_JOBID": job._replace(attempt=1).id("job"),  # the same in each attempt
        "SYSTEM_PLANID": job.run_id("plan"),
        "SYSTEM_TEAMPROJECT": job.repo,
        "SYSTEM_TEAMPROJECTID": PROJECT,
        **(pull_request if job.fork else {}),
    }


def _bitbucket(job: Job, _folder: str) -> dict[str, str]:
    return {
        "CI": "true",
        "BITBUCKET_BRANCH": job.branch,
        "BITBUCKET_BUILD_NUMBER": str(job.run),
        "BITBUCKET_COMMIT": SHA,
        "BITBUCKET_PIPELINE_UUID": f"{{{job.run_id('pipeline')}}}",
        "BITBUCKET_REPO_FULL_NAME": job.path,
        "BITBUCKET_REPO_SLUG": job.repo,
        "BITBUCKET_STEP_RUN_NUMBER": str(job.attempt),
        "BITBUCKET_STEP_UUID": f"{{{job.id('step')}}}",
        "BITBUCKET_WORKSPACE": job.owner,
    }


def _none(_job: Job, _folder: str) -> dict[str, str]:
    return {}


ENVIRONS: dict[str, Callable[[Job, str], dict[str, str]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "buildkite": _buildkite,
    "circleci": _circleci,
    "azure": _azure,
    "bitbucket": _bitbucket,
    "kubernetes": _none,
    "spiffe": _none,
    "google": _none,
}
