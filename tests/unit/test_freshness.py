"""How long a token serves: a table of clocks and lifetimes."""

from __future__ import annotations

import pytest

from brokerctl import freshness
from brokerctl.model import Token
from brokerctl.secret import Secret

NOW = 1_000_000.0


def token(lifetime: float | None, age: float, status: str = "live") -> Token:
    """Make a token of some lifetime, issued some seconds ago."""
    issued = NOW - age
    return Token(
        value=Secret("x"),
        fingerprint="f" * 32,
        token_type="Bearer",
        scopes=(),
        issued_at=issued,
        expires_at=None if lifetime is None else issued + lifetime,
        status=status,
    )


@pytest.mark.parametrize(
    ("lifetime", "age", "max_ttl", "min_ttl", "fresh"),
    [
        (3600, 0, None, None, True),
        (3600, 3539, None, None, True),  # 61 s left, the margin is 60
        (3600, 3541, None, None, False),
        (100, 89, None, None, True),  # 10 % of 100 s
        (100, 91, None, None, False),
        (2, 0.5, None, None, True),  # at least one second
        (2, 1.5, None, None, False),
        (3600, 600, 300, None, False),  # our own limit is shorter than the issuer's
        (3600, 200, 300, None, True),
        (3600, 0, None, 3500, True),
        (3600, 101, None, 3500, False),
        (None, 10**9, None, None, True),  # the issuer named no end
        (None, 400, 300, None, False),
        (3600, -301, None, None, False),  # the clock went back: stale
        (3600, -299, None, None, True),
    ],
)
def test_fresh(
    lifetime: float | None, age: float, max_ttl: float | None, min_ttl: float | None, *, fresh: bool
) -> None:
    """A token is served while more than the margin is left of the shorter lifetime."""
    assert freshness.is_fresh(token(lifetime, age), NOW, max_ttl, min_ttl) is fresh


@pytest.mark.parametrize("status", ["superseded", "revoked", "expired", "unknown", "local_only"])
def test_only_live_tokens_are_served(status: str) -> None:
    """A token that was superseded or settled is never handed out, however young."""
    assert not freshness.is_fresh(token(3600, 0, status), NOW, None, None)


@pytest.mark.parametrize(
    ("lifetime", "age", "max_ttl", "min_ttl", "left"),
    [
        (3600, 0, None, None, 3540),
        (100, 80, None, None, 10),
        (3600, 0, 300, None, 270),
        (3600, 0, None, 600, 3000),
        (3600, 3550, None, None, 50),  # served while the issuer is down: up to its end
        (60, 0, None, 600, 60),  # none lives as long as is asked for
        (None, 0, None, None, None),
    ],
)
def test_when_to_ask_again(
    lifetime: float | None,
    age: float,
    max_ttl: float | None,
    min_ttl: float | None,
    left: float | None,
) -> None:
    """Just when the token would be served no more, so that there is another one then."""
    found = freshness.renewal(token(lifetime, age), NOW, max_ttl, min_ttl)
    assert found == (None if left is None else NOW + left)
    if found is not None and left != lifetime and age < 3540:
        assert freshness.is_fresh(token(lifetime, age), found - 0.1, max_ttl, min_ttl)
        assert not freshness.is_fresh(token(lifetime, age), found, max_ttl, min_ttl)
