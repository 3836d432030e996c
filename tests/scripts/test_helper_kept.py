"""What is kept of other tools' own is listed, and ended by a person: never in silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import require_tool
from tests.scripts.test_helper_import import read, write
from tests.scripts.test_helper_import_docker import CONFIG, KEEP_ALONE, PLAIN
from tests.scripts.test_helper_keep import PROFILE, git, records
from tests.scripts.test_helper_keep_others import cargo, docker, store

if TYPE_CHECKING:
    from tests.program import Program

KEEP = '[helpers]\nkeep = ["git", "docker", "cargo"]\n'
INDEX = "https://crates.example.com/index/"
SECRETS = ("pw-of-alice", "pw-of-bob", "pw-of-carol", "token-of-hub", "cargo-token")


@pytest.fixture
def held(brokerctl: Program) -> Program:
    """Return a program that keeps five credentials of three tools."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP + PROFILE)
    git(brokerctl, "store", "username=alice\npassword=pw-of-alice\n")
    git(brokerctl, "store", "username=bob\npassword=pw-of-bob\n")
    store(brokerctl, "registry.example.com", "carol", "pw-of-carol")
    store(brokerctl, "https://index.docker.io/v1/", "<token>", "token-of-hub")
    cargo(brokerctl, "login", f"sparse+{INDEX}", token="cargo-token")
    return brokerctl


def set_up(program: Program) -> None:
    """Have git, docker and cargo ask brokerctl."""
    require_tool("git")
    program.env["GIT_CONFIG_NOSYSTEM"] = "1"
    script = os.path.join(os.path.dirname(program.path), "git-credential-brokerctl")
    write(program, ".gitconfig", f"[credential]\n\thelper = {script}\n")
    write(program, CONFIG, '{"credsStore": "brokerctl"}\n')
    assert program("helper", "install", "cargo", "--yes").returncode == 0


def kept(program: Program, *words: str) -> list[dict[str, Any]]:
    """Return what `helper kept --json` lists, and see that no value is said."""
    done = program("helper", "kept", *words, "--json")
    assert done.returncode == 0, done.stderr
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    found: list[dict[str, Any]] = json.loads(done.stdout)["kept"]
    return found


def places(program: Program, *words: str) -> list[str]:
    """Return tool, user and place of what is kept."""
    return [f"{one['tool']} {one['username']} {one['url']}" for one in kept(program, *words)]


ALL = [
    f"cargo  {INDEX}",
    "docker carol https://registry.example.com",
    "docker <token> https://index.docker.io/v1/",
    "git alice https://git.example.com",
    "git bob https://git.example.com",
]


def test_everything_that_is_kept_is_listed(held: Program) -> None:
    """Tool, user and place, for people and for programs; never a value."""
    assert sorted(places(held)) == sorted(ALL)
    assert sorted(places(held, "docker")) == ALL[1:3][::-1]
    done = held("helper", "kept")
    assert (done.returncode, done.stdout.count("\n")) == (0, 5)
    assert "git: alice at https://git.example.com, kept since 2" in done.stdout
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    assert held("helper", "kept", "podman").stdout == held("helper", "kept", "docker").stdout
    held.config("")
    assert held("helper", "kept", "npm").returncode == 2


def test_nothing_is_kept(brokerctl: Program) -> None:
    """It is said, and an empty list is an answer."""
    assert brokerctl("helper", "kept").stdout == "nothing is kept for other tools\n"
    assert kept(brokerctl) == []


