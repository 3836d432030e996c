"""What is kept goes back into the tool's own file: as the tool reads it, and never into neither."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import require_tool
from tests.scripts.test_helper_import import read, write
from tests.scripts.test_helper_import_docker import (
    CONFIG,
    KEEP_ALONE,
    PLAIN,
    PODMAN,
    SECRETS,
    answer,
    basic,
    home,
    move,
    one,
)
from tests.scripts.test_helper_keep import git, records
from tests.scripts.test_helper_keep_others import KEEP as KEEP_OTHERS
from tests.scripts.test_helper_keep_others import cargo, store
from tests.scripts.test_helper_kept import ALL, INDEX, KEEP, held, killed_at, places
from tests.scripts.test_helper_kept import SECRETS as ALL_SECRETS

if TYPE_CHECKING:
    from tests.program import Program, Result

__all__ = ["held", "home"]  # the fixtures


def auths(program: Program, name: str = CONFIG) -> Any:  # noqa: ANN401 - JSON has any type
    """Return the entries of a file as their tool reads them."""
    found = json.loads(read(program, name)).get("auths", {})
    return {key: {**value} for key, value in found.items()}


def export(program: Program, tool: str, code: int = 0) -> Result:
    """Put back what can be put back, and see that no value is said."""
    done = program("helper", "export", tool, "--yes")
    assert done.returncode == code, done.stderr
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    return done


def test_export_is_the_way_back(home: Program) -> None:
    """The same entries, no more named helper, all else as it was, and nothing kept; and again."""
    before = json.loads(PLAIN)
    for _ in range(2):
        move(home)
        said = export(home, "docker").stdout
        assert said == f"docker: 3 put into {home.home}/{CONFIG}, and kept here no more\n"
        after = json.loads(read(home, CONFIG))
        assert after["auths"] == before["auths"]
        assert (after["HttpHeaders"], after.get("credHelpers", {})) == (before["HttpHeaders"], {})
        assert os.stat(os.path.join(home.home, CONFIG)).st_mode & 0o777 == 0o600
        assert home("helper", "kept").stdout == "nothing is kept for other tools\n"
    events = home("audit", "log", "--event", "credential.exported", "--json").stdout
    assert events.count(f'"file":"{home.home}/{CONFIG}"') == 6
    assert home("audit", "verify").returncode == 0


def logins(program: Program) -> list[str]:
    """Return who skopeo says is logged in at each registry, by its own reading of the files."""
    skopeo, found = require_tool("skopeo"), []
    for name in ("registry.example.com", "localhost:5000", "old.example.com", "none.example.com"):
        done = subprocess.run(
            [skopeo, "login", "--get-login", name],
            env=program.environment({"XDG_RUNTIME_DIR": program.home}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        program.keep(("skopeo", name), done.stdout, done.stderr)
        found.append(done.stdout.strip())
    return found


@pytest.mark.parametrize("name", [CONFIG, PODMAN])
def test_a_real_tool_reads_the_same_at_each_step(home: Program, name: str) -> None:
    """Before, after import, after uninstall and install, and after export: skopeo's own answer."""
    os.unlink(os.path.join(home.home, CONFIG))
    tool, text = ("docker" if name == CONFIG else "podman"), json.loads(PLAIN)
    del text["credHelpers"]
    write(home, name, json.dumps(text))
    before = logins(home)
    assert before == ["alice", "bob", "", ""]  # it takes no key with a path
    move(home)
    assert logins(home) == before
    assert home("helper", "uninstall", tool, "--yes").returncode == 0
    assert home("helper", "install", tool, "--yes").returncode == 0
    assert logins(home) == before
    export(home, tool)
    assert logins(home) == before
    assert home("helper", "kept").stdout == "nothing is kept for other tools\n"


