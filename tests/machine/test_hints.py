"""A hint leads on: whoever follows the hints arrives at a mend, and never where he came from."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.machine.room import WITHOUT_RIGHTS, answers, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.room import Machine
    from tests.program import Result

COMMAND = re.compile(r"'brokerctl ((?:[^'\\]|\\.)+)'")
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|…")
A_PERSON_S = ("login", "profile add", "profile edit", "--help")  # an end: somebody has to act


class Fault(NamedTuple):
    """What is wrong with a machine, and the commands that meet it."""

    make: Callable[[Machine], dict[str, str | None] | None]  # returns variables, where it needs any
    commands: tuple[str, ...]
    codes: tuple[int, ...]


def configure(*changes: tuple[str, str]) -> Callable[[Machine], None]:
    """Replace text in the configuration."""

    def make(machine: Machine) -> None:
        with open(machine.config) as file:
            text = file.read()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        write_private(machine.config, text)

    return make


def broken(*place: str, data: bytes = b"\0\xff damaged") -> Callable[[Machine], None]:
    """Overwrite a file of the store."""

    def make(machine: Machine) -> None:
        path = machine.path(*place) if place[0] in {"keys", "audit"} else machine.entry(*place)
        with open(path, "wb") as file:
            file.write(data)

    return make


def removed(*place: str) -> Callable[[Machine], None]:
    """Remove a file or folder of the store."""
    return lambda machine: (shutil.rmtree if len(place) == 1 else os.remove)(machine.path(*place))


def mode(find: Callable[[Machine], str], bits: int) -> Callable[[Machine], None]:
    """Change a mode."""
    return lambda machine: os.chmod(find(machine), bits)


def key_file(machine: Machine) -> str:
    """Return the path of the wrapping key's file."""
    names = os.listdir(machine.path("keys"))
    return machine.path("keys", next(name for name in names if name.startswith("key-")))


def with_passphrase(machine: Machine) -> dict[str, str | None]:
    """Begin anew below a passphrase that nobody says any more."""
    env: dict[str, str | None] = {"BROKERCTL_HOME": f"{machine.home}/other"}
    env["BROKERCTL_KEEPER"] = "passphrase"
    told = env | {"BROKERCTL_PASSPHRASE": "correct horse battery"}
    assert machine("status", env=told).returncode == 0
    assert machine("lock", env=env).returncode == 0
    return env


def without_a_bus(machine: Machine) -> dict[str, str | None]:
    """Ask for the OS keyring where no D-Bus answers."""
    return {"BROKERCTL_HOME": f"{machine.home}/other", "BROKERCTL_KEEPER": "keyring"}


def down(machine: Machine) -> None:
    """Let the issuer answer nothing but 503."""
    machine.issuer.mode(token="503", metadata="503")


def ended(machine: Machine) -> None:
    """End the grant at the issuer."""
    machine.issuer.change(end_all=True)


def dead(machine: Machine) -> None:
    """Let us know that the grant has ended."""
    answers(machine("get", "person"))
    assert machine("revoke", "person").returncode in {0, 9}