def test_what_its_tool_is_not_answered_with_is_named(held: Program) -> None:
    """A tool that does not ask, a profile that has the host since, `keep` without the tool."""
    why = {one["tool"]: one["unanswered"] for one in kept(held)}
    assert why == {tool: f"{tool} does not ask brokerctl for it" for tool in why}
    said = held("doctor", "--offline").stdout
    assert "git: 2 credentials kept and not found by it: git does not ask brokerctl" in said
    set_up(held)
    assert {one["unanswered"] for one in kept(held)} == {None}
    ours = PROFILE.replace("ours.example.com", "registry.example.com")
    held.config('[helpers]\nkeep = ["git", "docker"]\n' + ours)
    why = {one["url"]: one["unanswered"] for one in kept(held)}
    assert why.pop(INDEX) == "'[helpers] keep' in config.toml does not have cargo"
    assert why.pop("https://registry.example.com") == "its host is that of the profile 'work'"
    assert set(why.values()) == {None}
    assert "not answered: its host is that of the profile 'work'" in held("helper", "kept").stdout
    assert "not found by it: its host is that of the" in held("doctor", "--offline").stdout


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (("git", "https://git.example.com", "alice"), "git alice https://git.example.com"),
        (("git", "git.example.com", "alice"), "git alice https://git.example.com"),
        (("git", "GIT.example.com:443", "bob"), "git bob https://git.example.com"),
        (("docker", "registry.example.com"), "docker carol https://registry.example.com"),
        (("podman", "index.docker.io"), "docker <token> https://index.docker.io/v1/"),
        (("cargo", INDEX), f"cargo  {INDEX}"),
        (("cargo", f"sparse+{INDEX}"), f"cargo  {INDEX}"),
    ],
)
def test_one_is_forgotten(held: Program, words: tuple[str, ...], gone: str) -> None:
    """That one alone, recorded, and said to be good at its server still."""
    done = held("helper", "forget", *words, "--yes")
    assert done.returncode == 0, done.stderr
    assert "forgotten here, and still good at its server" in done.stdout
    assert sorted(places(held)) == sorted(set(ALL) - {gone})
    [record] = records(held, "credential.dropped")
    assert record["reason"] == "a person forgets it"
    assert record["requester"]["tool"] == "helper"
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("git", "git.example.com"), "2 are kept for git at git.example.com"),
        (("git", "git.example.com", "zoe"), "nothing is kept for git at git.example.com"),
        (("git", "http://git.example.com", "alice"), "nothing is kept for git at"),
        (("git", "git.example.com:8443", "alice"), "nothing is kept for git at"),
        (("docker", "git.example.com"), "nothing is kept for docker at"),
        (("npm", "git.example.com"), "helper 'npm' keeps nothing"),
    ],
)
def test_what_is_meant_by_no_one_is_not_forgotten(
    held: Program, words: tuple[str, ...], said: str
) -> None:
    """No other, and not one of two: exit code 2, and all are there."""
    done = held("helper", "forget", *words, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert sorted(places(held)) == sorted(ALL)


def test_a_place_without_a_path_before_one_with_a_path(held: Program) -> None:
    """The exact place is meant where it is there; else the only one at that host."""
    more = "username=alice\npassword=pw-of-alice\n"
    git(held, "store", more, "https git.example.com team/shop.git")
    git(held, "store", more, "https other.example.com team/shop.git")
    assert held("helper", "forget", "git", "git.example.com", "alice", "--yes").returncode == 0
    assert held("helper", "forget", "git", "other.example.com", "--yes").returncode == 0
    assert sorted(places(held, "git")) == [
        "git alice https://git.example.com/team/shop.git",
        "git bob https://git.example.com",
    ]


def test_it_is_asked_first(held: Program) -> None:
    """Without a terminal and without --yes nothing is forgotten."""
    done = held("helper", "forget", "git", "git.example.com", "alice")
    assert done.returncode == 2
    assert "say --yes" in done.stderr
    assert "alice at https://git.example.com" in done.stderr
    assert sorted(places(held)) == sorted(ALL)


def test_no_record_nothing_forgotten(held: Program) -> None:
    """A log that can't be written keeps it."""
    log = os.path.join(held.home, "state", "v1", "audit", "log")
    os.rename(log, log + ".away")
    os.mkdir(log)
    assert held("helper", "forget", "git", "git.example.com", "alice", "--yes").returncode == 7
    assert held("revoke", "--all", "--kept").returncode == 9
    os.rmdir(log)
    os.rename(log + ".away", log)
    assert sorted(places(held)) == sorted(ALL)


def test_revoke_all_names_what_is_kept(held: Program) -> None:
    """Nothing to revoke is not said over it: each is named, and the exit code is 9."""
    done = held("revoke", "--all")
    assert (done.returncode, "nothing to revoke" in done.stdout) == (9, False)
    assert (
        "git: alice at https://git.example.com: still kept, and good at its server" in done.stdout
    )
    assert done.stdout.count("still kept") == len(ALL)
    assert "brokerctl revoke --all --kept" in done.stderr
    done = held("revoke", "--all", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["all_dead"], answer["endings"]) == (9, False, [])
    assert {one["outcome"] for one in answer["kept"]} == {"kept"}
    assert sorted(places(held)) == sorted(ALL)


def test_revoke_all_kept_forgets_them(held: Program) -> None:
    """All are ended here; that their servers take them still is said, and each is recorded."""
    done = held("revoke", "--all", "--kept", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["all_dead"]) == (0, False)
    assert [one["outcome"] for one in answer["kept"]] == ["forgotten"] * len(ALL)
    assert len(records(held, "credential.dropped")) == len(ALL)
    assert kept(held) == []
    assert json.loads(docker(held, "list").stdout) == {}
    done = held("revoke", "--all", "--json")
    assert (done.returncode, json.loads(done.stdout)["all_dead"]) == (0, True)
    assert held("revoke", "--all").stdout == "nothing to revoke\n"


@pytest.mark.parametrize("words", [("work", "--kept"), ("--all", "--subject", "x", "--kept")])
def test_what_kept_goes_with(held: Program, words: tuple[str, ...]) -> None:
    """A kept credential is no profile's and no subject's."""
    done = held("revoke", *words)
    assert done.returncode == 2
    assert "--kept goes with --all" in done.stderr
    assert sorted(places(held)) == sorted(ALL)


def test_a_profile_or_a_subject_leaves_them_out(held: Program) -> None:
    """What is not asked for is neither named nor counted."""
    assert held("revoke", "--all", "--subject", "x") == (0, "nothing to revoke\n", "")
    assert held("revoke", "work") == (0, "nothing to revoke\n", "")


def test_a_damaged_one_is_told(held: Program) -> None:
    """It may be alive at its server: listed as such, and 9 at the end of a revoke."""
    folder = os.path.join(held.home, "state", "v1", "kept")
    victim = os.path.join(folder, min(os.listdir(folder)))
    with open(victim, "r+b") as file:
        file.seek(60)
        file.write(b"\0\0\0\0")
    done = held("helper", "kept")
    assert (done.returncode, done.stdout.count("\n")) == (6, len(ALL) - 1)
    assert "1 kept credential can't be opened" in done.stderr
    assert held("revoke", "--all", "--kept").returncode == 9
    assert os.path.exists(victim)


@pytest.mark.parametrize("tool", ["docker", "podman"])
def test_docker_asks_again_after_uninstall_and_install(brokerctl: Program, tool: str) -> None:
    """What import moved is asked for by the file again, and its being out of reach is said."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP_ALONE)
    name = CONFIG if tool == "docker" else ".config/containers/auth.json"
    write(brokerctl, name, PLAIN)
    assert brokerctl("helper", "import", "docker", "--yes").returncode == 0
    moved = set(json.loads(read(brokerctl, name))["credHelpers"])
    assert {one["unanswered"] for one in kept(brokerctl)} == {None}
    done = brokerctl("helper", "uninstall", tool, "--yes")
    assert "warning: 3 credentials of docker are kept here" in done.stderr
    assert f"'brokerctl helper export {tool}'" in done.stderr
    assert {one["unanswered"] for one in kept(brokerctl)} == {
        "docker does not ask brokerctl for it"
    }
    assert brokerctl("helper", "install", tool, "--yes").returncode == 0
    assert set(json.loads(read(brokerctl, name))["credHelpers"]) >= moved
    assert {one["unanswered"] for one in kept(brokerctl)} == {None}


def test_docker_asks_though_there_is_no_profile(brokerctl: Program) -> None:
    """Keeping for docker needs no profile, and neither does the way back to what is kept."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config('[helpers]\nkeep = ["docker"]\n')
    assert brokerctl("helper", "install", "docker", "--yes").returncode == 2
    store(brokerctl, "registry.example.com", "carol", "pw-of-carol")
    assert brokerctl("helper", "install", "docker", "--yes").returncode == 0
    assert json.loads(read(brokerctl, CONFIG))["credHelpers"] == {
        "registry.example.com": "brokerctl"
    }


def test_an_uninstall_of_a_tool_that_has_nothing_here(brokerctl: Program) -> None:
    """It says nothing of it, and makes no store."""
    assert "kept" not in brokerctl("helper", "uninstall", "git", "--yes").stderr
    assert not os.path.exists(os.path.join(brokerctl.home, "state"))


def killed_at(program: Program, call: str, nth: int, *words: str, how: str = "signal=KILL") -> bool:
    """Run it and kill it at its Nth call of a kind, or fail that; say whether it came to that."""
    strace = [require_tool("strace"), "-f", "-qq", "-o", os.path.join(program.home, "trace")]
    done = subprocess.run(
        [*strace, "-e", f"inject={call}:{how}:when={nth}", program.path, *words],
        env=program.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    is_killed = done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    return is_killed if "KILL" in how else done.returncode != 0


@pytest.mark.slow("killed at each of its calls in turn")
@pytest.mark.parametrize("call", ["write", "fsync", "fdatasync", "unlink", "unlinkat"])
def test_a_forget_that_is_killed_is_recorded_or_undone(brokerctl: Program, call: str) -> None:
    """What is gone has its record, whatever was cut off; what is there is whole."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP)
    for nth in range(1, 12):
        git(brokerctl, "store", "username=alice\npassword=pw-of-alice\n")
        before = len(records(brokerctl, "credential.dropped"))
        words = ("helper", "forget", "git", "git.example.com", "--yes")
        was_killed = killed_at(brokerctl, call, nth, *words)
        is_kept = bool(places(brokerctl, "git"))
        assert is_kept or len(records(brokerctl, "credential.dropped")) == before + 1, nth
        assert not is_kept or "pw-of-alice" in git(brokerctl, "get").stdout
        if not was_killed:
            break
    else:
        pytest.fail("it was killed each time: some calls were not reached")
    assert not is_kept
    assert brokerctl("audit", "verify").returncode == 0
