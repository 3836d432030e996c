"""The SPIFFE Workload API: asks the agent behind a Unix socket for this workload's JWT-SVID.

It is asked by a process of its own (workload_api_child.py): gRPC starts threads that a later fork
would not survive, its settings are variables that print what is sent, and a process can be ended
at its deadline, whatever it waits for. The agent tells workloads apart by user, container and
program; those of the process are ours.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

from brokerctl.config.paths import expand_home
from brokerctl.errors import IssuerError, UnsentError, UsageError, shell_word
from brokerctl.oauth.steps import Svid
from brokerctl.platform.commands import environ_for, run_bounded
from brokerctl.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.oauth.steps import FetchSvid

EXTRA = "brokerctl[spiffe]"
_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "workload_api_child.py")
_LONGEST_PATH = 107  # bytes of `sun_path` in unix(7), without its end
_MAX_OUTPUT = 131_072  # bytes
_AGENT = "the SPIFFE agent"
# What an agent answers, by gRPC's names; of all others the name is told.
_ANSWERS = {
    "UNAVAILABLE": "can't be reached, or is not ready",
    "DEADLINE_EXCEEDED": "did not answer in time",
    "RESOURCE_EXHAUSTED": "answered with too much",
    "UNIMPLEMENTED": "has no JWT-SVIDs to give",
}


def fetch_svid(asked: FetchSvid, environ: Mapping[str, str], timeout_s: float) -> Svid:
    """Return this workload's default JWT-SVID for an audience.

    Raises UsageError where the socket, the right to use it, the packages or the registration of
    this workload is missing; UnsentError or IssuerError where the agent gives nothing of use.
    """
    path = expand_home(asked.socket, environ)
    _check_socket(path)
    found = _ask(path, asked.audience, environ, timeout_s)
    if "missing" in found:
        raise UsageError(
            f"what speaks to the SPIFFE Workload API is not installed: {found['missing']}",
            hint=f"run 'pip install {shell_word(EXTRA)}' where brokerctl is installed",
        )
    code = found.get("code")
    if code == "PERMISSION_DENIED":
        raise UsageError(
            f"{_AGENT} at {path} knows no identity of this workload (PermissionDenied)",
            hint="it needs a registration entry whose selectors fit this process",
        )
    if code is not None:
        raise UnsentError(f"{_AGENT} at {path} {_ANSWERS.get(code, f'answered {code}')}")
    if not found["count"]:
        raise IssuerError(f"{_AGENT} at {path} answered without a JWT-SVID")
    return Svid(token=Secret(found["svid"]), id=found["id"])


def _check_socket(path: str) -> None:
    """Raise UsageError for what is no socket that we may use, with what is missing."""
    where = "its socket is where the agent runs, and has to be mounted into a pod"
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise UsageError(f"{_AGENT} can't be asked at {path}: {why}", hint=where) from error
    if not is_socket:
        raise UsageError(f"{_AGENT} can't be asked at {path}: it is no socket", hint=where)
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise UsageError(f"{_AGENT} can't be asked at {path}: a socket's path can't be that long")
    if not os.access(path, os.W_OK):
        raise UsageError(
            f"{_AGENT} can't be asked at {path}: this user may not write to that socket",
            hint="have the agent open its socket to this user or one of its groups",
        )


def _ask(path: str, audience: str, environ: Mapping[str, str], timeout_s: float) -> dict[str, Any]:
    """Return what our process answered."""
    if timeout_s <= 0:
        raise UnsentError(f"no time is left to ask {_AGENT}")
    asked = {"socket": path, "audience": audience, "timeout_s": timeout_s}
    words = [sys.executable, "-I", _CHILD]
    kept = environ_for("workload_api", environ)
    given = json.dumps(asked).encode()
    try:
        _, output = run_bounded(words, kept, timeout_s, _MAX_OUTPUT, given=given, is_quiet=True)
        found = json.loads(output)
    except TimeoutError:
        raise UnsentError(f"{_AGENT} at {path} did not answer in time") from None
    except (OSError, ValueError) as error:
        raise UnsentError(f"{_AGENT} at {path} could not be asked") from error
    answer: dict[str, Any] = found
    return answer
