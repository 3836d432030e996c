"""GitHub Actions: a token for any audience, from an address that each job has of its own.

Source: docs.github.com, "OpenID Connect reference", and the toolkit's `core.getIDToken`.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.identity.by_variables import ByVariables
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

URL, TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
# Where github.com's own runners ask for a token: docs.github.com, "Self-hosted runners reference",
# the hosts that are needed for OIDC tokens. A server of somebody's own has a host of its own.
SERVER, OWN_SERVER = "GITHUB_SERVER_URL", "https://github.com"
OWN_HOSTS = ".actions.githubusercontent.com"
_MAX_EVENT_BYTES = 32 << 20
_CANT_TELL = "its event can't be read, so nobody can tell whose it is"


class GitHub(ByVariables):
    """GitHub Actions, GitHub's own or an Enterprise Server's."""

    NAMES = {  # noqa: RUF012 - read alone
        **{name: name for name in ("repository", "repository_id", "ref", "environment")},
        **{name: name for name in ("actor", "workflow")},
        "event": "event_name",
    }

    def find_ids(self, source: Reference, environ: Mapping[str, str]) -> tuple[str, ...] | None:
        """Return run, attempt, job, and where this very leg of a matrix asks for its identity.

        All legs have the same GITHUB_JOB, and on one runner the same name of it; the address has a
        number of its own for each.
        """
        ids, url = super().find_ids(source, environ), environ.get(URL, "")
        path = url.partition("?")[0].partition("://")[2].partition("/")[2]
        legs = [part for part in path.split("/") if part and part != "idtoken"]
        return (*ids, "/".join(legs[-2:])) if ids is not None and legs else None

    def find_fork(self, environ: Mapping[str, str]) -> str | None:
        """Return how a pull request is seen to come from a fork, or a run to be of one's."""
        event = environ.get("GITHUB_EVENT_NAME", "")
        if not event.startswith("pull_request") and event != "workflow_run":
            return None
        found = _read_event(environ.get("GITHUB_EVENT_PATH", ""))
        if event == "workflow_run":
            run, own = found.get("workflow_run"), found.get("repository")
            head = run.get("head_repository") if isinstance(run, dict) else None
        else:
            request = found.get("pull_request")
            request = request if isinstance(request, dict) else {}
            head, own = (_repository(request.get(side)) for side in ("head", "base"))
        names = [_name(head), _name(own)]
        if names[1] is None:
            return _CANT_TELL
        if names[0] == names[1]:
            return None
        return f"its {event.replace('_', ' ')} comes from another repository"

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - nothing more is named
        """Yield the one request."""
        from urllib.parse import quote  # noqa: PLC0415 - a warm hand-out asks nobody

        from brokerctl.identity.proof import request_member  # noqa: PLC0415 - as above
        from brokerctl.oauth.message import JSON, HttpRequest, is_endpoint  # noqa: PLC0415 - as above
        from brokerctl.secret import Secret  # noqa: PLC0415 - as above

        url, token = self.need(environ, URL), self.need(environ, TOKEN)
        if not is_endpoint(url):
            raise UsageError(f"{URL} is no address that a token may be sent to")
        _refuse_other_host(environ, url)
        bearer = Secret(f"Bearer {token}")
        mark = "&" if "?" in url else "?"
        request = HttpRequest(
            method="GET",
            url=f"{url}{mark}audience={quote(audience, safe='')}",
            headers=(JSON, ("authorization", bearer)),
            secrets=(Secret(token),),
        )
        return (
            yield from request_member(request, "value", self.traits.title, self.traits.permission)
        )

    def describe(self, claims: dict[str, Any]) -> dict[str, Any]:
        """Return what the claims say of the job; a branch is a ref of heads."""
        found = super().describe(claims)
        kind, _, name = str(claims.get("ref")).partition("refs/heads/")
        return found | {"branch": name} if name and not kind else found


def _refuse_other_host(environ: Mapping[str, str], url: str) -> None:
    """Raise UsageError where a job of github.com is told to ask somebody else who it is.

    Security: a step before ours can set that address, and not the server's (GitHub keeps names that
    begin with GITHUB_ to itself); who is asked gets the token with which the job asks.
    """
    from brokerctl.config.hosts import parse_url  # noqa: PLC0415 - a warm hand-out asks nobody

    if environ.get(SERVER, "").lower().rstrip("/") != OWN_SERVER:
        return
    if not parse_url(url).host.endswith(OWN_HOSTS):
        raise UsageError(
            f"{URL} is at {parse_url(url).host}, and {SERVER} is {OWN_SERVER}",
            hint=f"GitHub's own hosts end in {OWN_HOSTS}: look for the step that sets it",
        )


def _repository(side: object) -> object:
    return side.get("repo") if isinstance(side, dict) else None


def _name(repository: object) -> str | None:
    name = repository.get("full_name") if isinstance(repository, dict) else None
    return name.lower() if isinstance(name, str) else None


def _read_event(path: str) -> dict[str, Any]:
    """Return the event of this run; empty where it can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            data = b""
            while len(data) <= _MAX_EVENT_BYTES:
                more = os.read(fd, 1 << 20)
                if not more:
                    break
                data += more
        finally:
            os.close(fd)
        found = jsonlite.loads(data)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
