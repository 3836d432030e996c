"""What stands in the way around a command: files, keys, the log, entries, the issuer, tools."""

# ruff: noqa: PERF401 - a list of cases is read one by one
from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

from tests.scripts.golden_room import Case
from tests.scripts.golden_usage import BASE, DOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.idp.issuer import DemoIssuer

    Change = Callable[[str], object]

SECRET = """[profile.p]
issuer = "https://issuer.example"
flow = "client_credentials"
client_id = "ci"
token_endpoint = "http://127.0.0.1:9/token"
client_secret = REFERENCE
"""


def write(name: str, data: str | bytes, mode: int = 0o600) -> Change:
    """Return what writes a file below a home, over what is there."""

    def change(home: str) -> None:
        path = os.path.join(home, name)
        data_bytes = data if isinstance(data, bytes) else data.replace("HOME", home).encode()
        with open(path, "wb") as file:
            file.write(data_bytes)
        os.chmod(path, mode)

    return change


def chmod(name: str, mode: int) -> Change:
    """Return what gives files below a home another mode."""

    def change(home: str) -> None:
        for path in found(home, name):
            os.chmod(path, mode)

    return change


def swap(name: str, start: int, data: bytes) -> Change:
    """Return what writes bytes into files below a home, from a place on (from the end if < 0)."""

    def change(home: str) -> None:
        for path in found(home, name):
            with open(path, "r+b") as file:
                file.seek(start, os.SEEK_END if start < 0 else os.SEEK_SET)
                file.write(data)

    return change


def alter(name: str) -> Change:
    """Return what changes the last byte of files below a home, whatever it is."""

    def change(home: str) -> None:
        for path in found(home, name):
            with open(path, "r+b") as file:
                data = file.read()
                file.seek(-1, os.SEEK_END)
                file.write(bytes([data[-1] ^ 1]))

    return change


def remove(name: str) -> Change:
    """Return what removes files below a home."""

    def change(home: str) -> None:
        for path in found(home, name):
            os.unlink(path)

    return change


def folder(name: str) -> Change:
    """Return what puts a folder where a file belongs."""

    def change(home: str) -> None:
        for path in found(home, name):
            os.unlink(path)
        os.mkdir(os.path.join(home, name))

    return change


def link(name: str) -> Change:
    """Return what moves a file and leaves a symbolic link to it."""

    def change(home: str) -> None:
        for path in found(home, name):
            os.rename(path, f"{path}.moved")
            os.symlink(f"{path}.moved", path)

    return change


def found(home: str, name: str) -> list[str]:
    """Return the paths of a pattern below a home, in order."""
    return sorted(glob.glob(os.path.join(home, name), recursive=True))


def references() -> list[Case]:
    """Return a profile for each way in which its secret is not to be had."""
    files: dict[str, Change | None] = {
        "there is no such file": None,
        "others can read it": write("s", "hunter2\n", 0o644),
        "it is empty": write("s", ""),
        "it is not UTF-8": write("s", b"\xff\xfe"),
        "it is a folder": lambda home: os.mkdir(f"{home}/s"),
        "it is huge": write("s", "x" * 70000),
    }
    cases = [
        Case("get p", SECRET.replace("REFERENCE", '{ file = "HOME/s" }'), why=why, prepare=change)
        for why, change in files.items()
    ]
    others = (
        '{ env = "NOT_SET" }',
        '{ store = "nothing" }',
        '{ command = ["false"] }',
        '{ command = ["true"] }',
        '{ command = ["no-such-program-at-all"] }',
        '{ command = ["/no/such/program"] }',
        '{ keyring = "service/name" }',
    )
    cases += [
        Case("get p", SECRET.replace("REFERENCE", one), json=one == others[0]) for one in others
    ]
    aws = """[profile.p]
flow = "aws_web_identity"
aws = { role = "arn:aws:iam::123456789012:role/x", endpoint = "http://127.0.0.1:9" }
exchange = { subject = { file = "HOME/s" } }
"""
    return [*cases, Case("get p", aws), Case("exec -p p -- true", aws)]


