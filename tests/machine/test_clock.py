"""The clock goes ten years either way and back, or stood still while the machine slept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.machine.room import answers, behaves
from tests.program import Result, clock

if TYPE_CHECKING:
    from tests.machine.room import Machine

YEARS = 3652 * 86400


def at(machine: Machine, shift_s: int, *words: str) -> Result:
    """Run it with the wall clock so many seconds from now."""
    return machine.under([], *words, env=clock(f"{shift_s:+d}s"))


def test_a_suspend(machine: Machine) -> None:
    """A token that ran out while the machine slept is refreshed, once, and the result is served."""
    old = machine.log_in(lifetime_s=3600, issued_ago_s=86400)
    machine.issuer.reset()
    new = answers(machine("get", "person"))
    assert new != old
    answers(machine("get", "person"), new)
    assert machine.issuer.counts()["grants"] == {"refresh_token": 1}
    assert machine.issuer.is_active(new)


@pytest.mark.parametrize("shift_s", [YEARS, -YEARS])
def test_ten_years_and_back(machine: Machine, shift_s: int) -> None:
    """What was issued at another time is stale; what is got then is served then, and not after."""
    old = machine.log_in()
    answers(machine("get", "person"), old)
    there = at(machine, shift_s, "get", "person")
    assert there.returncode == 0, there.stderr
    behaves(there)
    new = there.stdout.strip()
    assert new != old
    again = at(machine, shift_s, "get", "person")
    assert (again.returncode, again.stdout.strip()) == (0, new), again.stderr
    for words in (("status",), ("audit", "log"), ("audit", "tokens"), ("audit", "verify")):
        done = at(machine, shift_s, *words)
        assert done.returncode == 0, done
        behaves(done)
    back = machine("get", "person")
    assert back.returncode == 0, back.stderr
    behaves(back)
    assert back.stdout.strip() not in {old, new}
    machine.works()
    machine.log_is_whole()
    times = [record["time"][:4] for record in machine.records()]
    assert len(set(times)) == 2


@pytest.mark.parametrize("shift_s", [-200, 200])
def test_a_few_minutes(machine: Machine, shift_s: int) -> None:
    """A clock that was set right by a little costs no refresh."""
    old = machine.log_in()
    machine.issuer.reset()
    done = at(machine, shift_s, "get", "person")
    assert (done.returncode, done.stdout.strip()) == (0, old), done.stderr
    assert machine.issuer.counts()["grants"] == {}


@pytest.mark.parametrize("shift_s", [-YEARS, YEARS])
def test_a_failure_of_another_time(machine: Machine, shift_s: int) -> None:
    """A back-off that was noted under a wrong clock does not hold anybody up for years."""
    machine.log_in(lifetime_s=1, issued_ago_s=3600)
    machine.issuer.mode(token="503")
    failed = at(machine, shift_s, "get", "person")
    assert failed.returncode == 5, failed
    machine.issuer.mode(token="ok")
    machine.works()
    done = machine("get", "person")
    assert done.returncode == 0, done


@pytest.mark.parametrize(
    "when", ["1970-01-01 00:00:01", "2038-01-19 03:14:08", "2106-02-07 06:28:16"]
)
def test_ends_of_time(machine: Machine, when: str) -> None:
    """The ends of what 32 bits hold are times like others."""
    env = {"TZ": "UTC", **clock(f"@{when}")}
    for words in (("get", "person"), ("status",), ("audit", "tokens")):
        done = machine.under([], *words, env=env)
        assert (done.returncode, done.stderr) == (0, ""), (words, done)
    machine.works()
    machine.log_is_whole()
