"""A damaged entry of the store is named to the user and in the record, and blocks nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.idp.main_job import service

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program


def test_a_damaged_slot_is_told_once(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """`get` says so, gets a new token, records both, and is silent the next time."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    name = service(brokerctl, http_issuer)
    first = brokerctl("get", name)
    tokens = os.path.join(brokerctl.home, "state", "v1", "tokens")
    (grant,) = os.listdir(tokens)
    (slot,) = os.listdir(os.path.join(tokens, grant))
    with open(os.path.join(tokens, grant, slot), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes((last[0] ^ 1,)))
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
