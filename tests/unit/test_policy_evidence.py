"""An executable's digest is read once, as long as it is the same file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from brokerctl.broker import evidence
from brokerctl.broker.evidence import Evidence
from brokerctl.model import Requester, TokenRequest
from brokerctl.platform.process import has_terminal
from tests.store_room import open_store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def read_digest(store: Any, pid: int) -> str | None:  # noqa: ANN401 - a store
    """Ask for the digest of what a process runs, as a new command does."""
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=pid))
    nobody: Any = None
    found: str | None = Evidence(store, nobody, None, request, None)("exe_sha256")
    return found


def test_a_digest_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time nothing is read; a file that was replaced or removed is read as it runs."""
    times: list[int] = []
    plain = evidence.sha256_of

    def counted(fd: int) -> str:
        times.append(fd)
        return plain(fd)

    monkeypatch.setattr(evidence, "sha256_of", counted)
    store = open_store(str(tmp_path / "store"))
    path = tmp_path / "program"
    with open("/bin/sleep", "rb") as file:
        data = file.read()
    path.write_bytes(data)
    path.chmod(0o700)
    expected = hashlib.sha256(data).hexdigest()
    child = subprocess.Popen([str(path), "60"])
    try:
        assert [read_digest(store, child.pid) for _ in range(3)] == [expected] * 3
        assert len(times) == 1
        other = tmp_path / "other"
        other.write_bytes(data + b"more")
        os.rename(other, path)  # another file of that name: the process goes on with its own
        assert read_digest(store, child.pid) == expected
    finally:
        child.kill()
        child.wait()
    assert read_digest(store, child.pid) is None


def test_what_can_not_be_read_is_not_known(tmp_path: Path) -> None:
    """Of a process that is gone there is no fact at all."""
    store = open_store(str(tmp_path / "store"))
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    pid = int(gone.stdout)
    assert read_digest(store, pid) is None
    assert has_terminal(pid) is None
    request = TokenRequest(profile="p", requester=Requester(uid=0, pid=pid))
    nobody: Any = None
    reader = Evidence(store, nobody, None, request, None)
    assert [reader(name) for name in ("tty", "login_age", "repository", "ci")] == [None] * 4
