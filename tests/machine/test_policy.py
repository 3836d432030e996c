"""Rules against real requesters and real files: the very next request obeys, cached or not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.machine.room import WITHOUT_RIGHTS, answers, refused, require_mounts, write_private
from tests.program import require_tool

if TYPE_CHECKING:
    from tests.machine.room import Machine
    from tests.program import Result

DENIED = 4
GET = ("get", "person")
HOST = "https://git.example.com"
ASK_GIT = "protocol=https\nhost=git.example.com\n\n"
OPEN = '[policy]\ndefault = "profile"\n'
CLOSED = '[policy]\ndefault = "deny"\n'


def rule(effect: str, when: str = "", more: str = "", name: str = "r") -> str:
    """Return one rule as TOML."""
    return f'[[policy.rule]]\nname = "{name}"\neffect = "{effect}"\nwhen = {{ {when} }}\n{more}\n'


class Rules:
    """A machine whose `person` has a host, and whose git may keep its own credentials."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        with open(machine.config) as file:
            text = file.read()
        head, tail = text.split("\n[profile.service]")
        self.plain = f'{head}hosts = ["{HOST}"]\n\n[profile.service]{tail}'
        self.plain += '\n[helpers]\nkeep = ["git"]\n'
        self.write("")
        self.token = answers(machine("get", "person"))

    def write(self, text: str) -> None:
        """Write the user's configuration with this policy."""
        write_private(self.machine.config, self.plain + text)

    def git(self, stdin: str = ASK_GIT, action: str = "get") -> Result:
        """Ask as git does."""
        return self.machine("helper", "git", action, stdin=stdin)

    def ways(self) -> list[tuple[str, Result]]:
        """Ask on every way out of a token that is in the store."""
        session = ("exec", "-p", "person", "--", "printenv", "PERSON_TOKEN")
        return [
            ("get", self.machine("get", "person")),
            ("get --json", self.machine("get", "person", "--json")),
            ("exec", self.machine(*session)),
            ("git", self.git()),
        ]

    def last(self) -> dict[str, Any]:
        """Return the decision of the newest record."""
        found: dict[str, Any] = self.machine.records()[-1]["decision"]
        return found


@pytest.fixture
def rules(machine: Machine) -> Rules:
    """Return the room; a token is in the store."""
    return Rules(machine)


def all_obey(rules: Rules, *, is_given: bool, code: int = DENIED) -> None:
    """Every way out hands out the cached token, or nothing."""
    for way, done in rules.ways():
        assert (rules.token in done.stdout) is is_given, (way, done)
        if not is_given and way != "git":
            refused(done, code) if "json" not in way else None
            assert done.returncode == code, (way, done)
        if not is_given and way == "git":
            # Of a broken file nothing is known, not even whose host it is.
            assert (done.returncode, done.stdout) == (0, "quit=1\n" if code == DENIED else ""), done


