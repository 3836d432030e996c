"""`helper install` and `uninstall` where the disk fails, or the process is killed, at any call."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import UsageError
from brokerctl.helpers.edit.file_changes import Planned, carry_out, tidy
from brokerctl.helpers.install import find_installed, plan_install, plan_uninstall
from brokerctl.helpers.setups import SETUPS
from brokerctl.model import Profile
from brokerctl.platform.system import System
from tests.faults.faulty import CHANGING, FAIL, KILL, LATE, SHORT, FaultySystem, Killed, count_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROFILE = Profile(
    name="d",
    issuer="https://issuer.example",
    client_id="app",
    flow="aws_web_identity",
    hosts=("https://git.example.com",),
    google=("//iam.example/pool",),
)
OTHER = PROFILE.replace(name="e", hosts=("https://git.example.com", "https://new.example.com"))
USUAL = {
    "aws": "[default]\nregion = x\n",
    "cargo": "[registry]\ndefault = 'x'",
    "docker": '{"auths": {}}',
    "git": "[user]\n\tname = A\n",
    "goauth": "GOAUTH=git /x\n",
    "keyring": "[backend]\n",
    "kubernetes": "kind: Config\nusers: []\n",
    "pip": "[global]\ntimeout = 60\n",
    "podman": '{"auths": {}}',
    "uv": "offline = true\n",
}
Step = tuple[str, "Profile | None"]  # what it starts from, and what is done


class Desk:
    """One tool in a home of its own."""

    def __init__(self, tool: str, home: Path) -> None:
        self.tool, self.home = tool, str(home)
        self.environ = {"HOME": self.home, "PATH": os.path.dirname(sys.executable)}

    def plan(self, profile: Profile | None) -> Planned:
        """Plan to put our part in, or to take it out."""
        if profile is None:
            return plan_uninstall(self.tool, self.environ)
        return plan_install(self.tool, [profile], self.environ)

    def do(self, profile: Profile | None) -> None:
        """Do it, as the command does."""
        planned = self.plan(profile)
        if planned.is_change:
            carry_out(planned)
        else:
            tidy(planned)

    def begin(self, text: str | None, *profiles: Profile) -> None:
        """Have the home as it was, with these set-ups done."""
        shutil.rmtree(self.home)
        os.mkdir(self.home)
        path = self.plan(None).path
        if text is not None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        for profile in profiles:
            self.do(profile)

    def files(self) -> dict[str, str]:
        """Return all files below the home, with their texts; a link leads somewhere."""
        found = {}
        for folder, _, names in os.walk(self.home):
            for path in (os.path.join(folder, name) for name in names):
                if os.path.islink(path):
                    found[path] = os.readlink(path)
                    continue
                with open(path, encoding="utf-8") as file:
                    found[path] = file.read()
        return found


STEPS: dict[str, tuple[tuple[Profile, ...], Profile | None]] = {
    "install": ((), PROFILE),
    "install another": ((PROFILE,), OTHER),
    "uninstall": ((PROFILE,), None),
}
CASES = [
    (tool, step, text) for tool in SETUPS for step in STEPS for text in (None, USUAL.get(tool))
]
PAIRS = sorted({(tool, step, text is not None) for tool, step, text in CASES})


def each_call(
    desk: Desk, step: str, text: str | None, mode: str
) -> list[tuple[FaultySystem, dict[str, str], UsageError | Killed | None]]:
    """Return what is there after each call of a step that changes something went wrong once."""
    before, profile = STEPS[step]
    desk.begin(text, *before)
    planned = desk.plan(profile)
    names = CHANGING if mode == LATE else (*CHANGING, "open")  # what was opened is not given
    found = []
    for nth in range(1, count_calls(lambda system: carry_out(planned, system), names) + 1):
        desk.begin(text, *before)
        system = FaultySystem(nth, mode, names=names)
        error: UsageError | Killed | None = None
        try:
            carry_out(desk.plan(profile), system)
        except (UsageError, Killed) as caught:
            error = caught
        found.append((system, desk.files(), error))
    return found


@pytest.mark.parametrize(("tool", "step", "is_there"), PAIRS)
def test_killed_at_any_call(tmp_path: Path, tool: str, step: str, *, is_there: bool) -> None:
    """The tool's file is as before or as wanted, what it names is there, and the next run mends."""
    desk, text = Desk(tool, tmp_path), USUAL.get(tool) if is_there else None
    before, profile = STEPS[step]
    desk.begin(text)
    bare = desk.files()
    desk.begin(text, *before)
    planned = desk.plan(profile)
    states = {one.path: {one.before, one.after} for one in planned.changes}
    for system, files, error in each_call(desk, step, text, KILL):
        assert isinstance(error, Killed), system.calls
        now = {path: files.get(path) for path in states}
        assert all(now[path] in texts for path, texts in states.items()), system.calls
        check_named(desk, planned, now)
        restore(desk, files)
        check_told(desk, planned, files)
        if profile is not None:
            desk.do(profile)
            assert find_installed(tool, desk.environ).fault is None
        desk.do(None)
        assert desk.files() == bare, system.calls


