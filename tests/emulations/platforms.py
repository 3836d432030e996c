"""The endpoints at which CI platforms hand out a job's identity, and what else gives one.

`with Platforms() as platforms:` then `platforms.environ("github", Job(), folder)` is a job's
environment; `platforms.authority["github"]` is who signed, for the issuer to believe. A fault is
set by `platforms.fault(name)`, for what is asked over HTTP and by command, and by
`environ(…, fault=name)` for what stands in a variable or a file. Beside those of service.py:

    permission   what the platform does where the job may not have one: no variable, or 403
    audience     made out to another audience
    two          two tokens in one answer
    two, list    "two" as a JSON list
    not a jwt    one word
    and each name in FORGERIES of authority.py: expired, old, alg none, another key, …

GitHub: the client of github.com/actions/toolkit (core/src/oidc-utils.ts): `GET URL&audience=…`,
bearer token, `{"value": …}`; `count` beside it is from public logs. What it answers to a wrong
bearer is documented nowhere: 401 here. Azure Pipelines: azure-identity's azure_pipelines.py: `POST
URI?api-version=7.1&serviceConnectionId=…`, `{"oidcToken": …}`; without the header
`X-TFS-FedAuthRedirect: Suppress` a wrong bearer is redirected to a page for people. Google:
cloud.google.com/compute/docs/instances/verifying-instance-identity and the client google-auth:
`Metadata-Flavor: Google` both ways, else 403; the token is the whole body.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.emulations.authority import FORGERIES, Authority, note_secret
from tests.emulations.environ import environ_of, github_plan
from tests.emulations.executables import write_executables
from tests.emulations.jobs import ISSUERS, ORGANISATION, Job, authority_of, claims_of
from tests.emulations.service import HTML, Reply, Seen, Service, as_json, as_text
from tests.idp.issuer import TRACE_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ELSEWHERE = "https://elsewhere.example"
ROOT_ISSUER = "https://oidc.circleci.com"  # of tokens that `--root-issuer` asks for
CONNECTION = "11111111-2222-3333-4444-555555555555"  # Azure Pipelines' service connection
AZURE_AUDIENCE = "api://AzureADTokenExchange"
FAULTS = ("permission", "audience", "two", "two, list", "not a jwt", *FORGERIES)


class Platforms(Service):
    """One server for the endpoints of all platforms; each job is known by its environment."""

    own_faults = FAULTS

    def __init__(self, tls_folder: str | None = None, *, is_noted: bool = True) -> None:
        super().__init__(tls_folder)
        self.authority: dict[str, Authority] = {
            name: authority_of(name, key=number, is_noted=is_noted)
            for number, name in enumerate(ISSUERS)
        }
        self._jobs: dict[str, Job | None] = {}  # by what the request names
        self._bin: str | None = None

    def __exit__(self, *exception: object) -> None:
        """Stop, and remove the commands."""
        super().__exit__(*exception)
        if self._bin:
            shutil.rmtree(self._bin)

    # What a job sees.

    def environ(
        self,
        platform: str,
        job: Job,
        folder: str,
        *,
        audience: str = "",
        fault: str = "",
        variable: str = "ID_TOKEN",
    ) -> dict[str, str]:
        """Return the variables of a job, and write its files into the folder.

        `audience` is for the platforms whose token stands in a variable or a file; `variable` is
        GitLab's; `fault="permission"` leaves out what the platform leaves out.
        """
        found = environ_of(platform, job, folder)
        more = IDENTITIES[platform](self, job, folder, audience, fault)
        if platform == "gitlab" and more:
            more = {variable: more["ID_TOKEN"]}
        return {**found, **more}

    def token(
        self,
        platform: str,
        job: Job,
        audience: str,
        fault: str = "",
        changes: Mapping[str, object] | None = None,
    ) -> str:
        """Return a job's identity token, some claims changed, or what a fault makes of it."""
        authority = self.authority[platform]
        if fault == "not a jwt":
            return "nonsense"
        named = ELSEWHERE if fault == "audience" else audience
        claims = {**claims_of(platform, job, named), **(changes or {})}
        if fault in FORGERIES:
            return authority.forge(fault, claims)
        token = authority.sign(claims, lifetime_s=3600 if platform == "circleci" else 300)
        if fault.startswith("two"):
            return token + "\n" + authority.sign(claims)
        return token

    def write_token(
        self, path: str, platform: str, job: Job, audience: str, fault: str = ""
    ) -> str:
        """Write a token as a kubelet does: whole, by a rename; return the path."""
        fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(self.token(platform, job, audience, fault))
        os.replace(temporary, path)
        return path

    def know(self, name: str, job: Job | None) -> str:
        """Note which job a request with this name is of, None for none; return the name."""
        self._jobs[name] = job
        return name

    @property
    def bin(self) -> str:
        """The folder with `buildkite-agent` and `circleci`, to be put first into PATH."""
        if self._bin is None:
            folder = tempfile.mkdtemp(prefix="bin-", dir=os.environ.get(TRACE_DIR))
            self._bin = write_executables(folder, self.url)
        return self._bin

    # What the endpoints answer.

    def answer(self, request: Seen) -> Reply:
        """Answer as the platform whose path it is."""
        return self.answer_wrongly(request, "")

    def answer_wrongly(self, request: Seen, fault: str) -> Reply:
        """Answer so, but with a fault of FAULTS."""
        for prefix, handle in _ENDPOINTS.items():
            if prefix in request.path:
                return handle(self, request, fault)
        return Reply(404)

    def job_of(self, name: str) -> Job | None:
        """Return the job that this name stands for."""
        return self._jobs.get(name)


