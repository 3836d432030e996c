"""A token's file that gets another token while it is being exchanged: nothing is kept as another's.

The file is swapped at a fixed step and not by the clock, as a projected volume can be at any.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import UsageError
from brokerctl.home import open_home
from brokerctl.identity import find_job
from brokerctl.identity.proof import prove
from brokerctl.model import Reference
from brokerctl.oauth.steps import ReadFile
from tests.faults.chain_room import CHAIN, ONE, Chain
from tests.identities import AUDIENCE, jwt

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.broker.request import DecidedRequest
    from brokerctl.model import Token
    from brokerctl.store.interface import LockedGrant

KINDS = ("kubernetes", "spiffe", "file")


def claims_of(kind: str, name: str) -> dict[str, Any]:
    """Return the claims that tell a job from another; those of `nobody` tell nothing."""
    if name == "nobody":
        return {"sub": None}
    if kind == "kubernetes":
        return {"kubernetes.io": {"pod": {"uid": f"uid-{name}"}}}
    return {"sub": f"spiffe://td/{name}", "iss": None}


class Swapped(Chain):
    """A chain whose identity lies in a file, which is written anew before it is exchanged."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind, self.path, self.next = kind, folder / "token", ""
        self.write("first")
        text = CHAIN.replace("{ github = true }", f'{{ {kind} = "{self.path}" }}')
        super().__init__(str(folder / "v1"), text=text)

    def write(self, name: str) -> None:
        """Write the token of a job; a kubelet's file may be root's or the user's."""
        self.path.write_text(jwt(aud=ONE, **claims_of(self.kind, name)))
        self.path.chmod(0o600)

    def _redeem(self, decided: DecidedRequest, locked: LockedGrant) -> Token:
        if self.next and decided.profile.name == "grant":
            self.write(self.next)
        return super()._redeem(decided, locked)


@pytest.mark.parametrize("name", ["second", "nobody"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_token_is_not_exchanged_for_the_job_before(
    tmp_path: Path, kind: str, name: str
) -> None:
    """Refused before anything is sent; the next command has a token of the other job's own."""
    chain = Swapped(tmp_path, kind)
    key, chain.next = chain.key(), name
    assert chain.try_get() is None
    assert isinstance(chain.error, UsageError)
    assert "changed while it was being exchanged" in chain.error.message
    assert chain.one.asked == chain.two.asked == []
    chain.next = ""
    if name == "second":
        chain.get()
        assert key != chain.key()
        assert chain.get().source == "cache"
    chain.write("first")
    assert chain.get().source != "cache", "nothing was kept for it"


@pytest.mark.parametrize("kind", KINDS)
def test_the_very_token_says_whose_it_is(tmp_path: Path, kind: str) -> None:
    """It is swapped between the look at the file and its reading."""
    path = tmp_path / "token"
    source = Reference(kind=kind, target=(str(path),))
    path.write_text(jwt(**claims_of(kind, "second")))
    second = find_job(source, {}).id
    path.write_text(jwt(**claims_of(kind, "first")))
    steps = prove(source, {}, AUDIENCE, time.time())
    assert isinstance(next(steps), ReadFile)
    with pytest.raises(StopIteration) as end:
        steps.send(jwt(**claims_of(kind, "second")).encode())
    assert end.value.value.job == second != find_job(source, {}).id
    assert json.loads(end.value.value.claims)["job"] == second


def test_a_token_that_is_renewed_is_exchanged(tmp_path: Path) -> None:
    """The same job has another token: it goes on."""
    chain = Swapped(tmp_path, "kubernetes")
    chain.next = "first"
    assert chain.get().source == "issue"


def test_a_process_has_one_job(tmp_path: Path) -> None:
    """What was stored under a key is ended under it, whatever the file has at the end."""
    token, config = tmp_path / "token", tmp_path / "config.toml"
    source = Reference(kind="kubernetes", target=(str(token),))
    config.write_text("")
    environ = {"BROKERCTL_HOME": str(tmp_path), "HOME": str(tmp_path), "BROKERCTL_KEYRING": "off"}
    token.write_text(jwt(**claims_of("kubernetes", "first")))
    home = open_home(environ, may_use_memory=True)
    first = home.find_job(source)
    assert json.loads(first.id or "")[1] == "uid-first"
    token.write_text(jwt(**claims_of("kubernetes", "second")))
    assert home.find_job(source) == first
