"""One session from start to end, with real processes: tokens, files, exit codes."""

from __future__ import annotations

import os

import pytest

from tests.session_room import Room


@pytest.fixture
def room(tmp_path: object) -> Room:
    """Return a room of this test's own."""
    return Room(str(tmp_path))


@pytest.mark.parametrize("profile", ["person", "service"])
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 7", 7),
        ("exit 125", 125),
        ("exit 255", 255),
        *((f"kill -{number} $$", 128 + number) for number in (1, 2, 3, 6, 9, 10, 11, 13, 14, 15)),
    ],
)
def test_exit_code_is_the_childs(room: Room, profile: str, script: str, code: int) -> None:
    """The child's exit code is ours, and 128 + n for signal n, for shared and own tokens alike."""
    done = room.run("-p", profile, "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["no-such-command-here"], 127),
        (["/no/such/command"], 127),
        (["/etc/passwd"], 126),
        (["/tmp"], 126),
        (["./no-interpreter"], 127),
        (["./without-mark", "a b"], 33),
    ],
)
def test_command_that_cannot_be_run(room: Room, command: list[str], code: int) -> None:
    """127 where there is none, 126 where it can't be run; a script without `#!` runs as in sh."""
    for name, text in (("no-interpreter", "#!/no/such/sh\n"), ("without-mark", "exit 33\n")):
        path = os.path.join(room.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o700)
    done = room.run("-p", "service", "--", *command, cwd=room.folder)
    assert done.returncode == code
    assert room.entries() == []


def test_missing_command_asks_for_no_token(room: Room) -> None:
    """A command that isn't there is found out before any token is asked for."""
    assert room.run("-p", "service", "--", "no-such-command-here").returncode == 127
    assert room.notes() == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-p", "nobody"], 2),
        ([], 2),
        (["-p", "person", "-p", "person2", "--env", "X=person"], 2),
        (["--env", "X=person", "--env", "X=service"], 2),
        (["--env", "X=person", "--file", "X=service"], 2),
        (["--env", "1X=person"], 2),
        (["--env", "BROKERCTL_KEY=person"], 2),
        (["-p", "single", "--scope", "a"], 2),
        (["-p", "endless"], 2),
        (["-p", "login"], 3),
        (["-p", "broken"], 5),
        (["-p", "service", "-p", "broken"], 5),
    ],
)
def test_refusals_before_the_child(room: Room, words: list[str], code: int) -> None:
    """What can't be had is refused with the table's exit code, nothing is started or left."""
    done = room.run(*words, "--", "sh", "-c", "echo started")
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.startswith(b"brokerctl: error: ")
    assert room.entries() == []


def test_one_failure_leaves_no_token(room: Room) -> None:
    """If one of several tokens can't be had, those already obtained are ended."""
    assert room.run("-p", "service", "-p", "broken", "--", "true").returncode == 5
    assert [note["profiles"] for note in room.notes("revoke")] == [["service", "broken"]]


def test_what_is_asked_for_holds_for_every_profile(room: Room) -> None:
    """Subject, resource and audience reach each request of a session with several profiles."""
    words = ("--subject", "ann", "--resource", "https://b", "--resource", "https://a")
    more = ("--audience", "x", "-p", "person", "-p", "service", "--", "true")
    assert room.run(*words, *more).returncode == 0
    asked = {"subject": "ann", "resource": ["https://a", "https://b"], "audience": ["x"]}
    notes = room.notes("get")
    assert [note["profile"] for note in notes] == ["person", "service"]
    assert [note | asked | {"is_own": True} for note in notes] == notes


@pytest.mark.parametrize(
    ("words", "owned"),
    [
        ("--subject ann", [False]),
        ("--resource https://a", [True]),
        ("--audience x", [True]),
        ("--audience x --keep", [False]),
    ],
)
def test_a_narrowed_person_s_token_is_the_session_s_own(
    room: Room, words: str, owned: list[bool]
) -> None:
    """A subject narrows nothing: its token is shared as the profile's own is."""
    assert room.run("-p", "person", *words.split(), "--", "true").returncode == 0
    assert [note["is_own"] for note in room.notes("get")] == owned


@pytest.mark.parametrize("words", [("--scope", "a"), ("--revoke",), ("--ttl", "5m")])
def test_a_session_s_own_of_one_at_a_time_is_the_broker_s_to_refuse(
    room: Room, words: tuple[str, ...]
) -> None:
    """It records what it refuses; and it is asked before another profile's token is had."""
    assert room.run("-p", "service", "-p", "single", *words, "--", "true").returncode == 2
    assert [(note["profile"], note["is_own"]) for note in room.notes("get")] == [("single", True)]


def test_variables(room: Room) -> None:
    """`--env` names the variable, else the profile's `env`, else <PROFILE>_TOKEN."""
    words = ("-p", "person", "-p", "named", "--env", "MINE=service", "--env", "TOO=service")
    done = room.run(*words, "--", "env", "-0", env={"PERSON_TOKEN": "inherited", "MINE": "old"})
    found = dict(line.split(b"=", 1) for line in done.stdout.split(b"\0") if line)
    tokens = {
        name.decode(): value.decode() for name, value in found.items() if b"token-of" in value
    }
    assert tokens == {
        "PERSON_TOKEN": room.token("person"),
        "NAMED_BY_PROFILE": room.token("named"),
        "MINE": room.token("service"),
        "TOO": room.token("service"),
    }


def test_default_profile(room: Room) -> None:
    """BROKERCTL_PROFILE is meant where none is named."""
    done = room.run("--", "sh", "-c", "echo $PERSON_TOKEN", env={"BROKERCTL_PROFILE": "person"})
    assert done.stdout == f"{room.token('person')}\n".encode()