def restore(desk: Desk, files: dict[str, str]) -> None:
    """The home is as the kill left it; `each_call` has gone on since."""
    desk.begin(None)
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if text.startswith("brokerctl-"):
            os.symlink(text, path)
            continue
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def check_named(desk: Desk, planned: Planned, now: dict[str, str | None]) -> None:
    """A file of ours is there as long as the tool's names it."""
    tool, *own = planned.changes
    is_asking = now[tool.path] == (tool.after if tool.has_ours[1] else tool.before)
    for one in own:
        if is_asking and one.place.is_own:
            assert now[one.path] is not None, desk.tool


def check_told(desk: Desk, planned: Planned, files: dict[str, str]) -> None:
    """Half a set-up, and a lock that stops the tool, are told of by name."""
    said = find_installed(desk.tool, desk.environ)
    locks = [path for path, text in files.items() if text.startswith("brokerctl-")]
    for lock in locks:
        assert lock in (said.fault or "")
        assert lock in (said.hint or "")
    assert {path for path in files if "brokerctl-install-" in path} <= set(said.copies)
    ends = [one.after if one.has_ours[1] else one.before for one in planned.changes]
    is_there = [files.get(one.path) == end for one, end in zip(planned.changes, ends, strict=True)]
    if any(is_there) and not all(is_there) and planned.changes[0].has_ours != (True, True):
        assert said.is_in
        assert said.fault


@pytest.mark.parametrize("mode", [FAIL, LATE, SHORT])
@pytest.mark.parametrize(("tool", "step", "is_there"), PAIRS)
def test_an_error_at_any_call(
    tmp_path: Path, tool: str, step: str, mode: str, *, is_there: bool
) -> None:
    """It is told, and nothing is changed: neither file, no lock and no copy is left."""
    desk, text = Desk(tool, tmp_path), USUAL.get(tool) if is_there else None
    before, profile = STEPS[step]
    desk.begin(text, *before)
    first = desk.files()
    after = {one.path: one.after for one in desk.plan(profile).changes}
    for system, files, error in each_call(desk, step, text, mode):
        if error is None or "can't be removed" in str(error):
            assert {path: files.get(path) for path in after} == after, system.calls
        elif not isinstance(error, UsageError) or "be put back" not in (error.hint or ""):
            assert files == first, system.calls
        else:
            assert mode == SHORT, system.calls  # no room for the file before either


class Signalled(System):
    """Sends a signal to this process at each call."""

    def __init__(self, number: int) -> None:
        for name in ("symlink", "open", "write", "fsync", "fchmod", "rename", "unlink"):
            real = getattr(System, name)
            setattr(self, name, self._before(real, number))

    @staticmethod
    def _before(real: Callable[..., object], number: int) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            signal.raise_signal(number)  # to this thread: a worker of pytest has others
            return real(*args, **options)

        return call


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGALRM", "SIGUSR1", "SIGRTMIN"])
@pytest.mark.parametrize("tool", ["git", "kubernetes", "pnpm"])
def test_a_signal_waits_for_the_end(tmp_path: Path, tool: str, name: str) -> None:
    """It is taken once nothing is half done: no lock of the tool's, and no copy of the file."""
    desk, number, seen = Desk(tool, tmp_path), getattr(signal, name), []
    desk.begin(USUAL.get(tool))

    def take(_number: int, _frame: object) -> None:
        seen.append({os.path.basename(path) for path in desk.files()})

    usual = signal.signal(number, take)
    try:
        carry_out(desk.plan(PROFILE), Signalled(number))
    finally:
        signal.signal(number, usual)
    assert seen
    assert all(
        not one.endswith(".lock") and "install-" not in one for names in seen for one in names
    )
    assert find_installed(tool, desk.environ).is_in
    with contextlib.suppress(FileNotFoundError):
        os.unlink(desk.plan(None).path + ".lock")
