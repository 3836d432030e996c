"""Who signs what a job is: CI platforms, clusters and clouds, each with its traits.

What is said of each is from its own documentation, which docs/ci.md names; the files below
`identity` have the rest.
"""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerctl.model import Reference

AUTO = "auto"


class PlatformTraits(Value):
    """What is known of who signs a job's identity; `entry` is its file below `identity`."""

    entry: str
    title: str
    shown_by: str | None = None  # the variable that every job there has; None: it must be named
    needs: str = (
        ""  # what the profile says beside the name: variable, file, file or socket, command
    )
    variable: str | None = None  # that holds the token where the profile names no other
    is_asked: bool = True  # it makes a token anew, for the audience that is asked for
    is_cached: bool = False  # what it makes may be one that it made before, up to half its lifetime
    audience: str | None = None  # the only one that it makes tokens for; None: any
    job: tuple[str, ...] = ()  # the variables that together tell a job from all others
    permission: str = ""  # what a job needs to have an identity


# The one table of platforms. It stands here because configuration and `identity` both ask for it.
PLATFORMS = {
    "github": PlatformTraits(
        entry="github:GitHub",
        title="GitHub Actions",
        shown_by="GITHUB_ACTIONS",
        job=("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB"),
        permission="permissions: { id-token: write } in the workflow",
    ),
    "gitlab": PlatformTraits(
        entry="given:Given",
        title="GitLab CI",
        shown_by="GITLAB_CI",
        needs="variable",
        variable="BROKERCTL_ID_TOKEN",
        is_asked=False,
        job=("CI_JOB_ID",),
        permission="id_tokens: { VARIABLE: { aud: AUDIENCE } } in the job",
    ),
    "buildkite": PlatformTraits(
        entry="buildkite:Buildkite",
        title="Buildkite",
        shown_by="BUILDKITE",
        job=("BUILDKITE_JOB_ID",),
        permission="an agent of version 3.48 or later",
    ),
    "circleci": PlatformTraits(
        entry="circleci:CircleCI",
        title="CircleCI",
        shown_by="CIRCLECI",
        job=("CIRCLE_WORKFLOW_JOB_ID",),
        permission="a context in the job, or the command circleci",
    ),
    "azure_pipelines": PlatformTraits(
        entry="azure_pipelines:AzurePipelines",
        title="Azure Pipelines",
        shown_by="TF_BUILD",
        audience="api://AzureADTokenExchange",
        job=("SYSTEM_JOBID", "SYSTEM_JOBATTEMPT"),
        permission="env: { SYSTEM_ACCESSTOKEN: $(System.AccessToken) } in the step",
    ),
    "bitbucket": PlatformTraits(
        entry="given:Given",
        title="Bitbucket Pipelines",
        shown_by="BITBUCKET_STEP_UUID",
        variable="BITBUCKET_STEP_OIDC_TOKEN",
        is_asked=False,
        job=("BITBUCKET_STEP_UUID",),
        permission="oidc: true in the step",
    ),
    "kubernetes": PlatformTraits(
        entry="file:TokenFile",
        title="Kubernetes",
        needs="file",
        is_asked=False,
        permission="a projected serviceAccountToken in the pod",
    ),
    "spiffe": PlatformTraits(
        entry="spiffe:Spiffe",
        title="SPIFFE",
        needs="file or socket",
        is_asked=False,
        is_cached=True,
        permission="a JWT-SVID in that file",
    ),
    "google_metadata": PlatformTraits(
        entry="google_metadata:GoogleMetadata",
        title="Google's metadata server",
        permission="a service account of this machine",
    ),
    "file": PlatformTraits(
        entry="file:TokenFile", title="a file", needs="file", is_asked=False, permission="the file"
    ),
    "command": PlatformTraits(
        entry="command:TokenCommand",
        title="a command",
        needs="command",
        permission="a command that prints it",
    ),
}


def variables_of(sources: Iterable[Reference]) -> set[str]:
    """Return the variables that hold the token of an identity, as it lies there for anybody."""
    found: set[str] = set()
    for one in sources:
        if one.kind in PLATFORMS and PLATFORMS[one.kind].needs == "variable":
            found.update(one.target)
        named = PLATFORMS.values() if one.kind == AUTO else [PLATFORMS.get(one.kind)]
        found.update(traits.variable for traits in named if traits and traits.variable)
    return found