def layers() -> list[Case]:
    """Return configuration files and variables that are refused, and what a project can't say."""
    get = "get me"
    cases = [
        Case(get, why="others can write to it", prepare=chmod("config.toml", 0o666), json=True),
        Case(get, why="it is a folder", prepare=folder("config.toml")),
        Case(get, why="it is huge", prepare=write("config.toml", "#" * 1100000)),
        Case(get, why="it is not UTF-8", prepare=write("config.toml", b"x = 1\ny = '\xff'")),
        Case(get, why="it is gone", prepare=remove("config.toml"), json=True),
        Case(get, env={"BROKERCTL_CONFIG": "relative.toml"}),
        Case(get, env={"BROKERCTL_HOME": "relative"}, json=True),
        Case(get, env={"HOME": None, "BROKERCTL_HOME": None}),
        Case(get, env={"HOME": None, "BROKERCTL_CONFIG": None}),
        Case(get, env={"BROKERCTL_PROFILE": "nope"}),
        Case("get", env={"BROKERCTL_PROFILE": "nope"}),
    ]
    project = ".brokerctl.toml"
    for text in (
        '[profile.me]\nissuer = "https://evil.example"\n',
        '[profile.me]\nscopes = ["admin"]\n',
        "[profile.me]\nscopes = []\n",
        '[profile.me]\nenv = "EMAIL"\n',
        "[profile.me]\nzzz = 1\n",
        '[profile.me]\nmax_ttl = "x"\n',
        '[profile.nope]\npurpose = "x"\n',
        'default_profile = "nope"\n',
        "default_profile = 5\n",
        '[keys]\nkeeper = "file"\n',
        "[profile.me",
    ):
        why = f"{project} says {' '.join(text.split())}"
        cases.append(Case("trust HOME --yes", why=why, prepare=write(project, text)))
    cases += [
        Case("trust HOME", why="nobody is asked", prepare=write(project, "")),
        Case("trust HOME --yes", why="others write it", prepare=write(project, "", 0o666)),
        Case("trust HOME --yes", why="it is a folder", prepare=folder(project), json=True),
    ]
    return cases


def keys() -> list[Case]:
    """Return a store whose key can't be had, or whose folders are not as they should be."""
    v1, ring, pin = "state/v1", "state/v1/keys/ring", "state/v1/keys/keeper.json"
    states: dict[str, Change] = {
        "the ring is gone": remove(ring),
        "the ring is open to others": chmod(ring, 0o644),
        "the ring is no ring": write(ring, "nonsense"),
        "the ring was altered": swap(ring, -3, b"xyz"),
        "the ring is a link": link(ring),
        "the ring is a folder": folder(ring),
        "the ring has another name too": lambda home: os.link(f"{home}/{ring}", f"{home}/other"),
        "the keeper is no JSON": write(pin, "nonsense"),
        "the keeper is of a later version": write(pin, '{"v":99}'),
        "the keeper is gone": remove(pin),
        "the key is gone": remove("state/v1/keys/key-*"),
        "the key is no key": lambda home: write(
            os.path.relpath(found(home, "state/v1/keys/key-*")[0], home), "x"
        )(home),
        "the key is open to others": chmod("state/v1/keys/key-*", 0o644),
        "the state is open to others": chmod(v1, 0o755),
        "the state can be written to by others": chmod("state", 0o777),
        "the state is a link": link(v1),
    }
    cases = []
    for why, change in states.items():
        cases.append(Case("get ci", why=why, prepare=change, env={"CI_SECRET": "x"}))
        cases.append(Case("status", why=why, prepare=change, json=True))
        cases.append(Case("store check", why=why, prepare=change))
        cases.append(Case("revoke --all", why=why, prepare=change))
    return cases + keepers()


def keepers() -> list[Case]:
    """Return variables that name a keeper or a key that it can't be."""
    variables: tuple[dict[str, str | None], ...] = (
        {"BROKERCTL_KEEPER": "nope"},
        {"BROKERCTL_KEEPER": "passphrase"},
        {"BROKERCTL_KEEPER": "env", "BROKERCTL_KEY": "x"},
    )
    cases = [Case("status", env=env, json=True) for env in variables]
    fresh: dict[str, str | None] = {"BROKERCTL_HOME": "HOME/fresh", "BROKERCTL_KEEPER": "env"}
    cases += [
        Case("status", env={**fresh, **more})
        for more in (
            {},
            {"BROKERCTL_KEY": "x"},
            {"BROKERCTL_KEY": "x", "BROKERCTL_KEY_FILE": "HOME/config.toml"},
            {"BROKERCTL_KEY_FILE": "HOME/none"},
            {"BROKERCTL_KEY_FILE": "HOME/config.toml"},
            {"BROKERCTL_KEY_FILE": "HOME"},
            {"BROKERCTL_KEEPER": "passphrase"},
            {"BROKERCTL_KEEPER": "passphrase", "BROKERCTL_PASSPHRASE": ""},
            {"BROKERCTL_KEEPER": "keyring"},
        )
    ]
    return cases


def logs() -> list[Case]:
    """Return a log that can't be written or is not what was written."""
    log = "state/v1/audit/log"
    denied = "get ci --scope admin"
    states: dict[str, Change] = {
        "the log is open to others": chmod(log, 0o644),
        "the log is a link": link(log),
        "the log is a folder": folder(log),
        "the log is gone": remove(log),
        "the log is not ours": write(log, "nonsense\n"),
        "the log ends in the middle": swap(log, -20, b"x"),
        "the log was edited": swap(log, 30, b"xyz"),
        "the log's lock is open to others": chmod(f"{log}.lock", 0o644),
    }
    cases = [Case(denied, json=True), Case("exec -p ci --scope admin -- true")]
    for why, change in states.items():
        cases.append(Case(denied, why=why, prepare=change, env={"CI_SECRET": "x"}))
        cases.append(Case("audit verify", why=why, prepare=change, json=True))
        cases.append(Case("audit log", why=why, prepare=change))
    return cases


