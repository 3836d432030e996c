"""What the tests of real tools share: an issuer, and an index of packages."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp.issuer import DemoIssuer
from tests.tools.index_server import Index
from tests.tools.sts_server import Moto, Sts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def issuer_process(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for all tests of a worker: its start costs as much as a test."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def issuer(issuer_process: DemoIssuer) -> DemoIssuer:
    """Return the issuer, its counts at nought, its modes ok and its settings as at the start."""
    issuer_process.reset()
    return issuer_process


@pytest.fixture(scope="session")
def moto_process() -> Iterator[Moto]:
    """One moto for all tests of a worker."""
    with Moto() as running:
        yield running


@pytest.fixture
def sts(issuer: DemoIssuer, moto_process: Moto) -> Iterator[Sts]:
    """Return an STS that takes the issuer's tokens, and has forgotten what was in moto."""
    moto_process.reset()
    with Sts(issuer, moto_process) as running:
        yield running


@pytest.fixture
def index(issuer: DemoIssuer) -> Iterator[Index]:
    """Return an index that takes the issuer's tokens."""
    with Index(issuer) as running:
        yield running
