"""What the append may load: each module costs every hand-out of every tool its time."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import brokerctl

# A new line needs a reason: see the budget in the design. `_sodium` is PyNaCl's compiled half.
ALLOWED = {
    "__future__",
    "_cffi_backend",
    "_json",
    "_operator",
    "_sodium",
    "_sodium.lib",
    "brokerctl",
    "brokerctl.audit",
    "brokerctl.audit.append",
    "brokerctl.audit.lock",
    "brokerctl.audit.record",
    "brokerctl.audit.repeats",
    "brokerctl.audit.recover",
    "brokerctl.errors",
    "brokerctl.platform.flock",
    "brokerctl.platform.private_files",
    "brokerctl.jsonlite",
    "brokerctl.model",
    "brokerctl.platform.process",
    "brokerctl.secret",
    "brokerctl.sodium",
    "brokerctl.platform",
    "brokerctl.platform.system",
    "errno",
    "fcntl",
    "nacl",
    "nacl._sodium",
}
SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:3]
before = set(sys.modules)
from brokerctl.audit.append import Log
from brokerctl.platform.private_files import open_folder
class Ring:
    log_id = 1
    def log_key(self, _): return bytes(32)
log = Log(open_folder(sys.argv[3]), Ring())
for _ in range(3):
    log.append("token.denied", {"decision": {"effect": "deny"}}, durable=True)
    log.append("token.handed_out", {"purpose": "x" * 9000})
print(*sorted(set(sys.modules) - before), sep="\\n")
"""


def test_an_append_loads_the_listed_modules_alone(tmp_path: object) -> None:
    """Counting, cutting, creating and syncing too."""
    source = os.path.dirname(os.path.dirname(brokerctl.__file__))
    argv = [sys.executable, "-I", "-c", SCRIPT, source, sysconfig.get_path("platlib")]
    done = subprocess.run([*argv, f"{tmp_path}/audit"], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) == ALLOWED
