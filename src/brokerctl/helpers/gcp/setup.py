"""Makes Google's credential file: the pool for a profile's token, and the command to run."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import PRIVATE_MODE, SetupFile
from brokerctl.helpers.setups import UsualSetup, own_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_STS = "https://sts.googleapis.com/v1/token"
_IMPERSONATE = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
_TIMEOUT_MS = 60000  # time for one holder of a grant's lock, and for one that waits
_SAYS = " helper gcp --profile "
_OURS = {
    "type",
    "audience",
    "subject_token_type",
    "token_url",
    "service_account_impersonation_url",
    "credential_source",
}


class GcpSetup(UsualSetup):
    """`gcp.json` among our own files; Google's libraries find it by a variable."""

    name = "gcp"
    script = "brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the one file."""
        return [SetupFile(own_path(environ, "gcp.json"), PRIVATE_MODE)]

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Write the whole file; UsageError if another's file is there."""
        if text and self.take(place, text) is None:
            raise UsageError(f"{place.path} is another's file", hint="move it away first")
        profile = part.one_profile()
        if not profile.google:
            raise UsageError(
                f"'{profile.name}' names no pool of Google's",
                hint="add google = { pool = … } to the profile",
            )
        pool, *account = profile.google
        command = shlex.join([part.script, "helper", "gcp", "--profile", profile.name])
        body: dict[str, object] = {
            "type": "external_account",
            "audience": pool,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": _STS,
        }
        if account:
            url = f"{_IMPERSONATE}/{account[0]}:generateAccessToken"
            body["service_account_impersonation_url"] = url
        run = {"command": command, "timeout_millis": _TIMEOUT_MS}
        body["credential_source"] = {"executable": run}
        body |= _others(text)
        return json.dumps(body, indent=2) + "\n"

    def take(self, place: SetupFile, text: str) -> str | None:  # noqa: ARG002 - there is one place
        """Take out all that is ours; what somebody added, as a `quota_project_id`, stays."""
        try:
            command = json.loads(text)["credential_source"]["executable"]["command"]
        except (ValueError, KeyError, TypeError):
            return None
        if not isinstance(command, str) or _SAYS not in command:
            return None
        others = _others(text)
        return json.dumps(others, indent=2) + "\n" if others else ""

    def advice(self, part: Part) -> str | None:
        """Name the two variables that Google's libraries read."""
        path = shlex.quote(own_path(part.environ, "gcp.json"))
        both = f"GOOGLE_APPLICATION_CREDENTIALS={path} GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1"
        return f"set {both}"


def _others(text: str) -> dict[str, object]:
    """Return what somebody added to our file."""
    found = json.loads(text) if text else {}
    return {name: value for name, value in found.items() if name not in _OURS}
