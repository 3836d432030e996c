"""A grant that one issuer makes out for another: kept, sent again, and never after a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import IssuerError
from tests.faults.chain_room import CHAIN, TWO, Chain
from tests.store_room import soon

if TYPE_CHECKING:
    from pathlib import Path

# A second profile of the second issuer, which the same grant serves.
PAIR = CHAIN + CHAIN[CHAIN.index("[profile.deploy]") :].replace("deploy]", "other]").replace(
    'client_id = "cli"', 'client_id = "other"'
)


def sent(chain: Chain) -> list[str]:
    """Return the grants that the second issuer was shown, in order."""
    return [form["assertion"] for form in chain.two.asked]


def test_one_grant_for_two_profiles(tmp_path: Path) -> None:
    """It is made out to their issuer, and lives: the first issuer is asked once."""
    chain = Chain(str(tmp_path), text=PAIR)
    chain.get("deploy")
    chain.get("other")
    assert len(set(sent(chain))) == len(chain.one.asked) == 1
    chain.get("other", is_fresh=True)
    assert len(set(sent(chain))) == 2, "all is new where that is asked for"


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_request", "replayed"])
def test_an_issuer_that_takes_a_grant_once(tmp_path: Path, code: str) -> None:
    """One refusal is answered by one new grant, whatever it is called, and not repeated."""
    chain = Chain(str(tmp_path), text=PAIR)
    chain.two.refusal = code
    for name in ("deploy", "other"):
        chain.get(name)
    first, again, new = sent(chain)
    assert first == again != new
    for name in ("deploy", "other"):
        chain.revoke(name)  # by another process
        chain.get(name)
    assert len(set(sent(chain)[2:])) == 3, "it is remembered"
    assert len(sent(chain)) == 5


@pytest.mark.parametrize("code", ["invalid_client", "invalid_scope", "invalid_target"])
def test_what_no_other_grant_would_change(tmp_path: Path, code: str) -> None:
    """The client, or what it asks for, is wrong: one request, and no other grant."""
    chain = Chain(str(tmp_path), text=PAIR)
    chain.get("deploy")
    chain.two.refusal, chain.two.refuses_all = code, True
    assert chain.try_get("other") is None
    assert len(sent(chain)) == 2
    assert len(chain.one.asked) == 1


def test_no_grant_is_sent_again_after_a_refusal(tmp_path: Path) -> None:
    """Not by another profile of that issuer either, and not the one that was to mend it."""
    chain = Chain(str(tmp_path), text=PAIR)
    chain.get("deploy")
    chain.two.refusal, chain.two.refuses_all = "invalid_grant", True
    assert chain.try_get("other") is None
    assert isinstance(chain.error, IssuerError)
    first, refused, new = sent(chain)
    assert first == refused != new
    chain.two.refusal = ""
    chain.get("deploy", is_fresh=False, scopes=None, is_own=True, session="s1")
    assert sent(chain)[-1] not in {refused, new}
    assert not chain.link().known.takes_once(TWO), "nothing was proven"


def test_an_answer_that_never_came_may_have_used_it(tmp_path: Path) -> None:
    """After a broken connection the next attempt has a grant of its own."""
    chain = Chain(str(tmp_path))
    chain.two.is_lost = True
    assert chain.try_get() is None
    chain.two.is_lost, chain.two.refusal = False, "invalid_grant"
    with chain.store.lock_grant(chain.key(), soon()) as locked:  # time goes by
        assert locked.state.failure is not None
        locked.record_failure(locked.state.failure.replace(retry_at=0))
    chain.get()
    assert len(set(sent(chain))) == len(sent(chain)) == 2


def test_a_source_that_is_down_is_asked_once(tmp_path: Path) -> None:
    """Two profiles want its grant: the second has the failure of the first for its own."""
    chain = Chain(str(tmp_path), text=PAIR)
    chain.one.faults = [503] * 8
    assert chain.try_get("deploy") is None
    asked = len(chain.one.asked)
    assert asked == 2, "once more at once"
    assert chain.try_get("other") is None
    assert isinstance(chain.error, IssuerError)
    assert chain.error.hint is None or "grant" not in chain.error.hint
    assert chain.try_get("other") is None
    assert len(chain.one.asked) == asked
    assert chain.try_get("other", is_fresh=True) is None
    assert len(chain.one.asked) == 2 * asked, "who says --fresh asks now"


def test_a_source_of_an_issuer_that_takes_grants_once_is_down(tmp_path: Path) -> None:
    """A new grant is made for each, and yet nobody asks sooner than after any failure."""
    chain = Chain(str(tmp_path), text=PAIR)
    chain.link().known.learn_once(TWO, 1.0)
    chain.one.faults = [503] * 8
    assert chain.try_get("deploy") is None
    asked = len(chain.one.asked)
    assert chain.try_get("other") is None
    assert len(chain.one.asked) == asked
