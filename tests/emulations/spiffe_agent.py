"""An emulated SPIFFE agent for a test, which spiffe_server.py is.

`with SpiffeAgent() as agent:` then `agent.socket` is its path, `agent.jwks` the keys to believe.
Faults are FORGERIES of authority.py and those of FAULTS.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Self

from tests.emulations.authority import FORGERIES
from tests.emulations.service import SILENCE_S

ID = "spiffe://example.org/ci/deploy"
FAULTS = (
    *("audience", "two", "not a jwt", "empty", "other id", "garbage", "huge", "silence"),
    *("permission", "unavailable", "unimplemented", "internal"),
    *FORGERIES,
)
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class SpiffeAgent:
    """One agent, on a socket of its own in a folder of its own, whose path is short."""

    def __enter__(self) -> Self:
        """Start it."""
        self._folder = tempfile.mkdtemp(prefix="spiffe-", dir="/tmp")
        self.socket = f"{self._folder}/agent.sock"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.emulations.spiffe_server", self.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        self.jwks: dict[str, Any] = json.loads(self._read())
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop it."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
        shutil.rmtree(self._folder)

    def set(self, **changes: Any) -> list[list[str]]:  # noqa: ANN401 - of `Agent.set`
        """Change what it answers; return the audiences of all requests so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(changes) + "\n")
        self._process.stdin.flush()
        found: list[list[str]] = json.loads(self._read())
        return found

    @property
    def seen(self) -> list[list[str]]:
        """The audiences of all requests so far."""
        return self.set()

    def fault(self, name: str, seconds: float = SILENCE_S) -> None:
        """Answer wrongly from now on; "" ends it."""
        assert name in {"", *FAULTS}, name
        self.set(fault=name, seconds=seconds)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
