"""Moving docker's and podman's plain passwords into the store: to where the helper finds them."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import require_tool
from tests.scripts.test_helper_import import read, write
from tests.scripts.test_helper_keep_others import KEEP, NOT_FOUND, PROFILE, docker, store

if TYPE_CHECKING:
    from tests.program import Program, Result

HUB = "https://index.docker.io/v1/"
CONFIG, PODMAN = ".docker/config.json", ".config/containers/auth.json"
SECRETS = ("hunter2", "pw-of-bob", "token-of-hub", "pw-of-carol", "pw-of-dave")
ASKED = '"credHelpers": {"registry.example.com": "brokerctl"}'
KEEP_ALONE = KEEP + PROFILE.replace('"https://index.docker.io", ', "")


def basic(user: str, password: str) -> str:
    """Return an entry as docker writes it."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return f'{{\n\t\t\t"auth": "{auth}"\n\t\t}}'


PLAIN = f"""\
{{
\t"HttpHeaders": {{"X": "é\\u00e9"}},
\t"auths": {{
\t\t"https://index.docker.io/v1/": {{"identitytoken": "token-of-hub"}},
\t\t"localhost:5000": {basic("bob", "pw-of-bob")},
\t\t"old.example.com/v1/": {basic("dave", "pw-of-dave")},
\t\t"ours.example.com": {basic("carol", "pw-of-carol")},
\t\t"registry.example.com": {basic("alice", "hunter2")}
\t}},
\t"credHelpers": {{"registry.example.com": "brokerctl"}}
}}
"""
LEFT = f"""\
{{
\t"HttpHeaders": {{"X": "é\\u00e9"}},
\t"auths": {{
\t\t"old.example.com/v1/": {basic("dave", "pw-of-dave")},
\t\t"ours.example.com": {basic("carol", "pw-of-carol")}
\t}},
\t"credHelpers": {{"docker.io": "brokerctl", "{HUB}": "brokerctl", "localhost:5000": "brokerctl", \
"registry.example.com": "brokerctl"}}
}}
"""


@pytest.fixture
def home(brokerctl: Program) -> Program:
    """Return a program that keeps what docker stores, with a file of docker's."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP_ALONE)
    write(brokerctl, CONFIG, PLAIN)
    return brokerctl


def move(program: Program) -> Result:
    """Move what can be moved, and see that no value is said."""
    done = program("helper", "import", "docker", "--yes")
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    return done


def answer(program: Program, server: str) -> Any:  # noqa: ANN401 - JSON has any type
    """Return what the helper answers for a server, None where it has nothing."""
    done = docker(program, "get", server)
    if done.stdout == NOT_FOUND:
        return None
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def one(server: str, user: str = "alice", password: str = "hunter2") -> str:
    """Return a file with one entry."""
    return f'{{"auths": {{"{server}": {basic(user, password)}}}}}'


def test_what_can_be_kept_is_moved(home: Program) -> None:
    """It is answered for what docker asks, identity tokens too; all else stays as it was."""
    done = move(home)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"docker: 3 kept, and removed from {home.home}/{CONFIG}\n"
    assert "keep and remove: alice at registry.example.com\n" in done.stderr
    assert "leave: old.example.com/v1/: it is not a plain host\n" in done.stderr
    assert "leave: carol at ours.example.com: its host is a profile's\n" in done.stderr
    assert read(home, CONFIG) == LEFT
    assert os.stat(os.path.join(home.home, CONFIG)).st_mode & 0o777 == 0o600
    assert answer(home, "registry.example.com") == {"Username": "alice", "Secret": "hunter2"}
    assert answer(home, "localhost:5000") == {"Username": "bob", "Secret": "pw-of-bob"}
    for name in (HUB, "docker.io"):
        assert answer(home, name) == {"Username": "<token>", "Secret": "token-of-hub"}
    log = home("audit", "log", "--json").stdout
    assert log.count('"credential.kept"') == 3
    assert not [secret for secret in SECRETS if secret in log]
    assert move(home).stdout == "docker: nothing to keep\n"


def test_the_tool_is_told_whom_to_ask(home: Program) -> None:
    """What was moved is asked for where it is now; it is said, and what the tool needs for it."""
    home.env["PATH"] = "/usr/bin:/bin"
    said = move(home).stderr
    assert said.count("name brokerctl as the helper for") == 3
    assert f"  name brokerctl as the helper for {HUB}\n" in said
    assert "  name brokerctl as the helper for localhost:5000\n" in said
    assert "docker-credential-brokerctl is not in PATH" in said
    done = home("helper", "install", "docker", "--yes")
    assert done.returncode == 0, done.stderr
    helpers = json.loads(read(home, CONFIG))["credHelpers"]
    assert helpers.keys() == {
        HUB,
        "docker.io",
        "localhost:5000",
        "registry.example.com",
        "ours.example.com",
    }


def test_the_copy_that_install_made_is_named(home: Program) -> None:
    """It has the same plain passwords, and is not ours to change."""
    assert home("helper", "install", "docker", "--yes").returncode == 0
    copy = f"{home.home}/{CONFIG}.before-brokerctl"
    write(home, f"{CONFIG}.before-brokerctl", PLAIN)
    assert f"  {copy} has some of it too: remove that yourself\n" in move(home).stderr
    assert read(home, f"{CONFIG}.before-brokerctl") == PLAIN
    assert "remove that yourself" not in move(home).stderr


@pytest.mark.parametrize(
    "more", ['"credsStore": "pass"', '"credHelpers": {"registry.example.com": "x"}']
)
def test_what_another_helper_answers_is_left(home: Program, more: str) -> None:
    """The tool does not read it here, so it is not what the tool would get from us either."""
    text = write_one_with(home, more)
    said = move(home)
    assert said.stdout == "docker: nothing to keep\n"
    assert "another helper is asked for its host" in said.stderr
    assert read(home, CONFIG) == text


def write_one_with(program: Program, more: str) -> str:
    """Write docker's file with one entry and something more, and return it."""
    text = one("registry.example.com").replace("{", f"{{{more}, ", 1)
    write(program, CONFIG, text)
    return text


