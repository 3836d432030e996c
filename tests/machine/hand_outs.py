"""Hand-outs that do more than a warm `get`: to a process that waits for another, and to a job."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

from brokerctl.identity import find_job
from brokerctl.model import GrantKey, Reference, Token, TokenKey
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store.values import Change
from tests.emulations.environ import environ_of
from tests.emulations.jobs import Job
from tests.machine.room import RESOURCE, SCOPES, answers
from tests.program import TIMEOUT_S

if TYPE_CHECKING:
    from brokerctl.store.file import FileStore
    from tests.machine.room import Machine

PROFILE = """
[profile.job]
issuer = "{url}"
flow = "token_exchange"
client_id = "cli"
identity = "auto"
scopes = ["read"]
resource = ["https://api.example"]
"""
# Those whose jobs are told by variables.
PLATFORMS = ("github", "gitlab", "buildkite", "circleci", "azure", "bitbucket")
ASKED = "https://pipelines.example/1/_apis/distributedtask/hubs/Actions/plans/2/jobs/3/idtoken"
VALUE = "at-of-one-who-did-the-work"


def wait_for_refresh(machine: Machine, argv: list[str]) -> str:
    """Run a `get` that has to wait for the process that has the grant's lock; return its stderr.

    That process is this one, which ends no wait before the other has begun it, however slow it is.
    """
    machine.log_in(lifetime_s=1, issued_ago_s=10)
    machine.issuer.reset()
    key = GrantKey(issuer=machine.issuer.url, client_id="device", scopes=SCOPES, resource=RESOURCE)
    env, pipe, store = machine.program.environment(), subprocess.PIPE, machine.store()
    with store.lock_grant(key, work_time() + TIMEOUT_S) as locked:
        waiter = subprocess.Popen(argv, env=env, stdout=pipe, stderr=pipe, text=True)
        while _threads(waiter) == 1:  # it waits in a thread of its own
            time.sleep(0.01)
        slot = TokenKey(grant=key, scopes=SCOPES, resource=RESOURCE)
        locked.commit(Change(token_key=slot, token=token_of(store, SCOPES), profile="person"))
    store.disk.close()
    stdout, stderr = waiter.communicate(timeout=TIMEOUT_S)
    assert (waiter.returncode, stdout) == (0, f"{VALUE}\n"), stderr
    assert machine.issuer.counts()["grants"] == {}
    return stderr


def token_of(store: FileStore, scopes: tuple[str, ...]) -> Token:
    """Return a token that was issued a moment ago."""
    now, fingerprint = time.time(), store.ring.fingerprint(VALUE)
    return Token(
        value=Secret(VALUE),
        fingerprint=fingerprint,
        token_type="Bearer",
        scopes=scopes,
        issued_at=now,
        expires_at=now + 3600,
    )


def _threads(process: subprocess.Popen[str]) -> int:
    return 0 if process.poll() is not None else len(os.listdir(f"/proc/{process.pid}/task"))


def enter_job(machine: Machine, platform: str) -> dict[str, str]:
    """Put a token of this job into the store; return the variables of a `get job` there."""
    machine.configure(PROFILE)
    found = environ_of(platform, Job(), machine.home) | {"ACTIONS_ID_TOKEN_REQUEST_URL": ASKED}
    env = machine.program.environment(found | {"CI": None})
    assert machine("status", env=env).returncode == 0
    key = GrantKey(
        issuer=machine.issuer.url,
        client_id="cli",
        actor="client",
        job=find_job(Reference(kind="auto", target=()), env).id,
        scopes=("read",),
        resource=RESOURCE,
        source="identity urn:ietf:params:oauth:token-type:jwt",
    )
    store = machine.store()
    with store.lock_grant(key, work_time() + TIMEOUT_S) as locked:
        slot = TokenKey(grant=key, scopes=("read",), resource=RESOURCE)
        token = token_of(store, ("read",))
        locked.commit(Change(token_key=slot, token=token, profile="job"))
    store.disk.close()
    answers(machine("get", "job", env=env), VALUE)
    return env
