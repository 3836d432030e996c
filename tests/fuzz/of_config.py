"""What people and projects write: configuration files, values on a command line, URLs."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import tempfile
from functools import partial

from brokerctl.config import edit, hosts, new_profile
from brokerctl.config.compile import compile_layers
from brokerctl.config.duration import parse_duration
from brokerctl.config.edit import change_user_file
from brokerctl.config.layers import Layer, Layers, read_trust
from brokerctl.config.new_profile import parse_settings
from brokerctl.config.plan import parse_plan, render_plan
from brokerctl.config.source import parse_layer
from brokerctl.effects.proxies import find_proxy
from brokerctl.errors import UsageError
from tests.fuzz import driving as some
from tests.fuzz.driving import Target, bent, mutated

ENVIRON = {"HOME": "/home/someone"}
USER = b"""# mine
[keys]
keeper = "file" # where
unlock_for = "8h"

[profile.git-lab]
issuer = "https://gitlab.example.com"
flow = 'device'
client_id = "4f1c"
client_secret = { env = "GITLAB_SECRET" }
scopes = ["read_repository", "api"] # two
hosts = ["https://*.example.com/team", "http://127.0.0.1:8080"]
resource = ["https://api.example.com/"]
max_ttl = "1h"
exec = "own"
revoke_at_exit = "none"
send_resource = false
ca_file = "~/ca.pem"
token_endpoint = "https://gitlab.example.com/token"
[profile.git-lab.extra]
access_type = \"\"\"off
line\"\"\"

[profile.job]
issuer = "http://127.0.0.1:9"
flow = "client_credentials"
client_id = "job"
client_key = { command = ["pass", "show", "x"] }

[profile."hub.1"]
preset = "github"
client_id = "Iv1"
owner = "me\\u00e9"
"""
PROJECT = b"""default_profile = "git-lab"
[profile.git-lab]
scopes = ["api"]
max_ttl = "5m"
purpose = "the build"
env = "TOKEN"
"""
WORDS = (
    *(b"[profile.x]\n", b"[[profile]]\n", b"profile = 1\n", b"profile.x.issuer = 'https://a'\n"),
    *(b"[profile]\n", b"[audit]\nrotate = '16MiB'\n", b"[policy]\n", b"[keys]\n", b"x = 1\n"),
    *(b'{ file = "~/x" }', b'{ keyring = "a/b" }', b'{ store = "x" }', b"{}", b"[]", b"''"),
    *(b"inf", b"nan", b"0x1f", b"1979-05-27T07:32:00Z", b"07:32:00", b'"""', b"'''", b"issuer"),
    *(b"client_credentials", b"https://", b"http://[::1]", b"client_secret_basic", b"1h", b"0s"),
)
URLS = some.mapped(
    mutated(
        [
            b"https://user.example.com:8443/a/b;c?d=e#f",
            b"http://127.0.0.1:80/%2e",
            b"https://[2001:db8::1]:443/",
            b"http://localhost",
            b"https://*.example.com/team",
            b"https://xn--bcher-kva.example",
        ],
        (b"..", b"[::1]", b"0x7f.1", b"127.1", b"*.", b"%2f", b"https://", b"xn--", b"65536"),
    ),
    some.as_text,
)


def layer(label: str, data: bytes) -> Layer:
    """Return one file of the configuration."""
    return Layer(label=label, path=f"/{label}.toml", content=data)


def compile_files(files: tuple[bytes, bytes, bytes]) -> None:
    """Compile three layers; a refusal names the file, the line and the column."""
    system, user, project = files
    given = (layer("system", system), layer("user", user), layer("project", project))
    try:
        plan = compile_layers(Layers(files=given), ENVIRON)
    except UsageError as error:
        path, line, column, _ = error.message.split(":", 3)
        assert path in {"/system.toml", "/user.toml", "/project.toml"}
        assert int(line) > 0
        assert int(column) > 0
    else:
        assert parse_plan(render_plan(plan)) == plan


def edit_text(data: tuple[bytes, str, str]) -> None:
    """Change, add and remove a profile of any file that can be parsed."""
    content, name, value = data
    try:
        source = parse_layer(layer("user", content))
    except UsageError:
        return
    assert source is not None
    values = {"owner": value, "scopes": [value]}
    for change in (
        partial(edit.change_profile, changes=values),
        partial(edit.change_profile, changes={}, removals=("owner",)),
        partial(edit.add_profile, values={"owner": value}),
        edit.remove_profile,
    ):
        with contextlib.suppress(UsageError):
            change(source.text, name).encode()