@pytest.mark.parametrize("variable", ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"])
def test_the_variables_of_the_tools(home: Program, variable: str) -> None:
    """The files are where docker and podman look for them."""
    name = {
        "DOCKER_CONFIG": "x/config.json",
        "REGISTRY_AUTH_FILE": "x",
        "XDG_CONFIG_HOME": "x/containers/auth.json",
    }[variable]
    path = write(home, name, one("other.example.com"))
    write(home, CONFIG, "{}")
    home.env[variable] = os.path.join(home.home, "x")
    assert move(home).stdout == f"docker: 1 kept, and removed from {path}\n"
    assert json.loads(read(home, name))["auths"] == {}
    assert answer(home, "other.example.com")["Secret"] == "hunter2"


def test_both_tools_share_a_file(home: Program) -> None:
    """It is changed once, through whatever link, and the link stays one."""
    os.makedirs(os.path.join(home.home, ".config", "containers"))
    link = os.path.join(home.home, PODMAN)
    os.symlink(os.path.join(home.home, CONFIG), link)
    assert move(home).returncode == 0
    assert read(home, CONFIG) == LEFT
    assert os.path.islink(link)


@pytest.mark.parametrize(
    ("user", "password", "is_moved"),
    [("alice", "hunter2", True), ("alice", "pw-of-bob", False), ("bob", "pw-of-bob", False)],
)
def test_the_other_tool_has_another_password(
    home: Program, *, user: str, password: str, is_moved: bool
) -> None:
    """A server has one answer: what stands in docker's file is not lost for podman's."""
    write(home, PODMAN, one("registry.example.com", user, password))
    said = move(home).stderr
    assert ("another password stands before it" in said) != is_moved
    assert (password in base64.b64decode(left_auth(home)).decode()) != is_moved
    assert answer(home, "registry.example.com") == {"Username": "alice", "Secret": "hunter2"}


def left_auth(program: Program) -> str:
    """Return the `auth` that is left in podman's file."""
    auths = json.loads(read(program, PODMAN))["auths"]
    return "".join(entry["auth"] for entry in auths.values())


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_what_is_kept_already_is_not_lost_for_an_entry(home: Program, user: str) -> None:
    """Another password that is kept stays, whoever's it is, and so does the entry."""
    assert store(home, "registry.example.com", user, "newer").returncode == 0
    assert "another password is kept for it" in move(home).stderr
    assert answer(home, "registry.example.com") == {"Username": user, "Secret": "newer"}
    assert basic("alice", "hunter2") in read(home, CONFIG)


def test_a_profile_s_host_on_loopback(home: Program) -> None:
    """It is left whether the profile says https or http, as the helper tries both."""
    for scheme in ("https", "http"):
        home.config(
            KEEP_ALONE.replace("https://ours.", f'{scheme}://localhost:5000", "https://ours.')
        )
        said = home("helper", "import", "docker").stderr
        assert "leave: bob at localhost:5000: its host is a profile's\n" in said


def test_nobody_to_ask(home: Program) -> None:
    """Without a terminal and without --yes it is shown, and nothing is changed."""
    done = home("helper", "import", "docker")
    assert (done.returncode, done.stdout) == (2, "")
    assert "say --yes" in done.stderr
    assert read(home, CONFIG) == PLAIN
    assert "credential" not in home("audit", "log", "--json").stdout


def test_nothing_is_moved_where_nothing_is_kept(home: Program) -> None:
    """What would not be given back is not taken, nor if another tool's would be kept."""
    home.config(KEEP_ALONE.replace("docker", "git"))
    done = move(home)
    assert done.returncode == 2
    assert "write 'keep = [\"docker\"]' below '[helpers]'" in done.stderr
    assert read(home, CONFIG) == PLAIN


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no", "it is not JSON"),
        ('{"auths": {"registry.example.com": {"auth": NaN}}}', "NaN is no value"),
        ('{"auths": 1}', "'auths' is not an object"),
        ('{"auths": {}, "credHelpers": 1}', "'credHelpers' is not an object"),
        (
            one("a.example").replace("{", '{"credHelpers": null, ', 1),
            "'credHelpers' is not an object",
        ),
        ('{"auths": {}, "AUTHS": {}}', "twice"),
    ],
)
def test_a_file_that_is_wrong(home: Program, text: str, said: str) -> None:
    """It is named and left as it is, and so is the other tool's file."""
    path = write(home, PODMAN, text)
    done = move(home)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path}: " in done.stderr
    assert said in done.stderr
    assert read(home, PODMAN) == text
    assert read(home, CONFIG) == PLAIN