def test_an_edit_counts_at_once(rules: Rules) -> None:
    """Also under an old time stamp and of the same size, and also when a file is swapped for it."""
    all_obey(rules, is_given=True)
    rules.write(OPEN + rule("deny", 'profile = "person"'))
    found = os.stat(rules.machine.config)
    all_obey(rules, is_given=False)
    assert rules.last()["rule"] == "r"
    rules.write(OPEN + rule("deny", 'profile = "nobody"'))
    os.utime(rules.machine.config, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert os.stat(rules.machine.config).st_size == found.st_size
    all_obey(rules, is_given=True)
    beside = f"{rules.machine.config}.new"
    write_private(beside, rules.plain + CLOSED + rule("allow", 'profile = "service"'))
    os.rename(beside, rules.machine.config)
    all_obey(rules, is_given=False)
    rules.write(OPEN + rule("allow", 'profile = "person"'))
    all_obey(rules, is_given=True)


@pytest.mark.parametrize(
    "text",
    [
        rule("allow"),  # no default
        OPEN + rule("permit"),
        OPEN + rule("deny", 'tol = "git"'),
        OPEN + rule("deny", more='scopes = ["read"]'),
        OPEN + rule("allow") + rule("allow"),
    ],
)
def test_a_broken_policy_hands_out_nothing(rules: Rules, text: str) -> None:
    """Each way ends 2 with the place of the fault; other commands say the same."""
    rules.write(text)
    all_obey(rules, is_given=False, code=2)
    done = rules.machine("get", "person")
    assert f"{rules.machine.config}:" in done.stderr
    refused(rules.machine("status"), 2)
    rules.write(OPEN + rule("allow"))
    all_obey(rules, is_given=True)


def test_an_unreadable_file_hands_out_nothing(rules: Rules) -> None:
    """A policy that can't be read is not no policy."""
    rules.write(OPEN + rule("allow"))
    os.chmod(rules.machine.config, 0)
    for words in (["get", "person"], ["exec", "-p", "person", "--", "true"]):
        refused(rules.machine.under(WITHOUT_RIGHTS, *words), 2)
    os.chmod(rules.machine.config, 0o600)
    all_obey(rules, is_given=True)


SYSTEM = """
set -e
mount -t tmpfs etc /etc/brokerctl
cat "$POLICY" >/etc/brokerctl/config.toml
exec "$@"
"""


def test_the_system_s_policy_stands_above(rules: Rules, tmp_path: Any) -> None:  # noqa: ANN401 - a path
    """In a mount namespace: what the machine denies no user's rule allows, and it narrows them."""
    os.makedirs("/etc/brokerctl", exist_ok=True) if os.geteuid() == 0 else None
    policy = tmp_path / "policy.toml"
    env = {"POLICY": str(policy)}
    inside = ["unshare", "-m", "sh", "-c", SYSTEM, "sh"]
    policy.write_text("")
    require_mounts(rules.machine, ["env", f"POLICY={policy}", *inside, "true"])
    rules.write(CLOSED + rule("allow", name="all"))
    policy.write_text(CLOSED + rule("allow", 'profile = "service"'))
    refused(rules.machine.under(inside, "get", "person", env=env), 4)
    assert rules.last()["layer"] == "system"
    policy.write_text(OPEN + rule("allow", more='max_ttl = "1m"', name="short"))
    done = rules.machine.under(inside, "get", "person", "--json", env=env)
    assert json.loads(done.stdout)["expires_in"] <= 60, done
    assert (rules.last()["rule"], rules.last()["layer"]) == ("short", "system")
    policy.write_text(OPEN + rule("never"))
    refused(rules.machine.under(inside, "get", "person", env=env), 2)


def test_a_project_narrows_while_it_is_trusted(rules: Rules, tmp_path: Any) -> None:  # noqa: ANN401 - a path
    """Its rules count as they were trusted; changed, they do not, and those of the user go on."""
    project = tmp_path / ".brokerctl.toml"
    project.write_text(OPEN + rule("deny", 'tool = "get"'))
    project.chmod(0o600)

    def get() -> Result:
        return rules.machine("get", "person", cwd=str(tmp_path))

    answers(get(), rules.token)
    assert rules.machine("trust", str(tmp_path), "--yes").returncode == 0
    refused(get(), 4)
    assert rules.last()["layer"] == "project"
    project.write_text(OPEN + rule("allow", 'tool = "get"'))
    answers(get(), rules.token)
    rules.write(CLOSED + rule("allow", 'tool = "git"'))
    assert rules.machine("trust", str(tmp_path), "--yes").returncode == 0
    refused(get(), 4)
    assert rules.last()["layer"] == "user"


def test_what_a_tool_had_us_keep_is_decided_too(rules: Rules) -> None:
    """A rule about git's host decides about git's own password for it."""
    other = "protocol=https\nhost=other.example.com\n"
    rules.git(f"{other}username=u\npassword=correct-horse\n\n", "store")
    assert "password=correct-horse" in rules.git(f"{other}\n").stdout
    rules.write(OPEN + rule("deny", 'host = "other.example.com"'))
    assert "correct-horse" not in rules.git(f"{other}\n").stdout
    assert rules.last()["rule"] == "r"
    rules.write(CLOSED + rule("allow", 'host = "git.example.com"'))
    assert "correct-horse" not in rules.git(f"{other}\n").stdout
    rules.write(CLOSED + rule("allow", 'tool = "git", host = "other.example.com:*"'))
    assert "correct-horse" not in rules.git(f"{other}\n").stdout  # a port that is not there
    rules.write(CLOSED + rule("allow", 'tool = "git", host = "other.example.com"'))
    assert "password=correct-horse" in rules.git(f"{other}\n").stdout


def test_a_login_is_a_request_too(rules: Rules) -> None:
    """What no rule allows can't be logged in to either."""
    rules.write(CLOSED + rule("allow", 'tool = "get"'))
    refused(rules.machine("login", "service"), 4)
    assert rules.machine.records()[-1]["event"] == "login.refused"
    rules.write(CLOSED + rule("allow", 'tool = ["get", "login"]'))
    assert rules.machine("login", "service").returncode == 0


def test_narrowing(rules: Rules) -> None:
    """In silence where nothing is named; what is named and not allowed never reaches the issuer."""
    rules.write(OPEN + rule("allow", more='scopes = ["openid", "offline_access"]'))
    found = json.loads(rules.machine("get", "person", "--json").stdout)
    assert "read" not in found["scopes"], found
    before = rules.machine.issuer.counts()
    done = rules.machine("get", "person", "--scope", "read")
    refused(done, 4)
    assert "scope read is not among those of rule 'r'" in done.stderr
    assert rules.machine.issuer.counts() == before


def test_requesters(rules: Rules, tmp_path: Any) -> None:  # noqa: ANN401 - a path
    """Each as its rule says: by tool, executable, parent, digest, terminal and purpose."""
    shell = shutil.copy(shutil.which("sh") or "/bin/sh", tmp_path / "ours")
    with open(shell, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()

    def asked_by(program: str, *words: str) -> Result:
        return rules.machine.under([program, "-c", '"$@"; exit $?', "sh"], *(words or GET))

    cases = [
        ('tool = "get"', True),
        ('tool = "git"', False),
        (f'exe = "{tmp_path}/*"', True),
        ('exe = "/usr/bin/*"', False),
        (f'exe_sha256 = "{digest}"', True),
        (f'exe_sha256 = "{"0" * 64}"', False),
        ("tty = false", True),
        ("tty = true", False),
        ("purpose = true", False),
        ("session = false", True),
        (f"uid = {os.geteuid()}", True),
        (f"uid = {os.geteuid() + 1}", False),
        (f'parent = "{os.path.realpath(sys.executable)}"', True),
        ('login_age = "1d"', True),
        ('repository = "acme/*"', False),
        ("fork = false", False),
    ]
    for when, is_given in cases:
        rules.write(CLOSED + rule("allow", when))
        done = asked_by(str(shell))
        assert (rules.token in done.stdout) is is_given, (when, done)
    rules.write(CLOSED + rule("allow", f'exe_sha256 = "{digest}"'))
    answers(asked_by(str(shell)), rules.token)
    swapped = tmp_path / "swapped"
    shutil.copy(shutil.which("bash") or "/bin/bash", swapped)
    os.rename(swapped, shell)  # the same path, another program
    refused(asked_by(str(shell)), 4)


def test_another_user_gets_nothing(rules: Rules) -> None:
    """Whatever a rule says: the store is its owner's, and so is each request."""
    require_tool("setpriv")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    rules.write(OPEN + rule("allow", "uid = 65534"))
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = rules.machine.under(
        [*words, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"], *GET
    )
    assert done.returncode != 0
    assert rules.token not in done.stdout