# --- what gives an identity, beside the platform's usual variables ------------------------------


def _github(it: Platforms, job: Job, _folder: str, _audience: str, fault: str) -> dict[str, str]:
    if fault == "permission" or job.fork == "pull_request":
        return {}  # neither variable is set without `id-token: write`, and for no fork
    bearer = it.know(f"github-request-{job.id('request')}", job)
    note_secret("request_token", bearer)
    path = f"/232//idtoken/{github_plan(job)}/{job.id('job')}"
    return {
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": bearer,
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{it.url}{path}?api-version=2.0",
    }


def _azure(it: Platforms, job: Job, _folder: str, _audience: str, fault: str) -> dict[str, str]:
    base = f"{it.url}/{job.owner}/_apis/distributedtask/hubs/build"
    path = f"plans/{job.run_id('plan')}/jobs/{job.id('job')}"
    found = {
        "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": CONNECTION,  # by the tasks that have one
        "SYSTEM_OIDCREQUESTURI": f"{base}/{path}/oidctoken",
    }
    if fault != "permission":  # which has to be mapped into the step's environment
        found["SYSTEM_ACCESSTOKEN"] = it.know(f"azure-access-{job.id('request')}", job)
        note_secret("request_token", found["SYSTEM_ACCESSTOKEN"])
    return found


def _buildkite(it: Platforms, job: Job, _folder: str, _audience: str, fault: str) -> dict[str, str]:
    access = "" if fault == "permission" else f"buildkite-access-{job.id('request')}"
    it.know(job.id("job"), job)
    path = f"{it.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"BUILDKITE_AGENT_ACCESS_TOKEN": access, "PATH": path}


def _circleci(it: Platforms, job: Job, _folder: str, _audience: str, fault: str) -> dict[str, str]:
    path = f"{it.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    it.know(job.id("job"), None if fault == "permission" else job)
    if fault == "permission":  # a fork whose project passes no secrets to forks
        return {"PATH": path}
    token = it.token("circleci", job, ORGANISATION, fault)
    return {"CIRCLE_OIDC_TOKEN": token, "CIRCLE_OIDC_TOKEN_V2": token, "PATH": path}


def _variable(platform: str, name: str) -> Callable[..., dict[str, str]]:
    def found(it: Platforms, job: Job, _folder: str, audience: str, fault: str) -> dict[str, str]:
        if fault == "permission":
            return {}
        return {name: it.token(platform, job, audience, fault)}

    return found


def _file(platform: str) -> Callable[..., dict[str, str]]:
    def found(it: Platforms, job: Job, folder: str, audience: str, fault: str) -> dict[str, str]:
        if fault != "permission":
            it.write_token(os.path.join(folder, "token"), platform, job, audience, fault)
        return {}

    return found


def _google(it: Platforms, job: Job, _folder: str, _audience: str, fault: str) -> dict[str, str]:
    it.know("default", None if fault == "permission" else job)  # no service account
    return {"GCE_METADATA_HOST": it.url.partition("//")[2]}


IDENTITIES: dict[str, Callable[..., dict[str, str]]] = {
    "github": _github,
    "gitlab": _variable("gitlab", "ID_TOKEN"),
    "buildkite": _buildkite,
    "circleci": _circleci,
    "azure": _azure,
    "bitbucket": _variable("bitbucket", "BITBUCKET_STEP_OIDC_TOKEN"),
    "kubernetes": _file("kubernetes"),
    "spiffe": _file("spiffe"),
    "google": _google,
}


