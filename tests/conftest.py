"""What all tests share. Helpers to import are in tests/program.py and tests/idp/issuer.py."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.emulations.platforms import Platforms
from tests.idp.issuer import INSTALLED, TRACE_DIR, OidcProvider
from tests.program import Program, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a shell runs in its background has the first two ignored, what `nohup` runs the third, and
# every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A busy machine is no finding: how long an example may take is for pytest's timeout to say.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.register_profile(
    "long",
    settings.get_profile("unhurried"),
    max_examples=3000,
    derandomize=False,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("unhurried")


# The rings in which a test starts programs, the dearest first; those of values follow.
RINGS = (
    *("tools", "idp", "scripts", "emulations", "faults", "machine", "canary", "fuzz", "vectors"),
    *("contracts", "property", "house", "unit"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Give each property many more examples where the long tests alone are run."""
    if config.option.markexpr == "long":
        settings.load_profile("long")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first, and every property among the long tests, with a fitting time-out.

    A worker with nothing left to do takes tests from another's end: these have to be short ones.
    """
    items.sort(key=_is_later)
    if config.option.markexpr == "long":
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker(pytest.mark.long)
                item.add_marker(pytest.mark.timeout(1800))


def _is_later(item: pytest.Item) -> tuple[bool, int]:
    """Return what sorts the slow ones first, then whole programs, and values last."""
    ring = item.nodeid.split("/")[1]
    rank = RINGS.index(ring) if ring in RINGS else len(RINGS)
    return item.get_closest_marker("slow") is None, rank


@pytest.fixture(scope="session")
def trace_dir() -> Iterator[str]:
    """Return the folder below which every process of this worker writes.

    Short, since sockets are in it. BROKERCTL_TEST_TRACE_DIR names one that stays afterwards, for
    the canary test to search.
    """
    kept = os.environ.get(TRACE_DIR)
    folder = tempfile.mkdtemp(prefix="brokerctl-", dir=kept)
    yield folder
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def brokerctl(trace_dir: str) -> Program:
    """Return the real program with a home of its own, not in CI as far as it can see."""
    return Program(trace_dir)


@pytest.fixture
def brokerctl_in_ci(trace_dir: str) -> Program:
    """Return the real program with CI set."""
    return Program(trace_dir, ci=True)


@pytest.fixture(scope="session")
def issuer_folder(trace_dir: str) -> str:
    """Return a folder for an issuer's files, having made sure that issuers can be started."""
    require_tool("node")
    if not os.path.isdir(INSTALLED):
        require_tool("oidc-provider (npm)")
    return tempfile.mkdtemp(prefix="issuer-", dir=trace_dir)


@pytest.fixture(scope="session")
def http_issuer_process(issuer_folder: str) -> Iterator[OidcProvider]:
    """One oidc-provider over http for all tests of a worker."""
    with OidcProvider(issuer_folder) as running:
        yield running


@pytest.fixture(scope="session")
def tls_issuer_process(issuer_folder: str) -> Iterator[OidcProvider]:
    """One oidc-provider over TLS with a private CA for all tests of a worker."""
    with OidcProvider(issuer_folder, tls=True) as running:
        yield running


@pytest.fixture
def http_issuer(http_issuer_process: OidcProvider) -> OidcProvider:
    """Return the issuer over http, its counts at nought and its modes ok."""
    http_issuer_process.reset()
    return http_issuer_process


@pytest.fixture
def tls_issuer(tls_issuer_process: OidcProvider) -> OidcProvider:
    """Return the issuer over TLS, its counts at nought and its modes ok."""
    tls_issuer_process.reset()
    return tls_issuer_process


@pytest.fixture(params=["http", "tls"])
def issuer(request: pytest.FixtureRequest) -> OidcProvider:
    """Run the test twice: against the issuer over http, and over TLS with a private CA."""
    running: OidcProvider = request.getfixturevalue(f"{request.param}_issuer")
    return running


@pytest.fixture(scope="session")
def http_exchange_process(issuer_folder: str) -> Iterator[OidcProvider]:
    """One oidc-provider with token exchange and JWT bearer over http for all tests of a worker."""
    with OidcProvider(issuer_folder, exchange=True) as running:
        yield running


@pytest.fixture(scope="session")
def tls_exchange_process(trace_dir: str, issuer_folder: str) -> Iterator[OidcProvider]:
    """Another one over TLS with a private CA, whose files lie beside those of the first."""
    folder = tempfile.mkdtemp(prefix=os.path.basename(issuer_folder), dir=trace_dir)
    with OidcProvider(folder, exchange=True, tls=True) as running:
        yield running


@pytest.fixture
def http_exchange(http_exchange_process: OidcProvider) -> OidcProvider:
    """Return the issuer with the two grants over http, which trusts nobody yet."""
    http_exchange_process.reset()
    http_exchange_process.trust_nobody()
    return http_exchange_process


@pytest.fixture
def tls_exchange(tls_exchange_process: OidcProvider) -> OidcProvider:
    """Return the issuer with the two grants over TLS, which trusts nobody yet."""
    tls_exchange_process.reset()
    tls_exchange_process.trust_nobody()
    return tls_exchange_process


@pytest.fixture(params=["http", "tls"])
def exchange_issuer(request: pytest.FixtureRequest) -> OidcProvider:
    """Run the test twice: the issuer with the two grants over http, and over TLS."""
    running: OidcProvider = request.getfixturevalue(f"{request.param}_exchange")
    return running


@pytest.fixture(params=["http", "tls"])
def two_issuers(
    request: pytest.FixtureRequest, http_exchange: OidcProvider, tls_exchange: OidcProvider
) -> tuple[OidcProvider, OidcProvider]:
    """Run the test twice with two issuers that have the two grants, in either order."""
    both = (http_exchange, tls_exchange)
    return both if request.param == "http" else both[::-1]


@pytest.fixture
def platforms() -> Iterator[Platforms]:
    """Return the emulated endpoints of all CI platforms, new for each test."""
    with Platforms() as running:
        yield running
