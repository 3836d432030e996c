"""A home with a live grant for each test, from one login and one issuer a worker."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests import wheel
from tests.idp.issuer import DemoIssuer
from tests.machine.installation import Installation, is_image
from tests.machine.room import Machine
from tests.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def demo_process(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for all tests of a worker; it rotates, and ends a family at reuse."""
    folder = tempfile.mkdtemp(prefix="machine-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True, interval=1) as running:
        yield running


@pytest.fixture
def demo(demo_process: DemoIssuer) -> DemoIssuer:
    """Return the issuer, its counts at nought and its modes ok."""
    demo_process.reset()
    return demo_process


@pytest.fixture(scope="session")
def template(trace_dir: str, demo_process: DemoIssuer) -> str:
    """Log in once, by the program itself, and return the state folder to copy."""
    machine = Machine(Program(trace_dir), demo_process)
    process = machine.program.start("login", "person")
    assert process.stderr
    seen = [process.stderr.readline(), process.stderr.readline()]
    code = seen[1].split(" code ")[1].split(" ")[0]
    demo_process.approve_device(code, seen[0].strip().rpartition(" ")[2])
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    return os.path.join(machine.home, "state")


@pytest.fixture
def machine(brokerctl: Program, demo: DemoIssuer, template: str) -> Machine:
    """Return a machine whose `person` holds a grant that nobody else has."""
    made = Machine(brokerctl, demo, template)
    made.log_in()
    return made


@pytest.fixture(scope="session")
def way_in(request: pytest.FixtureRequest) -> str:
    """Return how the program is started: a script for `sh`, or a `launcher` where a test asks."""
    return str(getattr(request, "param", "script"))


@pytest.fixture(scope="session")
def installed_once(trace_dir: str, way_in: str) -> Installation:
    """Install the wheel once a worker; each test has a copy."""
    made = Installation(os.path.join(tempfile.mkdtemp(prefix="installed-", dir=trace_dir), "venv"))
    made.make(wheel.build_platform() if way_in == "launcher" else wheel.build().wheel)
    return made


@pytest.fixture(scope="session")
def imaged_once(
    installed_once: Installation, trace_dir: str, demo_process: DemoIssuer, template: str
) -> Installation:
    """Return one whose first command wrote its image, once a worker; each test has a copy."""
    machine = Machine(Program(trace_dir), demo_process, template)
    made = own_copy(installed_once, machine, trace_dir)
    assert machine("status").returncode == 0
    assert is_image(made.read())
    return made


def own_copy(of: Installation, machine: Machine, trace_dir: str) -> Installation:
    """Return a copy that the machine runs."""
    made = of.copy(os.path.join(tempfile.mkdtemp(prefix="own-", dir=trace_dir), "venv"))
    machine.program.path = made.program
    return made


@pytest.fixture
def installation(machine: Machine, installed_once: Installation, trace_dir: str) -> Installation:
    """Return an installation of the test's own, without an image, that `machine` runs."""
    return own_copy(installed_once, machine, trace_dir)


@pytest.fixture
def image(machine: Machine, imaged_once: Installation, trace_dir: str) -> Installation:
    """Return an installation of the test's own that has its image; its plan is compiled."""
    made = own_copy(imaged_once, machine, trace_dir)
    written = made.read()
    assert machine("status").returncode == 0
    assert made.read() == written  # a copy's is current
    return made
