"""What the tests of real tools share: an issuer, and an index of packages."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp.issuer import DemoIssuer
from tests.tools.index_server import Index

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def issuer(trace_dir: str) -> Iterator[DemoIssuer]:
    """Return an issuer whose counts nobody else's tests touch."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def index(issuer: DemoIssuer) -> Iterator[Index]:
    """Return an index that takes the issuer's tokens."""
    with Index(issuer) as running:
        yield running
