"""A runner that ran many jobs holds what is alive, and no more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.broker import Broker
from brokerctl.broker.request import Alone
from brokerctl.config.plan import Plan
from brokerctl.errors import UnsentError
from brokerctl.identity import Job
from brokerctl.model import Reference
from brokerctl.store.entry import TOKEN
from tests.issuer_room import SERVICE, House

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from brokerctl.broker.request import DecidedRequest
    from brokerctl.model import Profile, Token
    from brokerctl.store.interface import LockedGrant

OF_JOB = SERVICE.replace(name="ci", job_source=Reference(kind="github", target=()))
FEW, MANY, VERY_MANY = 10, 500, 10_000


class _InJob(Alone):
    """Surroundings of a job."""

    job = Job(platform="github")

    def find_job(self, _: Reference) -> Any:  # noqa: ANN401 - here there is one
        """Return the job."""
        return self.job


class Runner(House):
    """A home that runs one job after the other."""

    def __init__(self, folder: str, *profiles: Profile) -> None:
        self.job = 0
        super().__init__(folder, *(profiles or (OF_JOB,)))

    def enter(self, job: int) -> None:
        """Be in another job, as a new process."""
        self.store.disk.close()
        self.open()
        self.job = job
        plan = Plan(profiles=self.profiles)
        log, redeem = self.broker.log, self._redeem
        around = _InJob(self.store)
        around.job = Job(platform="github", id=f"job {self.job}")
        self.broker = Broker(plan, self.store, log, redeem, around=around)

    def _redeem(self, decided: DecidedRequest, locked: LockedGrant) -> Token:
        self.decided = decided
        return self.redeemer(decided, locked)

    def run_job(self, job: int) -> None:
        """Run an `exec` whose token is revoked at its end."""
        self.enter(job)
        self.own(f"session-{job}", "ci")
        self.revoker.revoke_session(OF_JOB, self.decided.grant_key, f"session-{job}")

    def files(self) -> list[str]:
        """Return every file and folder of the store."""
        return [
            os.path.join(top, name)
            for top, folders, names in os.walk(self.folder)
            for name in (*folders, *names)
        ]


def size_of(paths: list[str]) -> int:
    """Return the bytes of all files."""
    return sum(os.path.getsize(path) for path in paths if os.path.isfile(path))


@pytest.mark.parametrize(
    "count",
    [
        # Slow: each job syncs a few files, as in life.
        pytest.param(MANY, marks=pytest.mark.slow),
        pytest.param(VERY_MANY, marks=pytest.mark.long),
    ],
)
def test_jobs_one_after_the_other(tmp_path: Path, count: int) -> None:
    """The store is as large after many as after ten: slots, locks and notes are gone."""
    runner = Runner(str(tmp_path / "v1"))
    for job in range(FEW):
        runner.run_job(job)
    few, few_bytes = len(runner.files()), size_of(runner.files())
    for job in range(FEW, count):
        runner.run_job(job)
    assert len(runner.files()) <= 1.1 * few
    assert size_of(runner.files()) <= 1.1 * few_bytes
    assert runner.issuer.alive == set()


def test_what_is_alive_stays(tmp_path: Path) -> None:
    """A job's shared token is served to it, and to nobody else, whoever comes after it."""
    runner = Runner(str(tmp_path / "v1"))
    for job in range(FEW):
        runner.enter(job)
        first = runner.get("ci")
        assert runner.get("ci").fingerprint == first.fingerprint
    for job in range(FEW):
        runner.enter(job)
        assert runner.get("ci").source == "cache"
    assert len(list(runner.store.entries(TOKEN))) == FEW


def test_a_job_that_failed_leaves_nothing(tmp_path: Path) -> None:
    """Not the failure that is remembered for it, either."""
    runner = Runner(str(tmp_path / "v1"))
    runner.run_job(0)
    runner.run_job(1)
    few = len(runner.files())
    for job in range(2, 8):
        runner.enter(job)
        runner.issuer.faults = [UnsentError("nobody is there")]
        with pytest.raises(UnsentError):
            runner.get("ci")
    runner.run_job(9)
    runner.run_job(10)
    assert len(runner.files()) == few