ALL = ("get person --fresh", "status", "doctor", "exec -p person -- true", "revoke person")
FAULTS = {
    "no configuration": Fault(
        lambda m: os.remove(m.config), ("get person", "status", "doctor"), (2,)
    ),
    "an empty one": Fault(lambda m: write_private(m.config, ""), ("get person", "doctor"), (2,)),
    "a typo": Fault(configure(("flow =", "flwo =")), ("get person", "status", "doctor"), (2,)),
    "no TOML": Fault(lambda m: write_private(m.config, "["), ("get person", "status"), (2,)),
    "a literal secret": Fault(
        configure(("client_secret = { file", 'client_secret = "x"\nextra = { file')),
        ("get service", "doctor"),
        (2,),
    ),
    "a missing secret": Fault(
        lambda m: os.remove(m.secret),
        ("get service --fresh", "doctor", "profile show service"),
        (2,),
    ),
    "a stored secret that is not": Fault(
        configure(("{ file =", '{ store = "x" }\n# {')), ("get service --fresh", "doctor"), (2,)
    ),
    "a wrong secret": Fault(
        lambda m: write_private(m.secret, "wrong"), ("get service --fresh", "doctor"), (5,)
    ),
    "an unknown profile": Fault(lambda _: None, ("get nobody", "exec -p nobody -- true"), (2,)),
    "a scope too many": Fault(lambda _: None, ("get person --scope admin",), (4,)),
    "no grant": Fault(
        lambda m: shutil.rmtree(m.path("grants")), ("get person --fresh", "doctor"), (3,)
    ),
    "a grant that has ended": Fault(dead, ALL[:4], (3,)),
    "an issuer that is down": Fault(down, ("get person --fresh", "get service", "doctor"), (5,)),
    "nobody there": Fault(
        configure(('issuer = "http', 'issuer = "http://127.0.0.1:9"\n# "')),
        ("get service", "doctor", "get person"),
        (3, 5),
    ),
    "a damaged grant": Fault(broken("grants"), ALL, (3, 6)),
    "no key": Fault(lambda m: os.remove(key_file(m)), ALL, (6,)),
    "a damaged key": Fault(lambda m: write_private(key_file(m), "x"), ALL, (6,)),
    "no ring": Fault(removed("keys", "ring"), ALL, (6,)),
    "a damaged ring": Fault(broken("keys", "ring"), ALL, (6,)),
    "a damaged pin": Fault(broken("keys", "keeper.json"), ALL, (6,)),
    "a newer pin": Fault(broken("keys", "keeper.json", data=b'{"v":9}'), ALL, (6,)),
    "an edited log": Fault(broken("audit", "log", data=b'{"v":1}\n'), ("audit verify", *ALL), (7,)),
    "no log that can be read": Fault(
        broken("audit", "log", data=b"x" * 4096), ("audit verify", *ALL), (7,)
    ),
    "a passphrase": Fault(with_passphrase, ("get person", "unlock", "status", "doctor"), (6,)),
    "no bus": Fault(without_a_bus, ("get person", "unlock", "status", "doctor"), (6,)),
    "another keeper": Fault(
        lambda _: {"BROKERCTL_KEEPER": "env"}, ("get person", "unlock", "status", "doctor"), (2, 6)
    ),
    "an open configuration": Fault(mode(lambda m: m.config, 0o666), ("get person", "doctor"), (2,)),
    "an open store": Fault(mode(lambda m: m.path(), 0o755), ("get person", "doctor"), (6,)),
    "an open log": Fault(
        mode(lambda m: m.path("audit", "log"), 0o644),
        ("get person", "audit verify", "doctor"),
        (7,),
    ),
    "a read-only store": Fault(mode(lambda m: m.path("intents"), 0o500), ALL, (6,)),
    "no HOME": Fault(
        lambda _: {"HOME": None, "BROKERCTL_HOME": None}, ("get person", "status", "doctor"), (2,)
    ),
    "a helper without hosts": Fault(
        lambda _: None, ("helper install git --yes", "helper install pnpm --yes"), (2,)
    ),
    "no subcommand": Fault(lambda _: None, ("profile", "audit", "nonsense", "get", "exec"), (2,)),
    "CI": Fault(lambda _: {"CI": "true"}, ("login person", "profile add github"), (2, 3)),
}


def hinted(done: Result) -> list[str]:
    """Return the commands of ours that a run names, for somebody who has only to copy them."""
    if done.returncode == 0:
        return []
    found = COMMAND.findall(done.stderr + done.stdout)
    return [command for command in found if not PLACEHOLDER.search(command)]


@pytest.mark.parametrize("name", FAULTS)
def test_no_hint_leads_back(machine: Machine, name: str) -> None:
    """Each command that a hint names is run, and so on: none names one that has failed before."""
    fault = FAULTS[name]
    env = fault.make(machine) or {}
    seen: dict[str, Result] = {}

    def follow(command: str, way: tuple[str, ...]) -> None:
        assert command not in way, f"{' → '.join((*way, command))}: {seen[command].stderr}"
        if command not in seen:
            seen[command] = machine.under(WITHOUT_RIGHTS, *shlex.split(command), env=env)
        for following in hinted(seen[command]):
            if not any(word in following for word in A_PERSON_S):
                follow(following, (*way, command))

    for command in fault.commands:
        follow(command, ())
    codes = {seen[command].returncode for command in fault.commands}
    assert codes & {*fault.codes}, {command: seen[command] for command in fault.commands}
