"""The `profile` and `trust` commands as a person and a script use them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.program import PROGRAM

if TYPE_CHECKING:
    from tests.program import Program

ADD_CI = (
    *("profile", "add", "ci", "--issuer", "https://login.example.com", "--client-id", "ci"),
    *("--flow", "client_credentials", "--client-secret", "store:ci", "--set", "max_ttl=15m"),
)


def written(program: Program) -> str:
    """Return the configuration as it is."""
    with open(f"{program.home}/config.toml") as file:
        return file.read()


def test_add_show_edit_remove(brokerctl: Program) -> None:
    """A profile's life without a terminal: every answer is an option, nothing asks for keys."""
    assert brokerctl(*ADD_CI).returncode == 0
    listed = brokerctl("profile", "list", "--json")
    assert json.loads(listed.stdout)["profiles"][0]["name"] == "ci"
    shown = json.loads(brokerctl("profile", "show", "ci", "--json").stdout)["values"]
    assert shown["max_ttl"]["value"] == "15m"
    assert shown["max_ttl"]["origin"] == "user"
    assert shown["max_ttl"]["place"].endswith("config.toml:6")
    assert shown["timeout"] == {"value": "20s", "origin": "default", "place": None}
    assert brokerctl("profile", "edit", "ci", "--set", "max_ttl=1h").returncode == 0
    assert 'max_ttl = "1h"' in written(brokerctl)
    assert brokerctl("profile", "remove", "ci").returncode == 0
    assert written(brokerctl) == ""
    assert not os.path.exists(f"{brokerctl.home}/state")


def test_a_list_stands_in_columns(brokerctl: Program) -> None:
    """Names and flows of any length: the issuers begin below each other."""
    brokerctl(*ADD_CI)
    brokerctl(
        "profile", "add", "a-longer-name", "--issuer", "https://a.example", "--client-id", "x"
    )
    assert brokerctl("profile", "list").stdout.splitlines() == [
        "a-longer-name  code                https://a.example  (user)",
        "ci             client_credentials  https://login.example.com  (user)",
    ]
    assert brokerctl("profile", "remove", "ci").returncode == 0
    brokerctl("profile", "remove", "a-longer-name")
    assert brokerctl("profile", "list").stdout == ""