def set_values(texts: list[str]) -> None:
    """Add a profile as `profile add --set` does."""
    values = {"issuer": "https://a.example", "flow": "code", "client_id": "c"}
    edit.add_profile("", "x", values | parse_settings(texts)).encode()


def use_url(text: str) -> None:
    """Read a text as each kind of URL there is."""
    for read in (hosts.parse_url, hosts.parse_issuer, hosts.parse_endpoint, new_profile.name_of):
        with contextlib.suppress(UsageError):
            read(text)
    try:
        pattern = hosts.parse_pattern(text)
    except UsageError:
        return
    assert hosts.parse_pattern(pattern) == pattern


def proxy_of(environ: dict[str, str]) -> None:
    """Find the way to a host in any environment."""
    find_proxy(hosts.parse_url("https://a.example/"), environ)


HOME = tempfile.mkdtemp(prefix="fuzz-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


def write(name: str, data: bytes) -> str:
    """Write a private file and return its path."""
    path = os.path.join(HOME, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return path


def read_pins(data: bytes) -> None:
    """Read a list of trusted folders, which trusts nobody where it can't be read."""
    os.makedirs(f"{HOME}/v1", 0o700, exist_ok=True)
    write("v1/trust", data)
    found = read_trust({"HOME": HOME, "BROKERCTL_HOME": HOME})
    assert all(isinstance(one, str) for one in found.values())


def change_file(data: tuple[bytes, str]) -> None:
    """Change a user's file as `profile edit` does: done, or refused and left as it was."""
    before, value = data
    path = write("config.toml", before)
    environ = {"HOME": HOME, "BROKERCTL_HOME": HOME, "BROKERCTL_CONFIG": path}
    try:
        change_user_file(
            environ, lambda text: edit.change_profile(text, "git-lab", {"owner": value})
        )
    except UsageError:
        with open(path, "rb") as file:
            assert file.read() == before


PLAN = compile_layers(Layers(files=(layer("user", USER),)), ENVIRON)
KEYS = some.among(["scopes", "extra", "owner", "hosts", "client_secret", "max_ttl", "x", "é"])
SET = mutated([b'["a", "b"]', b'{ a = "b" }', b"env:X", b"1h", b'"a"', b"a b"], WORDS)
SETTINGS = some.mapped(some.tuples(KEYS, some.mapped(SET, some.as_text)), "=".join)
NAMES = some.among(["git-lab", "hub.1", "x"])
VALUES = some.mapped(some.odd_bytes, some.as_text)
USERS = mutated([USER], WORDS)
ANY_LAYER = mutated([USER, PROJECT, b""], WORDS)
NOTHING = some.among([b""])
PROXIES = some.table(
    some.among(["https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy", "NO_PROXY"]),
    some.one_of(some.any_text, URLS, some.among(["*", "a.example:443", ".example", "::1,a"])),
    5,
)
TARGETS: dict[str, Target] = {
    "three layers": Target(some.tuples(ANY_LAYER, ANY_LAYER, ANY_LAYER), compile_files),
    "the user's layer": Target(some.tuples(NOTHING, USERS, NOTHING), compile_files),
    "a project's layer": Target(
        some.tuples(NOTHING, some.among([USER]), mutated([PROJECT], WORDS)), compile_files
    ),
    "edits of a profile": Target(some.tuples(USERS, NAMES, VALUES), edit_text, (RecursionError,)),
    "a change of the file": Target(some.tuples(USERS, VALUES), change_file),
    "values of --set": Target(some.lists(SETTINGS, 3), set_values, (RecursionError,)),
    "URLs": Target(URLS, use_url),
    "durations": Target(
        some.mapped(mutated([b"15m", b"8h"], (b"s", b"d")), some.as_text), parse_duration
    ),
    "references": Target(
        some.one_of(VALUES, some.mapped(some.any_text, "env:".__add__)), new_profile.parse_reference
    ),
    "plans": Target(bent(json.loads(render_plan(PLAN))), parse_plan),
    "the list of trust": Target(
        some.one_of(bent({"v": 1, "trusted": {"/a": "0" * 64}}), some.nested), read_pins
    ),
    "proxies": Target(PROXIES, proxy_of),
}