@pytest.mark.parametrize("tool", ["docker", "podman", "skopeo"])
def test_export_into_a_file_that_is_not_there(brokerctl: Program, tool: str) -> None:
    """It is made, with what a tool of its kind reads, for its owner alone."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config('[helpers]\nkeep = ["docker"]\n')
    store(brokerctl, "registry.example.com", "alice", "hunter2")
    store(brokerctl, "http://localhost:5000", "bob", "pw-of-bob")
    export(brokerctl, tool)
    name = CONFIG if tool == "docker" else PODMAN
    assert auths(brokerctl, name) == {
        "localhost:5000": json.loads(basic("bob", "pw-of-bob")),
        "registry.example.com": json.loads(basic("alice", "hunter2")),
    }
    assert os.stat(os.path.join(brokerctl.home, name)).st_mode & 0o777 == 0o600
    if tool != "docker":
        words = [require_tool("skopeo"), "login", "--get-login", "registry.example.com"]
        words += ["--authfile", os.path.join(brokerctl.home, name)]
        assert subprocess.check_output(words, text=True) == "alice\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (one("registry.example.com", "alice", "another"), "another password stands there"),
        (one("https://registry.example.com/v1/"), ""),
        ('{"credsStore": "brokerctl"}', "another helper is asked for its host"),
        ('{"credsStore": "desktop"}', "another helper is asked for its host"),
        ('{"credHelpers": {"registry.example.com": "pass"}}', "another helper is asked for its"),
        ('{"credHelpers": {"other.example.com": "brokerctl"}}', ""),
        ("{}", ""),
        ("\n", ""),
    ],
)
def test_what_a_file_could_not_give_back_is_left(home: Program, text: str, why: str) -> None:
    """Where the tool would not read it, or reads another: 9, the file as it was, and it is kept."""
    home.config('[helpers]\nkeep = ["docker"]\n')
    store(home, "registry.example.com", "alice", "hunter2")
    write(home, CONFIG, text)
    done = export(home, "docker", 9 if why else 0)
    if why:
        assert f"leave: docker: alice at https://registry.example.com: {why}" in done.stderr
        assert (read(home, CONFIG), done.stdout) == (text, "")
        assert answer(home, "registry.example.com")["Secret"] == "hunter2"
    else:
        assert len(auths(home)) == 1
        assert answer(home, "registry.example.com") is None
        helpers = json.loads(read(home, CONFIG)).get("credHelpers", {})
        assert helpers == json.loads(text.strip() or "{}").get("credHelpers", {})


def test_a_profile_s_registry_stays_with_brokerctl(home: Program) -> None:
    """Docker would ask brokerctl for it and not read the file: left, until that is taken out."""
    home.config(KEEP_OTHERS)
    store(home, "ours.example.com", "carol", "pw-of-carol")
    home.config(KEEP_ALONE)
    write(home, CONFIG, "{}")
    assert home("helper", "install", "docker", "--yes").returncode == 0
    assert "a profile has its host" in export(home, "docker", 9).stderr
    assert home("helper", "uninstall", "docker", "--yes").returncode == 0
    export(home, "docker")
    assert auths(home) == {"ours.example.com": json.loads(basic("carol", "pw-of-carol"))}


def test_of_two_users_the_newer_one_goes(home: Program) -> None:
    """The file has one for a host; the other stays where it is."""
    home.config('[helpers]\nkeep = ["docker"]\n')
    store(home, "registry.example.com", "bob", "pw-of-bob")
    store(home, "registry.example.com", "alice", "hunter2")
    write(home, CONFIG, "{}")
    assert "leave: docker: bob at" in export(home, "docker", 9).stderr
    assert auths(home) == json.loads(one("registry.example.com"))["auths"]


CARGO = """\
[registries.mine]
index = "sparse+https://crates.example.com/index/"
"""


def test_cargo_gets_its_tokens_back(held: Program) -> None:
    """Below the name that its own configuration has for the index; crates.io has its own place."""
    write(held, ".cargo/config.toml", CARGO)
    cargo(held, "login", "sparse+https://index.crates.io/", token="of-crates-io")
    cargo(held, "login", "sparse+https://nobody.example.com/", token="of-nobody")
    write(held, ".cargo/credentials.toml", '# mine\n[registries.x]\ntoken = "t"')
    done = held("helper", "export", "cargo", "--yes")
    assert (done.returncode, "cargo: 2 put into" in done.stdout) == (9, True)
    assert "nobody.example.com/: cargo's configuration has no name for its index" in done.stderr
    text = read(held, ".cargo/credentials.toml")
    assert text.startswith('# mine\n[registries.x]\ntoken = "t"\n')
    assert tomllib.loads(text) == {
        "registries": {"x": {"token": "t"}, "mine": {"token": "cargo-token"}},
        "registry": {"token": "of-crates-io"},
    }
    assert places(held, "cargo") == ["cargo  https://nobody.example.com/"]
    cargo(held, "login", f"sparse+{INDEX}", token="cargo-token")
    cargo(held, "login", "sparse+https://index.crates.io/", token="another")
    done = held("helper", "export", "cargo", "--yes")
    assert "index.crates.io/: another token stands there" in done.stderr
    assert read(held, ".cargo/credentials.toml") == text
    assert len(places(held, "cargo")) == 2


def test_export_is_asked_first_and_a_refusal_changes_nothing(held: Program) -> None:
    """Nobody to ask, no record, another's name, a folder that can't be written: all is kept."""
    assert held("helper", "export", "git").returncode == 2
    assert held("helper", "export", "npm", "--yes").returncode == 2
    log = os.path.join(held.home, "state", "v1", "audit", "log")
    os.rename(log, log + ".away")
    os.mkdir(log)
    assert held("helper", "export", "git", "--yes").returncode == 7
    os.rmdir(log)
    os.rename(log + ".away", log)
    write(held, ".git-credentials.lock", "")
    assert held("helper", "export", "git", "--yes").returncode == 2
    assert [len(records(held, f"credential.{word}exported")) for word in ("", "not_")] == [2, 2]
    assert sorted(places(held)) == sorted(ALL)
    assert not os.path.exists(os.path.join(held.home, ".git-credentials"))
    os.unlink(os.path.join(held.home, ".git-credentials.lock"))
    done = held("helper", "export", "git", "--yes")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert not [secret for secret in ALL_SECRETS if secret in done.stdout + done.stderr]


@pytest.mark.slow("killed at each of its calls in turn")
@pytest.mark.parametrize("call", ["rename", "fsync", "unlink", "unlinkat", "chmod", "symlink"])
def test_an_export_that_is_killed_loses_nothing(brokerctl: Program, call: str) -> None:
    """At any of these calls it is in the file or in the store, or both; the next export ends it."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP)
    killed = 0
    for nth in range(1, 12):
        write(brokerctl, ".git-credentials", "https://zoe:pw-of-zoe@z.example.com\n")
        git(brokerctl, "store", "username=alice\npassword=pw-of-alice\n")
        was_killed = killed_at(brokerctl, call, nth, "helper", "export", "git", "--yes")
        text = read(brokerctl, ".git-credentials")
        is_kept = bool(places(brokerctl, "git"))
        assert is_kept or "alice:pw-of-alice@git.example.com" in text, nth
        assert "pw-of-zoe" in text
        if not was_killed:
            break
        killed += 1
        assert brokerctl("helper", "export", "git", "--yes").returncode == 0
        assert read(brokerctl, ".git-credentials").count("pw-of-alice") == 1
        assert not [name for name in os.listdir(brokerctl.home) if name.startswith(".brokerctl-")]
        assert places(brokerctl, "git") == []
    else:
        pytest.fail("it was killed each time: some calls were not reached")
    assert killed or call in {"unlinkat", "unlink"}
    assert brokerctl("store", "check").returncode == 0


@pytest.mark.slow("fails at each of its calls in turn")
def test_the_record_of_an_export_that_fails_is_true(brokerctl: Program) -> None:
    """A password that is in the file was exported, whatever the disk said behind that."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP)
    seen = set()
    for nth in range(1, 12):
        write(brokerctl, ".git-credentials", "https://zoe:pw-of-zoe@z.example.com\n")
        git(brokerctl, "store", "username=alice\npassword=pw-of-alice\n")
        before = len(records(brokerctl, "credential.not_exported"))
        words = ("helper", "export", "git", "--yes")
        has_failed = killed_at(brokerctl, "fsync", nth, *words, how="error=EIO")
        is_there = "pw-of-alice" in read(brokerctl, ".git-credentials")
        is_denied = len(records(brokerctl, "credential.not_exported")) > before
        assert not (is_there and is_denied), nth
        seen.add((has_failed, is_there))
        if not has_failed:
            break
    assert seen >= {(True, True), (True, False), (False, True)}
