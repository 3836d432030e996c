"""`brokerctl store`, as its user meets it: a grant survives every move, and the code is honest."""

from __future__ import annotations

import json
import os
import re
import tempfile
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.program import PROGRAM, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSPHRASE = {"BROKERCTL_PASSPHRASE": "correct horse"}


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def held(brokerctl: Program, demo: DemoIssuer) -> Program:
    """Return a program that holds a person's grant, its key in a file."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    name = main_job.person(brokerctl, demo)
    done = brokerctl("login", name, env=main_job.scripted_browser(demo))
    assert done.returncode == 0, done.stderr
    return brokerctl


def entries(program: Program, kind: str) -> list[str]:
    """Return the files of a kind, without what is locked or noted beside them."""
    top = os.path.join(program.home, "state", "v1", kind)
    found = [os.path.join(place, name) for place, _, names in os.walk(top) for name in names]
    return sorted(path for path in found if re.search(r"/[0-9a-f]{64}$", path))


def flip(path: str) -> None:
    """Change the last byte of a file."""
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


def key_ids(program: Program) -> list[int]:
    """Return the id of the key that sealed each grant."""
    found = []
    for path in entries(program, "grants"):
        with open(path, "rb") as file:
            found.append(int.from_bytes(file.read()[5:9], "big"))
    return found


def gets(program: Program) -> int:
    """Return the exit code of a get that must go to the issuer with the stored grant."""
    return program("get", "person", "--fresh").returncode


def test_check_of_a_whole_store(held: Program) -> None:
    """Every entry opens: exit code 0, and the counts say what there is."""
    done = held("store", "check", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["schema"], answer["whole"]) == (0, 1, True)
    assert answer["entries"]["grant"] == answer["entries"]["token"] == 1
    assert done.stderr == ""


def test_check_names_what_is_damaged_and_sets_it_aside(held: Program) -> None:
    """A changed byte: 6 while it is in place, 9 when --mend has set it aside, 0 from then on."""
    flip(entries(held, "tokens")[0])
    found = held("store", "check")
    assert found.returncode == 6
    assert "token " in found.stdout
    assert "hint: 'brokerctl store check --mend'" in found.stderr
    mended = held("store", "check", "--mend", "--json")
    assert mended.returncode == 9
    assert json.loads(mended.stdout)["damaged"][0]["aside"]
    assert json.loads(mended.stderr)["error"]["name"] == "partial"
    assert held("store", "check").returncode == 0
    assert gets(held) == 0


def test_a_backup_moves_a_grant_to_another_home(held: Program, trace_dir: str) -> None:
    """Elsewhere, with another ring, the archive's grant gets tokens; the issuer knows no other."""
    file = os.path.join(held.home, "all.backup")
    made = held("store", "backup", file, "--json", env=PASSPHRASE)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["entries"]["grant"] == 1
    assert os.stat(file).st_mode & 0o777 == 0o600
    other = Program(trace_dir)
    other.env["BROKERCTL_KEEPER"] = "file"
    with open(os.path.join(held.home, "config.toml"), encoding="utf-8") as config:
        other.config(config.read())
    assert gets(other) == 3
    back = other("store", "restore", file, "--json", env=PASSPHRASE)
    assert back.returncode == 0, back.stderr
    assert any(path.startswith("grant/") for path in json.loads(back.stdout)["restored"])
    assert gets(other) == 0
    log = other("audit", "log", "--json").stdout
    assert '"event":"store.restored"' in log