# --- the endpoints ------------------------------------------------------------------------------


def _named_twice(member: str, tokens: str) -> Reply:
    """Return JSON that names one member twice, with another token each time."""
    pairs = ",".join(f"{json.dumps(member)}:{json.dumps(token)}" for token in tokens.split("\n"))
    return Reply(200, f"{{{pairs}}}".encode(), {"Content-Type": "application/json"})


def _given(member: str, token: str, fault: str, **more: object) -> Reply:
    if fault == "two":
        return _named_twice(member, token)
    value = token.split("\n") if fault == "two, list" else token
    return as_json({member: value, **more})


def _answer_github(it: Platforms, request: Seen, fault: str) -> Reply:
    job = it.job_of(request.bearer)
    if request.method != "GET" or job is None or not request.path.endswith(job.id("job")):
        return Reply(401)
    if fault == "permission":
        return Reply(403)
    audience = request.query.get("audience") or f"https://github.com/{job.owner}"
    token = it.token("github", job, audience, fault)
    return _given("value", token, fault, count=len(token))


def _answer_azure(it: Platforms, request: Seen, fault: str) -> Reply:
    job = it.job_of(request.bearer)
    if job is None or fault == "permission":
        if request.headers.get("x-tfs-fedauthredirect") == "Suppress":
            return Reply(401)
        return Reply(302, headers={"Location": f"{it.trap_url}/_signin"})
    if request.method != "POST" or "api-version" not in request.query:
        return as_json({"message": "No api-version was supplied."}, 400)
    connection = request.query.get("serviceConnectionId")
    if connection not in {None, CONNECTION}:
        return as_json({"message": "The service connection was not found."}, 404)
    changes = {} if connection else {"sub": f"p://{job.owner}/{job.repo}/release"}
    token = it.token("azure", job, AZURE_AUDIENCE, fault, changes)
    return _given("oidcToken", token, fault)


def _answer_buildkite(it: Platforms, request: Seen, fault: str) -> Reply:
    job = it.job_of(request.path.split("/")[-3])
    expected = f"Token buildkite-access-{job.id('request')}" if job else ""
    if job is None or request.headers.get("authorization") != expected:
        return as_json({"message": "Invalid access token"}, 401)
    if fault == "permission":
        return as_json({"message": "Forbidden"}, 403)
    audience = request.json.get("audience") or f"https://buildkite.com/{job.owner}"
    token = it.token("buildkite", job, audience, fault)
    return as_json({"token": token.split("\n") if fault.startswith("two") else token})


def _answer_circleci(it: Platforms, request: Seen, fault: str) -> Reply:
    job = it.job_of(request.path.rsplit("/", 1)[-1])
    if job is None or fault == "permission":
        return as_json({"message": "no OIDC token for this job"}, 403)
    claims = request.json.get("claims") or {}
    if claims.keys() - {"aud"}:
        return as_json({"message": "only aud can be set"}, 400)
    changes = {"iss": ROOT_ISSUER} if request.json.get("root_issuer") else {}
    token = it.token("circleci", job, claims.get("aud") or ORGANISATION, fault, changes)
    return as_json({"token": token.split("\n") if fault.startswith("two") else token})


def _answer_google(it: Platforms, request: Seen, fault: str) -> Reply:
    job = it.job_of(request.path.split("/")[-2])
    if request.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in request.headers:
        return HTML._replace(status=403)
    if job is None or fault == "permission":
        return HTML._replace(status=404)  # no such service account on this machine
    audience = request.query.get("audience")
    if not audience:
        return as_text("non-empty audience parameter required", 400)
    token = it.token("google", job, audience, fault)
    return as_text(token)._replace(headers={"Metadata-Flavor": "Google"})


_ENDPOINTS: dict[str, Callable[[Platforms, Seen, str], Reply]] = {
    "//idtoken/": _answer_github,
    "/oidctoken": _answer_azure,
    "/buildkite/v3/jobs/": _answer_buildkite,
    "/circleci/oidc/": _answer_circleci,
    "/computeMetadata/v1/instance/service-accounts/": _answer_google,
}


def metadata_url(platforms: Platforms, audience: str) -> str:
    """Return the address of Google's identity token for an audience."""
    path = "/computeMetadata/v1/instance/service-accounts/default/identity"
    return f"{platforms.url}{path}?audience={quote(audience, safe='')}&format=full"