def test_a_preset_s_values_are_shown_as_such(brokerctl: Program) -> None:
    """What a preset filled in is told from what the user wrote."""
    assert brokerctl("profile", "add", "github", "--client-id", "Iv1").returncode == 0
    shown = brokerctl("profile", "show", "github").stdout
    assert 'flow = "device"  # preset github\n' in shown
    assert 'client_id = "Iv1"  # user (' in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "github"), "profile 'github' needs client_id, and there is no terminal"),
        (("add", "Bad Name", "--client-id", "x"), "'Bad Name' can't be a name"),
        (
            ("add", "x", "--issuer", "http://a.com", "--client-id", "x"),
            "issuer: http://a.com: plain",
        ),
        (("edit", "ci", "--set", "max_tl=5m"), "unknown key 'max_tl'"),
        (("edit", "ci", "--unset", "client_id"), "profile 'ci': client_id is missing"),
        (("edit", "ci", "--set", "client_secret=hunter2"), "--client-secret takes a reference"),
        (("edit", "ci", "--set", "extra={ a = 1.5 }"), "'1.5' is of a kind that no key takes"),
        (("edit", "ci", "--set", "extra={ a = 2026-01-05 }"), "'2026-01-05' is of a kind"),
        (("edit", "ci", "--set", "owner=me\udcff"), "'me\\udcff' is not text in UTF-8"),
        (
            ("add", "x", "--issuer", "https://a.com", "--client-id", "\udcff"),
            "'\\udcff' is not text",
        ),
        (("edit", "ci"), "nothing to change"),
        (("show", "none"), "no profile 'none' (ci)"),
        (("remove", "none"), "no profile 'none' in this file"),
        (("secret", "x"), "there is no terminal to ask on"),
    ],
)
def test_a_mistake_is_exit_2_and_changes_nothing(
    brokerctl: Program, words: tuple[str, ...], message: str
) -> None:
    """The error names the thing, the file stays as it was, and no secret is repeated."""
    brokerctl.env["CI"] = "true"  # a developer's terminal is not to be asked
    brokerctl(*ADD_CI)
    before = written(brokerctl)
    done = brokerctl("profile", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "hunter2" not in done.stderr
    assert written(brokerctl) == before


def test_a_secret_is_sealed(brokerctl: Program) -> None:
    """`profile secret` puts it into the store and nowhere in sight."""
    done = brokerctl("profile", "secret", "ci", "--stdin", stdin="hunter2-long-secret\n")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout + done.stderr
    for folder, _, names in os.walk(brokerctl.home):
        for name in names:
            with open(f"{folder}/{name}", "rb") as file:
                assert b"hunter2" not in file.read()
    assert brokerctl("profile", "secret", "ci", "--remove").returncode == 0
    assert brokerctl("profile", "secret", "ci", "--remove").returncode == 2


def spawned(program: Program, *words: str) -> pexpect.spawn[str]:
    """Run a command on a terminal of its own."""
    return pexpect.spawn(
        PROGRAM,
        list(words),
        env=program.environment(),
        encoding="utf-8",
        timeout=20,
        echo=False,
    )


def test_a_hostile_folder_runs_nothing(brokerctl: Program) -> None:
    """Modules, hooks and configuration that lie in the working folder are never used."""
    brokerctl(*ADD_CI)
    folder = f"{brokerctl.home}/cloned"
    canary = f"{brokerctl.home}/canary"
    os.mkdir(folder)
    script = f"open({canary!r}, 'w').close()\n"
    for name in (
        "tomllib.py",
        "keyring.py",
        "sitecustomize.py",
        "brokerctl.py",
        "json.py",
        "typer.py",
    ):
        with open(f"{folder}/{name}", "w") as file:
            file.write(script)
    for name in (".brokerctl.toml", "config.toml", ".env", "brokerctl.toml"):
        with open(f"{folder}/{name}", "w") as file:
            file.write(
                '[profile.ci]\nissuer = "https://evil.example"\n'
                f'client_secret = {{ command = ["touch", "{canary}"] }}\n'
            )
    hostile = {"PYTHONPATH": folder, "PYTHONSTARTUP": f"{folder}/json.py"}
    for words in (("profile", "list"), ("profile", "show", "ci"), ("get", "none"), ("status",)):
        done = brokerctl(*words, env=hostile, cwd=folder)
        assert "evil" not in done.stdout + done.stderr
    assert not os.path.exists(canary)


def test_a_project_file_counts_once_it_is_trusted(brokerctl: Program) -> None:
    """`trust` lets it narrow, an edit ends that, `--remove` too."""
    brokerctl(*ADD_CI)
    folder = f"{brokerctl.home}/project"
    os.mkdir(folder)
    with open(f"{folder}/.brokerctl.toml", "w") as file:
        file.write('[profile.ci]\nmax_ttl = "5m"\n')

    def max_ttl() -> str:
        shown = json.loads(brokerctl("profile", "show", "ci", "--json", cwd=folder).stdout)
        return str(shown["values"]["max_ttl"]["value"])

    assert max_ttl() == "15m"
    assert brokerctl("trust", cwd=folder).returncode == 0
    assert max_ttl() == "5m"
    listed = brokerctl("trust", "--list", "--json")
    assert json.loads(listed.stdout)["trusted"] == [{"folder": folder, "state": "trusted"}]
    with open(f"{folder}/.brokerctl.toml", "a") as file:
        file.write("# edited\n")
    assert max_ttl() == "15m"
    assert brokerctl("trust", folder).returncode == 0
    assert brokerctl("trust", folder, "--remove").returncode == 0
    assert max_ttl() == "15m"


def test_trust_shows_what_it_pins_and_asks(brokerctl: Program) -> None:
    """On a terminal the file is shown, its escapes as text, and only a yes lets it count."""
    brokerctl(*ADD_CI)
    with open(f"{brokerctl.home}/.brokerctl.toml", "w") as file:
        file.write('[profile.ci]\nmax_ttl = "5m" # \u202e\n')
    for answer, code in (("n", 2), ("y", 0)):
        terminal = spawned(brokerctl, "trust", brokerctl.home)
        terminal.expect_exact('max_ttl = "5m" # \\u202e')
        terminal.expect_exact("(y/N)")
        listed = json.loads(brokerctl("trust", "--list", "--json").stdout)
        assert listed["trusted"] == []
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == code
    assert len(json.loads(brokerctl("trust", "--list", "--json").stdout)["trusted"]) == 1


def test_a_terminal_is_asked_and_hides_secrets(brokerctl: Program) -> None:
    """`profile add github` says where to register and asks; a secret is typed unseen."""
    child = spawned(brokerctl, "profile", "add", "github")
    child.expect("GitHub needs an app of yours, once")
    child.expect("Enable Device Flow")
    child.expect("client id: ")
    child.sendline("Iv1.typed")
    child.expect("stored profile 'github'")
    child.expect(pexpect.EOF)
    assert 'client_id = "Iv1.typed"' in written(brokerctl)
    child = spawned(brokerctl, "profile", "secret", "mine")
    child.expect("not shown")
    child.sendline("hunter2-long-secret")
    child.expect("stored; use it as")
    child.expect(pexpect.EOF)
    assert "hunter2" not in str(child.before)


def test_an_ended_terminal_changes_nothing(brokerctl: Program) -> None:
    """Ctrl-D at the question is exit 2 and no profile."""
    child = spawned(brokerctl, "profile", "add", "github")
    child.expect("client id: ")
    child.sendeof()
    child.expect("stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2
    assert not os.path.exists(f"{brokerctl.home}/config.toml")


MATCHED = """
[profile.forge]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://git.example.com"]

[profile.open]
issuer = "https://issuer.example"
client_id = "app2"
flow = "code"
hosts = ["https://git.example.com/open", "https://*.example.com"]

[profile.twin]
issuer = "https://issuer.example"
client_id = "app3"
flow = "code"
hosts = ["https://git.example.com/open", "http://localhost:8080"]
"""


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("https://git.example.com/x", 0, "forge: https://git.example.com: covers it\n"),
        ("https://a.example.com", 0, "open: https://*.example.com: covers it\n"),
        ("https://git.example.com/x", 0, "open: https://*.example.com: covers it, and an exact"),
        ("https://git.example.com/x", 0, "open: https://git.example.com/open: another path\n"),
        ("https://git.example.com/open/x", 2, "'open' and 'twin'"),
        ("https://git.example.com:8443", 2, "forge: https://git.example.com: it is for port 443\n"),
        ("https://a.b.example.com", 2, "open: https://*.example.com: * is for exactly one label\n"),
        ("https://git.example.com.evil.example", 2, "no profile for"),
        ("https://example.com", 2, "forge: https://git.example.com: another host\n"),
        ("https://localhost:8080", 2, "twin: http://localhost:8080: it is for http\n"),
        ("https://user@git.example.com", 2, "a user name in a URL is not allowed"),
    ],
)
def test_whose_a_url_is(brokerctl: Program, url: str, code: int, said: str) -> None:
    """`profile show --for` says why and what came near; it and `get --for` answer the same way."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(MATCHED)
    shown = brokerctl("profile", "show", "--for", url)
    assert shown.returncode == code
    assert said in shown.stdout + shown.stderr
    got = brokerctl("get", "--for", url)
    assert got.stdout == ""
    if code == 0:
        assert f"no grant for '{shown.stdout.partition(':')[0]}'" in got.stderr
    else:
        assert got.returncode == code
        assert got.stderr.splitlines()[0] in shown.stderr.splitlines()


def test_whose_a_url_is_as_json(brokerctl: Program) -> None:
    """Nobody's is null, with what came near."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(MATCHED)
    answer = json.loads(brokerctl("profile", "show", "--for", "https://x.y", "--json").stdout)
    assert answer == {"schema": 1, "url": "https://x.y", "profile": None, "hosts": []}
    answer = json.loads(
        brokerctl("profile", "show", "--for", "https://git.example.com", "--json").stdout
    )
    assert answer["profile"] == "forge"
    assert answer["hosts"][0] == {
        "name": "forge",
        "host": "https://git.example.com",
        "why": "covers it",
    }


@pytest.mark.parametrize("words", [(), ("forge", "--for", "https://git.example.com")])
def test_a_profile_or_a_url(brokerctl: Program, words: tuple[str, ...]) -> None:
    """One of them, and never both."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(MATCHED)
    done = brokerctl("profile", "show", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "name a profile, or a URL" in done.stderr