def entries() -> list[Case]:
    """Return a store, with a person's grant and tokens, in which an entry is not what it was."""
    env = {"CI_SECRET": "x"}
    states: dict[str, Change] = {
        "the grants were altered": alter("state/v1/grants/*"),
        "the grants are of a later format": swap("state/v1/grants/*", 0, b"BKR9"),
        "the grants are no entries": swap("state/v1/grants/*", 0, b"nope"),
        "the tokens were altered": alter("state/v1/tokens/*/*"),
        "the tokens are of a later format": swap("state/v1/tokens/*/*", 0, b"BKR9"),
        "the plans were altered": alter("state/v1/plans/*"),
    }
    cases = []
    for why, change in states.items():
        for command in ("get person", "status", "store check", "audit tokens", "store gc"):
            is_json = command != "get person"
            cases.append(Case(command, why=why, prepare=change, json=is_json, env=env))
        for command in ("revoke person", "store check --mend", "store rekey --new-keys"):
            cases.append(Case(command, why=why, prepare=change, env=env))
    return cases


def issuers(demo: DemoIssuer) -> list[Case]:
    """Return what an issuer can answer, and what a command is that a session can't start."""
    env: dict[str, str | None] = {"CI_SECRET": demo.secrets["basic"]}

    def mode(**modes: str) -> Change:
        def change(_: str) -> None:
            demo.reset()
            demo.mode(**modes)

        return change

    cases = []
    for endpoint, words in (("token", "503 500 404 400 401 302 204"), ("metadata", "404 500 204")):
        for word in words.split():
            why = f"the {endpoint} endpoint answers {word}"
            at = mode(**{endpoint: word})
            cases.append(Case("get service", why=why, prepare=at, env=env, json=word == "503"))
    ok = mode()
    cases += [
        Case("get service", env={"CI_SECRET": "wrong"}, why="all is well", prepare=ok),
        Case("get service --scope admin", env=env, why="all is well", prepare=ok, json=True),
        Case("get service --resource https://other.example", env=env, why="all is well"),
        Case("get person --scope admin", env=env, json=True),
        Case("get person --resource https://other.example", env=env),
        Case("get service --audience other", env=env),
        Case("get person --subject bob", env=env, json=True),
        Case("get person --format netrc", env=env),
        Case("get person --min-ttl 9d", env=env, why="all is well", prepare=ok),
        Case(
            "get person --fresh",
            env=env,
            why="the token endpoint answers 400",
            prepare=mode(token="400"),
        ),
        Case(
            "get person --fresh",
            env=env,
            why="the token endpoint answers 503",
            prepare=mode(token="503"),
        ),
        Case(
            "revoke person",
            env=env,
            why="revocation answers 503",
            prepare=mode(revocation="503"),
            json=True,
        ),
    ]
    return cases + commands(env)


def commands(env: dict[str, str | None]) -> list[Case]:
    """Return what a session's command can be that does not start, or ends badly."""
    cases = []
    shared = "exec --keep -p person"
    for words in (
        "/no/such/program",
        "no-such-program-at-all",
        "HOME",
        "HOME/config.toml",
        "HOME/nothing/x",
        "sh -c 'exit 7'",
        "sh -c 'kill -TERM $$'",
        "''",
    ):
        cases.append(Case(f"{shared} -- {words}", env=env))
    cases += [
        Case(f"{shared} --scope admin -- true", env=env),
        Case(f"{shared} --subject bob -- true", env=env),
        Case(f"{shared} -p service --resource https://other.example -- true", env=env),
        Case(f"{shared} --audience other -- true", env=env),
        Case(f"{shared} -p me --env X=me -- true", env=env),
        Case(
            f"{shared} --file X=person -- true",
            env={**env, "XDG_RUNTIME_DIR": None, "TMPDIR": None},
        ),
        Case(f"{shared} --ttl 1s --min-ttl 9d -- true", env=env),
    ]
    return cases


def person_and_service(url: str) -> str:
    """Return the configuration of the issuer's cases, with all others' too."""
    return f"""{BASE.replace(DOWN, "http://127.0.0.1:9")}
[profile.service]
issuer = "{url}"
flow = "client_credentials"
client_id = "basic"
client_secret = {{ env = "CI_SECRET" }}
scopes = ["read"]
resource = ["https://api.example"]

[profile.person]
issuer = "{url}"
flow = "code"
client_id = "cli"
scopes = ["openid", "offline_access", "read"]
resource = ["https://api.example"]
"""
