"""Identities for tests: tokens as platforms sign them, and a driver for the steps to one."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.steps import FetchSvid, ReadFile, Run, Send, Svid

if TYPE_CHECKING:
    from collections.abc import Generator

AUDIENCE = "https://issuer.example.com"
REQUEST_TOKEN = "request-token-of-this-job"
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_ID": "1658821493",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_JOB": "release",
    "GITHUB_EVENT_NAME": "push",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://run-actions-1.example/88//idtoken/p-1/j-1?api-version=2.0",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
}
AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_JOBID": "12f1170f",
    "SYSTEM_JOBATTEMPT": "1",
    "SYSTEM_OIDCREQUESTURI": "https://dev.azure.example/org/p/_apis/oidctoken",
    "SYSTEM_ACCESSTOKEN": REQUEST_TOKEN,
}
# The variables of a job on each platform that is seen by one.
ENVIRONS: dict[str, dict[str, str]] = {
    "github": GITHUB,
    "gitlab": {"GITLAB_CI": "true", "CI_JOB_ID": "811", "CI_PROJECT_ID": "7"},
    "buildkite": {"BUILDKITE": "true", "BUILDKITE_JOB_ID": "0190-b"},
    "circleci": {"CIRCLECI": "true", "CIRCLE_WORKFLOW_JOB_ID": "c-1"},
    "azure_pipelines": AZURE,
    "bitbucket": {"BITBUCKET_STEP_UUID": "{s-1}"},
}


def jwt(header: dict[str, Any] | None = None, signature: str = "c2ln", **claims: Any) -> str:  # noqa: ANN401 - claims are JSON
    """Return a token whose signature nobody looks at here."""
    now = int(time.time())
    body = {
        "iss": "https://ci.example",
        "sub": "job",
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 300,
    }
    parts = [{"alg": "RS256", "typ": "JWT"} if header is None else header, body | claims]
    return ".".join([*(encode(json.dumps(part).encode()) for part in parts), signature])


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def answer_for(token: str, member: str = "value", status: int = 200) -> HttpResponse:
    """Return a platform's answer in JSON."""
    return HttpResponse(status=status, body=json.dumps({member: token}).encode())


def play(
    steps: Generator[Any, Any, Any],
    *,
    response: HttpResponse | BaseException | None = None,
    printed: bytes = b"",
    read: bytes = b"",
    svid: Svid | BaseException | None = None,
) -> tuple[Any, list[Any]]:
    """Run steps on canned answers; return what came of them and the steps."""
    taken: list[Any] = []
    answers: dict[type, Any] = {Send: response, Run: printed, ReadFile: read, FetchSvid: svid}
    try:
        step = next(steps)
        while True:
            taken.append(step)
            answer = answers[type(step)]
            step = steps.throw(answer) if isinstance(answer, BaseException) else steps.send(answer)
    except StopIteration as end:
        return end.value, taken
