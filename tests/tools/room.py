"""Small things that the tests of real tools say again and again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.idp.issuer import OidcProvider
    from tests.program import Program

# A folder with a space is the harder half: the link alone is among the long tests.
PLACES = (pytest.param("link", marks=pytest.mark.long), "a folder")


def hosts(*urls: str) -> str:
    """Return a profile's hosts as TOML."""
    return f"[{', '.join(f'{chr(34)}{url}{chr(34)}' for url in urls)}]"


def read(path: str) -> bytes | None:
    """Return a file's bytes; None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path: str, data: bytes | None) -> None:
    """Write a file, if there is to be one."""
    if data is not None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def long_but(values: Iterable[Any], *kept: Any) -> list[Any]:  # noqa: ANN401 - what a test is given
    """Return a test's parameters, of which all but those kept are for the long tests."""
    given = list(values)
    assert all(one in given for one in kept), "what stays has to be one of them"
    words = [one if isinstance(one, tuple) else (one,) for one in given]
    return [
        pytest.param(*its, marks=[] if one in kept else pytest.mark.long)
        for one, its in zip(given, words, strict=True)
    ]


def let_expire(program: Program, issuer: OidcProvider) -> None:
    """Leave alice with a grant and an expired token, and the issuer's counts at nought.

    She got the token two hours ago, as far as brokerctl could see, and it was for one.
    """
    done = program("get", "person", "--fresh", env=clock("-2h"))
    assert done.returncode == 0, done.stderr
    issuer.reset()
