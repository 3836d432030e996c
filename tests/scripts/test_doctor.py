"""`doctor`: each thing that is broken is found, and what it says repairs it."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from brokerctl.doctor import CHECKS, EARLY, PROBLEM, WARNING
from brokerctl.doctor.folder import file_system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.program import Program, Result

CONFIG = """[profile.ci]
issuer = "https://issuer.example"
flow = "client_credentials"
client_id = "ci"
client_secret = { file = "~/secret" }
"""


@pytest.fixture
def healthy(brokerctl: Program) -> Program:
    """Return a program with one profile whose secret is there, and a store."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(CONFIG)
    write(brokerctl, "secret", "s3cret-in-a-file")
    assert brokerctl("status").returncode == 0
    return brokerctl


def write(program: Program, name: str, text: str, mode: int = 0o600) -> str:
    """Write a file of the home."""
    path = os.path.join(program.home, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def findings(done: Result) -> list[dict[str, Any]]:
    """Return what `doctor --json` found."""
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


def examine(program: Program, **env: str) -> list[dict[str, Any]]:
    """Return the findings that are not fine."""
    done = program("doctor", "--offline", "--json", env=env)
    return [finding for finding in findings(done) if finding["state"] != "ok"]


def v1(program: Program, *names: str) -> str:
    """Return a path in the store."""
    for folder, folders, _ in os.walk(program.home):
        if "keys" in folders and os.path.basename(folder) == "v1":
            return os.path.join(folder, *names)
    raise AssertionError("no store")


def test_a_healthy_home_has_no_problem(healthy: Program) -> None:
    """Exit code 0, each check of the table speaks, and no secret is in what it says."""
    done = healthy("doctor", "--offline", "--json")
    assert done.returncode == 0
    assert {finding["check"] for finding in findings(done)} == {*EARLY, *CHECKS} - {
        "environment",
        "issuers",
        "grants",
        "secrets",
    }
    assert "s3cret" not in done.stdout + done.stderr
    assert not [finding for finding in findings(done) if finding["state"] == PROBLEM]
    text = healthy("doctor", "--offline").stdout
    assert all(line.startswith(("ok: ", "warning: ", "  ")) for line in text.splitlines())


def damage_entry(program: Program) -> None:
    """Leave a grant that no key opens."""
    os.makedirs(v1(program, "grants"), mode=0o700, exist_ok=True)
    write(program, os.path.relpath(v1(program, "grants", "a" * 64), program.home), "BKR1 no")


def cut_log(program: Program) -> None:
    """Change a byte in the middle of the log."""
    program("get", "nobody")
    program("get", "ci", "--scope", "more")
    with open(v1(program, "audit", "log"), "r+b") as file:
        file.seek(40)
        file.write(b"X")


def open_secret(program: Program) -> None:
    """Let others read the client's secret."""
    os.chmod(os.path.join(program.home, "secret"), 0o644)


def break_config(program: Program) -> None:
    """Misspell a key."""
    program.config(CONFIG.replace("client_id", "client_ld"))


def unquote(program: Program) -> None:
    """Write a text as no text of TOML's is written."""
    program.config(CONFIG.replace('"client_credentials"', "client_credentials"))


def lose_key(program: Program) -> None:
    """Remove the file in which the key is kept."""
    (name,) = [name for name in os.listdir(v1(program, "keys")) if name.startswith("key-")]
    os.unlink(v1(program, "keys", name))


def open_folder(program: Program) -> None:
    """Let others look into the store."""
    os.chmod(v1(program), 0o755)  # noqa: S103 - which is what is to be found


def leave_file(program: Program) -> None:
    """Leave what a killed writer leaves."""
    with open(v1(program, "plans", ".tmp-0123"), "wb") as file:
        file.write(b"half")
    os.chmod(v1(program, "plans", ".tmp-0123"), 0o600)


BROKEN: dict[str, tuple[Callable[[Program], None], str, str]] = {
    "entry": (damage_entry, PROBLEM, "store check"),
    "log": (cut_log, PROBLEM, "audit verify"),
    "secret": (open_secret, PROBLEM, "chmod"),
    "config": (break_config, PROBLEM, "client_id"),
    "toml": (unquote, PROBLEM, "a text in quotes"),
    "key": (lose_key, PROBLEM, "away to begin anew"),
    "folder": (open_folder, PROBLEM, "chmod 700"),
    "unfinished": (leave_file, WARNING, "store gc"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(healthy: Program, what: str) -> None:
    """With its state and a hint; a problem is exit code 2."""
    break_it, state, hint = BROKEN[what]
    before = examine(healthy)
    break_it(healthy)
    done = healthy("doctor", "--offline", "--json")
    new = [f for f in findings(done) if f["state"] != "ok" and f not in before]
    assert [f for f in new if f["state"] == state and hint in f"{f['what']} {f['hint']}"], new
    assert done.returncode == (2 if state == PROBLEM else 0)


@pytest.mark.parametrize("what", ["folder", "secret", "unfinished", "entry"])
def test_the_hint_repairs_it(healthy: Program, what: str) -> None:
    """Running what it says leaves nothing new to say."""
    before = examine(healthy)
    BROKEN[what][0](healthy)
    new = [finding for finding in examine(healthy) if finding not in before]
    (found,) = [finding for finding in new if finding["state"] != "ok"]  # the log's size has grown
    words = shlex.split(found["hint"].removeprefix("run '").removesuffix("'"))
    if words[0] == "brokerctl":
        healthy(*words[1:])
    else:
        assert words[0] == "chmod"
        os.chmod(words[2], int(words[1], 8))
    after = [finding for finding in examine(healthy) if finding not in before]
    assert not [finding for finding in after if finding["state"] == PROBLEM]


def test_the_verdict_is_for_people(healthy: Program) -> None:
    """How much wants care is said last, on stderr; --json has the findings alone."""
    open_secret(healthy)
    count = len([finding for finding in examine(healthy) if finding["state"] == WARNING])
    warnings = "1 warning" if count == 1 else f"{count} warnings"
    assert healthy("doctor", "--offline").stderr == f"brokerctl: 1 problem, {warnings}\n"
    assert healthy("doctor", "--offline", "--json").stderr == ""


def test_a_secret_that_is_not_there_is_told_with_its_profile(healthy: Program) -> None:
    """`get` names profile and variable, and the hint is no general help."""
    endpoint = 'token_endpoint = "https://issuer.example/token"\n'
    healthy.config(CONFIG.replace('file = "~/secret"', 'env = "CI_SECRET"') + endpoint)
    done = healthy("get", "ci")
    assert done.returncode == 2
    assert "error: 'ci': the variable CI_SECRET, which holds a secret, is not set" in done.stderr
    assert "hint: set CI_SECRET, or keep" in done.stderr


def test_variables_that_mean_nothing(healthy: Program) -> None:
    """A misspelt variable of ours is named with the one that was meant."""
    (found,) = [
        finding
        for finding in examine(healthy, BROKERCTL_PROFIL="ci")
        if finding["check"] == "environment"
    ]
    assert "BROKERCTL_PROFIL " in found["what"]
    assert "BROKERCTL_PROFILE" in found["hint"]


def test_a_key_in_the_environment_is_told(brokerctl: Program) -> None:
    """A key that every child inherits is a warning."""
    brokerctl.config("")
    brokerctl.env["BROKERCTL_KEY"] = json.loads(brokerctl("store", "key", "--json").stdout)["key"]
    brokerctl("status")
    assert "BROKERCTL_KEY is set" in str(examine(brokerctl))


def test_an_issuer_that_is_not_there(healthy: Program) -> None:
    """Asked without --offline: named, and a problem; nobody else is kept from being looked at."""
    healthy.config(CONFIG.replace("https://issuer.example", "http://127.0.0.1:9"))
    done = healthy("doctor", "--json")
    (found,) = [finding for finding in findings(done) if finding["check"] == "issuers"]
    assert found["state"] == PROBLEM
    assert found["what"].startswith("http://127.0.0.1:9: ")
    assert done.returncode == 2


MOUNTS = """22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw
41 22 0:35 / /home rw - nfs4 server:/home rw
42 41 0:36 / /home/a\\040b rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/me/state", "nfs4"), ("/home/a b/x", "tmpfs"), ("/homes", "ext4"), ("/", "ext4")],
)
def test_the_kind_of_file_system(tmp_path: Path, path: str, kind: str) -> None:
    """The longest mount point that the path is below decides, blanks in it too."""
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert file_system(path, str(tmp_path / "mountinfo")) == kind


@given(some.text(max_size=200))
def test_any_mount_table_is_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever is in it, the answer is a name or None."""
    path = tmp_path_factory.mktemp("m") / "mountinfo"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    assert isinstance(file_system("/x", str(path)), str | None)
