"""`brokerctl unlock` and `brokerctl lock`, the real program with a passphrase typed on a pty."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pexpect
import pytest

from brokerctl.keys import FOLDER, read_state
from brokerctl.keys.kernel import KernelCache
from brokerctl.platform.private_files import open_folder
from tests.contracts.secret_service import SecretService
from tests.program import PROGRAM
from tests.unit.test_key_kernel import listed_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

PASSPHRASE = "correct horse battery"


@pytest.fixture
def program(brokerctl: Program) -> Iterator[Program]:
    """Return the program with the passphrase keeper; skip where the kernel keeps no keys."""
    probe = os.urandom(16).hex()
    if not KernelCache().put(probe, bytes(32), 5):
        pytest.skip("this kernel, or what surrounds it, keeps no keys")
    KernelCache().drop(probe)
    brokerctl.env["BROKERCTL_KEEPER"] = "passphrase"
    yield brokerctl
    brokerctl("lock")


def _type(
    program: Program, words: list[str], *typed: str, env: dict[str, str | None] | None = None
) -> tuple[str, int]:
    """Run on a terminal, answer each prompt, and return what was shown and the exit code."""
    child = pexpect.spawn(
        PROGRAM, words, env=program.environment(env), encoding="utf-8", timeout=60, cwd=program.home
    )
    shown: list[str] = []
    for text in typed:
        child.expect("passphrase|again")
        child.expect(": ")
        shown.append(child.before or "")
        child.sendline(text)
    child.expect(pexpect.EOF)
    shown.append(child.before or "")
    child.close()
    program.keep(tuple(words), "".join(shown), "")
    return "".join(shown), child.exitstatus or 0


def _seconds_left(program: Program) -> int:
    home = open_folder(f"{program.home}/state/v1")
    assert home is not None
    folder = home.child(FOLDER)
    assert folder is not None
    state = read_state(folder)
    assert state is not None
    (fields,) = listed_keys(state[0].wrap_id)
    left = fields[3]
    return int(left[:-1]) * {"s": 1, "m": 60, "h": 3600}[left[-1]]


def test_a_session_as_with_ssh_add(program: Program) -> None:
    """A new passphrase is typed twice, later once; between `unlock` and `lock` nobody is asked."""
    shown, code = _type(program, ["unlock"], PASSPHRASE, PASSPHRASE)
    assert code == 0
    assert "unlocked for 8h" in shown
    assert 7 * 3600 <= _seconds_left(program) <= 8 * 3600
    assert program("lock").stderr == "locked\n"
    assert program("lock").stderr == "there was no key in the cache\n"
    shown, code = _type(program, ["unlock", "--for", "2m"], PASSPHRASE)
    assert code == 0
    assert PASSPHRASE not in shown
    assert 60 <= _seconds_left(program) <= 120


def test_wrong_or_different_passphrases_change_nothing(program: Program) -> None:
    """The first use wants the same twice; later a wrong one is exit 6 and stays locked."""
    assert _type(program, ["unlock"], "one", "another")[1] == 2
    assert _type(program, ["unlock"], PASSPHRASE, PASSPHRASE)[1] == 0
    program("lock")
    shown, code = _type(program, ["unlock"], "wrong")
    assert code == 6
    assert "brokerctl: error: wrong passphrase" in shown
    assert "run 'brokerctl unlock'" in shown
    assert program("lock").stderr == "there was no key in the cache\n"


def test_without_a_terminal_nobody_waits(program: Program) -> None:
    """No terminal and no variable: exit 6 at once; with the variable it works, in JSON too."""
    done = program("unlock")
    assert (done.returncode, done.stdout) == (6, "")
    assert "nobody can be asked" in done.stderr
    done = program("unlock", "--for", "90s", "--json", env={"BROKERCTL_PASSPHRASE": PASSPHRASE})
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"schema": 1, "keeper": "passphrase", "unlocked_for": 90}
    assert json.loads(program("lock", "--json").stdout) == {"schema": 1, "was_unlocked": True}


def test_the_configuration_says_for_how_long(program: Program) -> None:
    """`keys.unlock_for` is the time where `--for` is not given, and `keys.keeper` the choice."""
    program.env["BROKERCTL_KEEPER"] = None
    program.config('[keys]\nkeeper = "passphrase"\nunlock_for = "5m"\n')
    done = program("unlock", env={"BROKERCTL_PASSPHRASE": PASSPHRASE})
    assert (done.returncode, done.stderr) == (0, "unlocked for 5m\n")
    assert 240 <= _seconds_left(program) <= 300


@pytest.mark.parametrize("words", [["--for", "8"], ["--for", "-1h"], ["--for", "1w"], ["extra"]])
def test_what_can_not_be_meant_is_refused(program: Program, words: list[str]) -> None:
    """A malformed duration or a word too many is exit 2 and makes nothing."""
    done = program("unlock", *words, env={"BROKERCTL_PASSPHRASE": PASSPHRASE})
    assert done.returncode == 2
    assert not os.path.exists(f"{program.home}/state/v1/keys/ring")


def test_a_file_needs_no_unlocking(program: Program) -> None:
    """Asked for a keeper that is never locked, it says so and is content."""
    done = program("unlock", env={"BROKERCTL_KEEPER": "file"})
    assert done.returncode == 0
    assert "which needs no unlocking" in done.stderr


@pytest.mark.parametrize("address", [None, "unix:path=/nonexistent/bus"])
def test_a_keyring_chosen_at_a_desktop(brokerctl: Program, address: str | None) -> None:
    """Over ssh or in cron, without a bus: the reason says so, and no hint leads back to itself."""
    away = {"DBUS_SESSION_BUS_ADDRESS": address}
    with SecretService() as desktop:
        at_home = {name: desktop.environ[name] for name in ("DBUS_SESSION_BUS_ADDRESS",)}
        brokerctl.config("")
        assert brokerctl("status", env=at_home).returncode == 0
        brokerctl("lock", env=at_home)
        for words in (
            ("status",),
            ("unlock",),
            ("doctor",),
            ("store", "rekey"),
            ("store", "check"),
        ):
            done = brokerctl(*words, env=away)
            assert done.returncode == (2 if words == ("doctor",) else 6), (words, done)
            said = done.stdout + done.stderr
            assert "no D-Bus session" in said
            hint = said.split("hint: ")[-1]
            assert "brokerctl unlock" not in hint
            assert ("another keeper" in hint) == (words != ("store", "rekey"))
        shown, code = _type(brokerctl, ["unlock"], env=away)
        assert (code, "another keeper" in shown) == (6, True)
        moved = brokerctl("store", "rekey", "--to", "file", env=at_home)
        assert moved.returncode == 0, moved.stderr
    assert brokerctl("status", env=away).returncode == 0
