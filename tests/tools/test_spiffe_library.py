"""Another client of the SPIFFE Workload API gets its JWT-SVID at the emulated agent.

So a mistake about the protocol that emulation and brokerctl share is found: py-spiffe was written
against SPIRE. brokerctl has no part in it.
"""

from __future__ import annotations

import subprocess

from tests.emulations.authority import unverified_claims
from tests.emulations.spiffe_agent import ID, SpiffeAgent
from tests.tools.clients import require_client

AUDIENCE = "https://issuer.example"
CODE = """
import sys
from spiffe import WorkloadApiClient
with WorkloadApiClient(f"unix://{sys.argv[1]}", default_timeout=120) as client:
    for svid in client.fetch_jwt_svids({sys.argv[2]}):
        print(svid.spiffe_id, svid.token)
"""


def fetch(agent: SpiffeAgent) -> subprocess.CompletedProcess[str]:
    """Ask by py-spiffe."""
    words = [require_client("python"), "-c", CODE, agent.socket, AUDIENCE]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_it_gets_all_svids() -> None:
    """In their order, for the audience; an agent that knows no such workload is told."""
    other = "spiffe://example.org/ci/other"
    with SpiffeAgent() as agent:
        agent.set(ids=[other, ID])
        done = fetch(agent)
        assert done.returncode == 0, done.stderr
        found = dict(line.split() for line in done.stdout.splitlines())
        assert list(found) == [other, ID]
        claims = [unverified_claims(token) for token in found.values()]
        assert [(one["sub"], one["aud"]) for one in claims] == [
            (other, [AUDIENCE]),
            (ID, [AUDIENCE]),
        ]
        agent.fault("permission")
        assert "PERMISSION_DENIED" in fetch(agent).stderr