def test_a_file_that_is_huge(home: Program) -> None:
    """It is refused by its length, before it is read."""
    os.truncate(os.path.join(home.home, CONFIG), 1 << 40)
    done = move(home)
    assert done.returncode == 2
    assert "file too large" in done.stderr


def test_what_is_no_file(home: Program) -> None:
    """A pipe is not waited for, and a link that leads nowhere is none."""
    os.unlink(os.path.join(home.home, CONFIG))
    os.mkfifo(os.path.join(home.home, CONFIG))
    os.makedirs(os.path.join(home.home, ".config", "containers"))
    os.symlink("nowhere", os.path.join(home.home, PODMAN))
    assert move(home) == (0, "docker: nothing to keep\n", "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("tool", "name"), [("docker", CONFIG), ("git", ".git-credentials")])
def test_another_user_s_file(home: Program, tool: str, name: str) -> None:
    """It would be ours afterwards, and its owner could not read it any more."""
    home.config(KEEP_ALONE.replace('"cargo"', '"git"'))
    path = write(home, name, PLAIN if tool == "docker" else "https://a:b@git.example.com\n")
    os.chown(path, 65534, -1)
    done = home("helper", "import", tool, "--yes")
    assert done.returncode == 2
    assert "belongs to another user" in done.stderr
    assert os.stat(path).st_uid == 65534


@pytest.mark.slow("it waits for the lock")
def test_the_lock_of_install_is_respected(home: Program) -> None:
    """While somebody else changes the folder nothing is cut; what was kept stays."""
    folder = os.open(os.path.join(home.home, ".docker"), os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = move(home)
    os.close(folder)
    assert done.returncode != 0
    assert "somebody else is changing" in done.stderr
    assert read(home, CONFIG) == PLAIN
    assert answer(home, "registry.example.com")["Secret"] == "hunter2"
    assert move(home).returncode == 0
    assert read(home, CONFIG) == LEFT


def test_a_file_that_changes_meanwhile(home: Program) -> None:
    """What a tool wrote after it was read is not written over; what was kept stays."""
    folder = os.open(os.path.join(home.home, ".docker"), os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    running = home.start("helper", "import", "docker", "--yes")
    end = time.monotonic() + 4
    while answer(home, "registry.example.com") is None and time.monotonic() < end:
        time.sleep(0.05)
    changed = PLAIN.replace("old.example.com", "new.example.com")
    write(home, CONFIG, changed)
    os.close(folder)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 2
    assert "has changed meanwhile; what was kept stays kept" in said
    assert read(home, CONFIG) == changed
    assert answer(home, "registry.example.com")["Secret"] == "hunter2"


@pytest.mark.slow("killed at each of its calls in turn")
@pytest.mark.parametrize("call", ["rename", "fsync", "renameat"])
def test_killed_in_between(home: Program, call: str) -> None:
    """At any of these calls: whatever was in the file is in the file or in the store, or both."""
    strace = require_tool("strace")
    assert home("status").returncode == 0
    killed = in_both = 0
    for nth in range(1, 13):
        docker(home, "erase", "registry.example.com")
        text_before = write_one_with(home, ASKED)
        words = [strace, "-f", "-qq", "-o", os.path.join(home.home, "trace")]
        words += ["-e", f"inject={call}:signal=KILL:when={nth}", home.path]
        done = subprocess.run(
            [*words, "helper", "import", "docker", "--yes"],
            env=home.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        text, found = read(home, CONFIG), answer(home, "registry.example.com")
        assert text in {text_before, f'{{{ASKED}, "auths": {{}}}}'}, nth
        if text != text_before:
            assert found["Secret"] == "hunter2", nth
        in_both += text == text_before and found is not None
        if done.returncode not in {-signal.SIGKILL, 128 + signal.SIGKILL}:
            break
        killed += 1
    else:
        pytest.fail("it was killed each time: some calls were not reached")
    assert killed
    assert in_both or call == "renameat", "it was never killed between the one and the other"
    assert home("store", "check").returncode == 0


def test_a_docker_that_had_read_the_file_before(home: Program) -> None:
    """It takes no lock and writes back what was cut out: doctor says so, import moves it again."""
    move(home)
    moved = read(home, CONFIG)
    write(home, CONFIG, PLAIN)
    said = home("doctor", "--offline").stdout
    assert f"docker: {home.home}/{CONFIG} has 3 credentials in plain text again" in said
    assert not [secret for secret in SECRETS if secret in said]
    move(home)
    assert read(home, CONFIG) == moved
    assert "in plain text again" not in home("doctor", "--offline").stdout