def test_a_backup_names_the_secrets_that_are_not_in_it(brokerctl: Program) -> None:
    """Variables, files and commands by name alone, with their profiles; a stored one is in it."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    kinds = {
        "a": 'env = "CI_SECRET"',
        "b": 'env = "CI_SECRET"',
        "c": 'file = "/run/secrets/c"',
        "d": 'command = ["pass", "show", "hidden-words"]',
        "e": 'store = "kept"',
        "f": 'store = "never"',
    }
    profile = '[profile.{}]\nissuer = "https://i.example"\nflow = "client_credentials"\n'
    text = profile + 'client_id = "c"\nclient_secret = {{ {} }}\n'
    brokerctl.config("".join(text.format(name, kind) for name, kind in kinds.items()))
    assert brokerctl("profile", "secret", "kept", "--stdin", stdin="planted-kept\n").returncode == 0
    env = {**PASSPHRASE, "CI_SECRET": "planted-variable"}
    done = brokerctl("store", "backup", "all.backup", env=env)
    assert done.returncode == 0
    start = "brokerctl: warning: not in the archive: "
    assert done.stderr.splitlines() == [
        f"{start}what pass prints (d)",
        f"{start}the variable CI_SECRET (a, b)",
        f"{start}the file /run/secrets/c (c)",
        f"{start}the stored secret 'never', which is not there (f)",
    ]
    answer = json.loads(brokerctl("store", "backup", "2.backup", "--json", env=env).stdout)
    assert answer["outside"][1] == {"kind": "env", "name": "CI_SECRET", "profiles": ["a", "b"]}


def test_restore_never_replaces_what_is_newer(held: Program) -> None:
    """The grant that has been refreshed since stays; that is no failure."""
    file = os.path.join(held.home, "all.backup")
    assert held("store", "backup", file, env=PASSPHRASE).returncode == 0
    assert gets(held) == 0
    back = held("store", "restore", file, "--json", env=PASSPHRASE)
    assert back.returncode == 0
    assert json.loads(back.stdout)["restored"] == []
    assert gets(held) == 0


def test_restore_says_what_it_could_not_put_back(held: Program, trace_dir: str) -> None:
    """A stored secret whose name nobody knows elsewhere is refused by name: exit code 9."""
    assert held("profile", "secret", "orphan", "--stdin", stdin="planted-orphan\n").returncode == 0
    file = os.path.join(held.home, "all.backup")
    assert held("store", "backup", file, env=PASSPHRASE).returncode == 0
    other = Program(trace_dir)
    other.env["BROKERCTL_KEEPER"] = "file"
    back = other("store", "restore", file, env=PASSPHRASE)
    assert back.returncode == 9
    assert "secret " in back.stdout
    assert "1 entries could not be put back" in back.stderr


@pytest.mark.parametrize(
    ("change", "env"),
    [("none", {"BROKERCTL_PASSPHRASE": "wrong"}), ("flip", PASSPHRASE), ("cut", PASSPHRASE)],
)
def test_an_archive_that_does_not_open(held: Program, change: str, env: dict[str, str]) -> None:
    """Another passphrase, a changed byte or a cut: exit code 6 and nothing is changed."""
    file = os.path.join(held.home, "all.backup")
    assert held("store", "backup", file, env=PASSPHRASE).returncode == 0
    if change == "flip":
        flip(file)
    elif change == "cut":
        os.truncate(file, os.path.getsize(file) - 1)
    done = held("store", "restore", file, env=env)
    assert (done.returncode, done.stdout) == (6, "")
    assert gets(held) == 0


def test_a_backup_needs_a_passphrase_and_a_new_file(held: Program) -> None:
    """Nobody to ask: 2 with the variable to set; a file that is there is never replaced."""
    file = os.path.join(held.home, "all.backup")
    asked = held("store", "backup", file)
    assert asked.returncode == 2
    assert "hint: set BROKERCTL_PASSPHRASE_FILE" in asked.stderr
    assert not os.path.exists(file)
    assert held("store", "backup", file, env=PASSPHRASE).returncode == 0
    assert held("store", "backup", file, env=PASSPHRASE).returncode == 2


def test_rekey_moves_the_key_from_keeper_to_keeper(held: Program) -> None:
    """File to passphrase to another passphrase to a variable: the grant works after each."""
    held.env["BROKERCTL_KEEPER"] = None
    key, new_key = (held("store", "key").stdout.strip() for _ in range(2))
    steps: list[tuple[list[str], dict[str, str | None], dict[str, str | None]]] = [
        (["--to", "passphrase"], {"BROKERCTL_PASSPHRASE": "one"}, {"BROKERCTL_PASSPHRASE": "one"}),
        ([], {"BROKERCTL_PASSPHRASE_NEW": "two"}, {"BROKERCTL_PASSPHRASE": "two"}),
        (["--to", "env"], {"BROKERCTL_KEY": key}, {"BROKERCTL_KEY": key}),
        ([], {"BROKERCTL_KEY_NEW": new_key}, {"BROKERCTL_KEY": new_key}),
        (["--to", "file"], {}, {"BROKERCTL_KEY": None}),
    ]
    for words, env, after in steps:
        done = held("store", "rekey", *words, env=env)
        assert done.returncode == 0, (words, done.stderr)
        held.env.update(after)
        assert gets(held) == 0, words
    assert held("audit", "verify").returncode == 0
    assert held("audit", "log", "--event", "store.rekeyed").stdout.count("\n") == len(steps)


def test_the_same_key_again_is_no_new_key(brokerctl: Program) -> None:
    """With the key in a variable, `rekey` wants to be given another one."""
    brokerctl.env["BROKERCTL_KEY"] = brokerctl("store", "key").stdout.strip()
    assert brokerctl("store", "check").returncode == 0
    done = brokerctl("store", "rekey")
    assert done.returncode == 2
    assert "BROKERCTL_KEY_NEW" in done.stderr


def test_new_keys_seal_everything_anew_and_continue_the_log(held: Program) -> None:
    """Every entry names the new key, the grant works, and the log's chain goes on."""
    before = key_ids(held)
    done = held("store", "rekey", "--new-keys", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resealed"] > 1
    assert (before, key_ids(held)) == ([1], [2])
    assert gets(held) == 0
    assert held("audit", "verify").returncode == 0
    assert '"event":"log.continued"' in held("audit", "log", "--json").stdout


def test_new_keys_leave_what_is_damaged_and_say_so(held: Program) -> None:
    """An entry that does not open can't be sealed anew: exit code 9 and its name."""
    flip(entries(held, "tokens")[0])
    done = held("store", "rekey", "--new-keys", "--json")
    assert done.returncode == 9
    assert [left["kind"] for left in json.loads(done.stdout)["left"]] == ["token"]


def test_gc_takes_nothing_that_is_needed(held: Program) -> None:
    """Of a store in use nothing goes but what the answer counts, and the grant stays."""
    done = held("store", "gc", "--json")
    assert done.returncode == 0
    assert {"unfinished", "plans", "slots"} < set(json.loads(done.stdout)["removed"])
    assert gets(held) == 0


def test_a_key_is_new_each_time_and_fits(brokerctl: Program) -> None:
    """`store key` prints 32 bytes in base64url that BROKERCTL_KEY takes, and stores nothing."""
    first, second = (brokerctl("store", "key").stdout.strip() for _ in range(2))
    assert first != second
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", first)
    assert not os.path.exists(os.path.join(brokerctl.home, "state"))
    assert brokerctl("store", "check", env={"BROKERCTL_KEY": first}).returncode == 0
    assert brokerctl("store", "check", env={"BROKERCTL_KEY": second}).returncode == 6


def typed(program: Program, words: list[str], *answers: str) -> tuple[str, int]:
    """Run on a terminal and answer each prompt; return what was shown and the exit code."""
    child = pexpect.spawn(
        PROGRAM, words, env=program.environment(), encoding="utf-8", timeout=60, cwd=program.home
    )
    for answer in answers:
        child.expect("(passphrase|again)[^:]*: ")
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    shown = child.before or ""
    program.keep(tuple(words), shown, "")
    return shown, child.exitstatus or 0


def test_passphrases_are_typed_unseen_and_twice(held: Program) -> None:
    """On a terminal: two that differ are refused, none is shown, and the archive opens again."""
    held.env["BROKERCTL_KEEPER"] = None
    file = os.path.join(held.home, "all.backup")
    shown, code = typed(held, ["store", "backup", file], "one-phrase", "other-phrase")
    assert (code, os.path.exists(file)) == (2, False)
    assert "the two passphrases differ" in shown
    shown, code = typed(held, ["store", "backup", file], "one-phrase", "one-phrase")
    assert code == 0, shown
    assert "phrase\r" not in shown
    assert (
        held("store", "restore", file, env={"BROKERCTL_PASSPHRASE": "one-phrase"}).returncode == 0
    )
    shown, code = typed(held, ["store", "rekey", "--to", "passphrase"], "two-phrase", "two-phrase")
    assert code == 0, shown
    held.env["BROKERCTL_PASSPHRASE"] = "two-phrase"
    assert gets(held) == 0
