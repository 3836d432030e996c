"""Scopes of a GitHub App: `repo:NAME` and `PERMISSION:LEVEL`, and what lies within what.

A scope is of one of two kinds, repositories and permissions. Where none of a kind is named, all of
that kind are meant. Security: a request that names one kind alone must therefore be completed with
what the profile has of the other.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

REPOSITORY = "repo"
LEVELS = ("read", "write", "admin")  # each has the one before in it
# GitHub adds it to every token with a permission of a repository.
NO_DIFFERENCE = frozenset({"metadata:read"})


def complete(scopes: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes, and all that is allowed of the kind of which they name none; sorted."""
    kinds = {_is_repository(one) for one in scopes}
    return tuple(sorted({*scopes, *(one for one in allowed if _is_repository(one) not in kinds)}))


def is_within(scope: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a scope allows nothing that is not allowed."""
    if scope in allowed:
        return True
    name, _, rest = scope.partition(":")
    is_repository = _is_repository(scope)
    if not name or not rest or rest == "*" or not (is_repository or rest in LEVELS):
        return False
    if all(_is_repository(one) is not is_repository for one in allowed):
        return True  # nothing limits this kind
    if is_repository:
        return False
    return any(f"{name}:{higher}" in allowed for higher in LEVELS[LEVELS.index(rest) :])


def intersect(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return what both allow, sorted; () where nothing is left of a kind that both limit."""
    both = {one for one in first if is_within(one, second)}
    both |= {one for one in second if is_within(one, first)}
    if (_kinds(first) & _kinds(second)) - _kinds(both):
        return ()
    return tuple(sorted(both))


def _kinds(scopes: Iterable[str]) -> set[bool]:
    return {_is_repository(one) for one in scopes}


def _is_repository(scope: str) -> bool:
    return scope.startswith(f"{REPOSITORY}:")
