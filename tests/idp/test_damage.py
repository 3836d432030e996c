"""A damaged entry of the store is named to the user and in the record, and blocks nothing."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.idp.main_job import service

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program


def _flip(path: str) -> None:
    """Change the last bit of a file."""
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes((last[0] ^ 1,)))


def test_a_damaged_slot_is_told_once(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """`get` says so, gets a new token, records both, and is silent the next time."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    name = service(brokerctl, http_issuer)
    first = brokerctl("get", name)
    tokens = os.path.join(brokerctl.home, "state", "v1", "tokens")
    (grant,) = os.listdir(tokens)
    (slot,) = os.listdir(os.path.join(tokens, grant))
    _flip(os.path.join(tokens, grant, slot))
    second, third = brokerctl("get", name), brokerctl("get", name)
    assert (second.returncode, third.returncode) == (0, 0)
    assert first.stdout != second.stdout == third.stdout
    assert second.stderr == (
        "brokerctl: warning: a token entry was damaged and set aside: it was altered, swapped or"
        " sealed by another key; run 'brokerctl store check'\n"
    )
    assert third.stderr == ""
    log = [json.loads(line) for line in brokerctl("audit", "log", "--json").stdout.splitlines()]
    (record,) = [one for one in log if "store.damaged" in json.dumps(one)]
    assert "altered" in json.dumps(record)


@pytest.mark.parametrize("is_mended", [False, True], ids=["status", "after store check --mend"])
def test_a_damaged_session_keeps_no_token_alive(
    brokerctl: Program, http_issuer: OidcProvider, *, is_mended: bool
) -> None:
    """Its supervisor was killed: the entry is set aside, told once, and its own tokens die."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    kept = brokerctl("get", service(brokerctl, http_issuer)).stdout.strip()
    words = ("exec", "-p", "service", "--file", "F=service", "--")
    script = "cat $F; echo; echo $F; echo $$; exec sleep 60"
    with brokerctl.start(*words, "sh", "-c", script) as process:
        assert process.stdout is not None
        token, path, child = (process.stdout.readline().strip() for _ in range(3))
        for pid in (process.pid, int(child)):
            os.kill(pid, signal.SIGKILL)
    sessions = os.path.join(brokerctl.home, "state", "v1", "sessions")
    (entry,) = os.listdir(sessions)
    _flip(os.path.join(sessions, entry))
    assert brokerctl("store", "check", *["--mend"] * is_mended).returncode == (
        9 if is_mended else 6
    )
    assert http_issuer.is_active(token)
    first, second = brokerctl("status"), brokerctl("status")
    told = first.stderr.splitlines()
    assert told[-1] == "brokerctl: note: a lost session's token of 'service': revoked"
    warning = "brokerctl: warning: a session entry was damaged and set aside: it was altered"
    assert is_mended or told[0].startswith(warning)
    assert (len(told), second.stderr) == (1 if is_mended else 2, "")
    assert (http_issuer.is_active(token), http_issuer.is_active(kept)) == (False, True)
    assert not os.path.exists(path)
    assert os.listdir(sessions) == []
    assert is_mended or '"event":"store.damaged"' in brokerctl("audit", "log", "--json").stdout