def test_secrets_of_ours_are_not_inherited(room: Room) -> None:
    """Neither what opens the store nor what a secret reference names reaches the child."""
    names = (
        "BROKERCTL_KEY",
        "BROKERCTL_KEY_FILE",
        "BROKERCTL_PASSPHRASE",
        "BROKERCTL_PASSPHRASE_FILE",
        "MY_SECRET",
    )
    env = {**dict.fromkeys(names, "hush-hush"), "BROKERCTL_KEEPER": "file", "OTHER": "kept"}
    done = room.run("-p", "person", "--", "cat", "/proc/self/environ", env=env)
    assert b"hush-hush" not in done.stdout
    assert {b"BROKERCTL_KEEPER=file", b"OTHER=kept"} <= set(done.stdout.split(b"\0"))


def test_clean_environment(room: Room) -> None:
    """`--clean-env` leaves the usual few variables and the tokens."""
    env = {"OTHER": "x", "AWS_SECRET_ACCESS_KEY": "x", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    done = room.run("-p", "person", "--clean-env", "--", "env", "-0", env=env)
    names = {line.split(b"=")[0].decode() for line in done.stdout.split(b"\0") if line}
    assert names <= {"HOME", "PATH", "LANG", "LC_ALL", "TERM", "PERSON_TOKEN", "PWD"}
    assert {"PATH", "PERSON_TOKEN", "LC_ALL", "TERM"} <= names


def test_private_file(room: Room) -> None:
    """`--file` gives a 0600 file in a 0700 folder, in no variable the token, and removes both."""
    script = 'stat -c %a "$F" "$(dirname "$F")"; cat "$F"; echo; echo "$F"; env'
    done = room.run("--file", "F=service", "--", "sh", "-c", script)
    lines = done.stdout.decode().split("\n")
    assert lines[:3] == ["600", "700", room.token("service")]
    assert lines[3].startswith(room.runtime)
    assert done.stdout.count(b"token-of") == 1
    assert os.listdir(room.runtime) == []
    assert room.entries() == []


def test_private_file_falls_back(room: Room) -> None:
    """Without a usable $XDG_RUNTIME_DIR the file is in another private folder."""
    for wrong in ("relative", f"{room.folder}/missing"):
        done = room.run(
            "--file",
            "F=person",
            "--",
            "sh",
            "-c",
            "echo $F; cat $F",
            env={"XDG_RUNTIME_DIR": wrong},
        )
        path, token = done.stdout.decode().split("\n")
        assert token == room.token("person")
        assert not os.path.exists(os.path.dirname(path))


def test_file_folder_with_more_in_it(room: Room) -> None:
    """What the child put beside the file goes too, and a removed file is no failure."""
    script = 'touch "$(dirname "$F")/other"; rm "$F"'
    done = room.run("--file", "F=person", "--", "sh", "-c", script)
    assert (done.returncode, done.stderr, os.listdir(room.runtime)) == (0, b"", [])


@pytest.mark.parametrize(
    ("words", "is_own"),
    [
        (["-p", "person"], False),
        (["-p", "service"], True),
        (["-p", "person", "--revoke"], True),
        (["-p", "service", "--keep"], False),
        (["-p", "person", "--scope", "a b"], True),
        (["-p", "person", "--ttl", "5m"], True),
        (["-p", "person", "--min-ttl", "5m"], False),
        (["-p", "person", "--ttl=5m", "--keep"], False),
        (["-p", "endless", "--keep"], False),
        (["-p", "single"], False),
    ],
)
def test_own_or_shared(room: Room, words: list[str], *, is_own: bool) -> None:
    """The contract's default; an own token is revoked at the end, a shared one is not."""
    assert room.run(*words, "--", "true").returncode == 0
    assert [note["is_own"] for note in room.notes("get")] == [is_own]
    assert len(room.notes("revoke")) == int(is_own)
    assert room.entries() == []


def test_request_says_who_and_why(room: Room) -> None:
    """Scopes, lifetimes, purpose, tool and session reach the broker; the end is recorded."""
    line = "-p service --scope b --scope a --ttl 5m --min-ttl 30s --purpose why -- sh -c"
    room.run(*line.split(), "exit 3")
    asked, ended = room.notes("get")[0], room.notes("exec.end")[0]
    assert (asked["scopes"], asked["max_ttl_s"], asked["min_ttl_s"]) == (["a", "b"], 300, 30)
    assert (asked["purpose"], asked["requester"]["tool"]) == ("why", "exec")
    assert len(bytes.fromhex(asked["requester"]["session"])) == 16
    assert ended["requester"]["session"] == asked["requester"]["session"]
    assert ended["outcome"] == "exit 3"


def test_warning_is_shown(room: Room) -> None:
    """What the broker warns of is said on stderr and does not stop the command."""
    done = room.run("-p", "warned", "--", "true")
    assert (done.returncode, done.stderr) == (0, b"brokerctl: warning: it is odd\n")


@pytest.mark.parametrize("how", ["unknown", "raise"])
def test_revocation_that_fails(room: Room, how: str) -> None:
    """A token that could not be revoked is said, and stays queued; the code is the child's."""
    done = room.run("-p", "service", "--", "sh", "-c", "exit 4", env={"SESSION_TEST_REVOKE": how})
    assert done.returncode == 4
    assert done.stderr.startswith(b"brokerctl: warning: ")
    assert len(room.entries()) == int(how == "raise")  # "unknown" is in the store's own queue
