"""Promises of the configuration that hold for every input."""

from __future__ import annotations

import tomllib
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from brokerctl.config import edit, fields, hosts
from brokerctl.config.compile import compile_layers
from brokerctl.config.duration import parse_duration, render_duration
from brokerctl.config.layers import Layer, Layers
from brokerctl.config.plan import Plan, parse_plan, render_plan
from brokerctl.config.positions import scan
from brokerctl.errors import UsageError
from brokerctl.model import FLOWS, KEEPERS, Profile, Reference

ENVIRON = {"HOME": "/home/someone"}
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
LABELS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
SCOPES = st.lists(st.from_regex(r"[!#-\[\]-~]{1,12}", fullmatch=True), max_size=4)
REFERENCES = st.one_of(
    st.builds(lambda name: {"env": name}, st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True)),
    st.builds(lambda name: {"store": name}, NAMES),
    st.builds(lambda words: {"command": ["pass", *words]}, st.lists(LABELS, max_size=3)),
)
PROFILES = st.fixed_dictionaries(
    {
        "issuer": st.sampled_from(["https://login.example.com/", "http://127.0.0.1:8080"]),
        "flow": st.just("client_credentials"),
        "client_id": LABELS.filter(str.isascii),
        "client_secret": REFERENCES,
    },
    optional={
        "scopes": SCOPES,
        "owner": LABELS,
        "purpose": LABELS,
        "max_ttl": st.integers(1, 99999).map(lambda number: f"{number}m"),
        "hosts": st.just(["https://api.example.com/team"]),
        "extra": st.dictionaries(st.sampled_from(["audience", "x"]), st.text(max_size=9)),
        "send_resource": st.booleans(),
    },
)


def compiled(data: bytes) -> Plan:
    """Compile one user file."""
    return compile_layers(
        Layers(files=(Layer(label="user", path="/c.toml", content=data),)), ENVIRON
    )


@given(st.integers(0, 10**9 - 1), st.sampled_from("smhd"))
def test_durations_round_trip(count: int, unit: str) -> None:
    """A duration's seconds, rendered, are read as the same seconds."""
    seconds = parse_duration(f"{count}{unit}")
    assume(seconds < 10**9)
    assert parse_duration(render_duration(seconds)) == seconds


@given(st.text(max_size=12))
@example("\u0661\u0662s")
@example("1_0s")
@example("+5m")
@example(" 5m")
@example("5m\n")
@example("²h")
@example("")
@example("1234567890s")
def test_durations_are_ascii_digits_and_a_unit(text: str) -> None:
    """Nothing but `[0-9]{1,9}[smhd]` is a duration."""
    digits = text[:-1]
    is_one = (
        0 < len(digits) <= 9
        and all("0" <= char <= "9" for char in digits)
        and text[-1] in {"s", "m", "h", "d"}
    )
    if is_one:
        assert parse_duration(text) >= 0
    else:
        with pytest.raises(UsageError):
            parse_duration(text)


@given(st.binary(max_size=200))
@example(b"\xff")
@example(b"a=" + b"[" * 5000)
@example(b"a=" + b"9" * 5000)
@example(b"a=2020-99-99")
@example(b"\x00")
def test_compile_raises_usage_errors_alone_on_bytes(data: bytes) -> None:
    """Whatever the bytes are, the answer is a plan or a UsageError with file, line and column."""
    try:
        compiled(data)
    except UsageError as error:
        path, line, column, _ = error.message.split(":", 3)
        assert path == "/c.toml"
        assert int(line) > 0
        assert int(column) > 0


SCALARS = st.one_of(st.text(max_size=8), st.booleans(), st.integers(), st.floats(allow_nan=False))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["profile", "keys", "audit", *fields.PROFILE, *fields.REFERENCE_KINDS, "x"])


def as_toml(table: dict[str, Any]) -> bytes:
    """Render any table as TOML, floats included."""
    lines = []
    for key, value in table.items():
        lines.append(f"{edit.render_key(key)} = {render(value)}\n")
    return "".join(lines).encode("utf-8", "replace")


def render(value: object) -> str:
    """Render one value; floats are not among those that an edit writes."""
    if isinstance(value, float):
        return repr(value).replace("inf", "inf")
    if isinstance(value, list):
        return "[" + ", ".join(map(render, value)) + "]"
    if isinstance(value, dict):
        inner = ", ".join(
            f"{edit.render_value(key)} = {render(item)}" for key, item in value.items()
        )
        return f"{{ {inner} }}"
    return edit.render_value(value)


@given(
    st.dictionaries(
        KEYS, st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4) | VALUES) | VALUES
    )
)
def test_compile_raises_usage_errors_alone_on_toml(table: dict[str, Any]) -> None:
    """Whatever valid TOML holds, the answer is a plan or a UsageError."""
    message = "/c.toml:"
    try:
        compiled(as_toml(table))
    except UsageError as error:
        message = error.message
    assert message.startswith("/c.toml:")


@given(st.dictionaries(KEYS | st.text(max_size=6), VALUES, max_size=5))
def test_the_scan_finds_every_key(table: dict[str, Any]) -> None:
    """The scan sees the keys that tomllib sees, at any depth."""
    text = as_toml(table).decode()
    try:
        parsed = tomllib.loads(text)
    except ValueError:
        return
    assert {item.path for item in scan(text)} == set(walk(parsed, ()))


def walk(value: object, path: tuple[str | int, ...]) -> list[tuple[str | int, ...]]:
    """Return the path of every key and list item."""
    if isinstance(value, dict):
        pairs: list[tuple[str | int, object]] = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return []
    found: list[tuple[str | int, ...]] = []
    for key, item in pairs:
        found += [(*path, key), *walk(item, (*path, key))]
    return found


START = """# mine
[keys]          # where
keeper = "file" # said once

# the old one
[profile.old]
issuer    = "https://old.example.com"
flow = "code"   # as ever
client_id = 'x # y'
scopes = [
  "a", # first
  "b",
]
[profile.old.extra]
audience = \"\"\"many
lines\"\"\"

# about the last
[profile."last.one"]
preset = "github"
client_id = "Iv1"
"""


@given(NAMES, PROFILES, st.sampled_from(["", START, START.replace("\n", "\r\n"), START.rstrip()]))
def test_an_added_profile_compiles_to_what_was_given(
    name: str, values: dict[str, Any], start: str
) -> None:
    """`profile add` then compile gives the values, and removing it gives the text before."""
    assume(name not in {"old", "last.one"})
    after = edit.add_profile(start, name, values)
    assert after.startswith(start)
    profile = compiled(after.encode()).profiles[name]
    assert profile.client_id == values["client_id"]
    assert profile.scopes == tuple(sorted(set(values.get("scopes", []))))
    assert profile.owner == values.get("owner")
    assert edit.remove_profile(after, name).strip() == start.strip()


@given(st.dictionaries(st.sampled_from(["owner", "purpose", "client_id", "scopes"]), LABELS))
def test_an_edit_keeps_every_other_line(changes: dict[str, str]) -> None:
    """An edit changes the lines of its keys alone: comments, order and the others stay."""
    values: dict[str, Any] = {
        key: ["b", "c"] if key == "scopes" else value for key, value in changes.items()
    }
    after = edit.change_profile(START, "old", values)
    parsed = tomllib.loads(after)["profile"]["old"]
    assert {key: parsed[key] for key in values} == values
    for line in START.splitlines():
        is_changed = any(line.startswith(key) for key in values) or '"a"' in line or '"b"' in line
        if not is_changed and line != "]":
            assert line in after.splitlines()
    back = edit.change_profile(after, "old", {}, tuple(key for key in values))
    assert not set(values) & set(tomllib.loads(back)["profile"]["old"])


PLAN_PROFILES = st.builds(
    Profile,
    name=NAMES,
    issuer=st.just("https://x.example.com"),
    flow=st.sampled_from(list(FLOWS)),
    client_id=LABELS,
    client_secret=st.none() | st.builds(Reference, kind=st.just("env"), target=st.tuples(LABELS)),
    client_key=st.none()
    | st.builds(Reference, kind=st.just("command"), target=st.lists(LABELS).map(tuple)),
    scopes=SCOPES.map(tuple),
    endpoints=st.lists(st.tuples(LABELS, LABELS)).map(tuple),
    min_ttl_s=st.none() | st.integers(1, 999),
    audience=SCOPES.map(tuple),
    send_resource=st.booleans(),
    refresh_ends_previous=st.none() | st.booleans(),
    extra=st.none() | LABELS,
)


@given(
    st.lists(PLAN_PROFILES, max_size=4),
    st.none() | st.sampled_from(list(KEEPERS)),
    st.dictionaries(NAMES, SCOPES.map(tuple)),
)
def test_a_plan_round_trips(
    profiles: list[Profile], keeper: str | None, narrowed: dict[str, tuple[str, ...]]
) -> None:
    """What the warm road reads is what was compiled."""
    plan = Plan(
        profiles={profile.name: profile for profile in profiles},
        keeper=keeper,
        narrowed_scopes=narrowed,
    )
    assert parse_plan(render_plan(plan)) == plan


@given(st.binary(max_size=60))
@example(b'{"v":2,"profiles":[]}')
@example(b'{"v":1}')
@example(b'{"v":1,"profiles":[{}],"narrowed_scopes":{}}')
@example(b"[]")
def test_a_plan_of_another_kind_is_none(data: bytes) -> None:
    """A plan that this version can't read is compiled anew, never an error."""
    assert parse_plan(data) is None


PLAIN_PIECES = ["https://", "http://", "a", "evil", ".", "com", ":", "443", "0", "/", "-"]
EVIL_PIECES = ["@", "[", "]", "::1", "\\", "?", "#", "%2e", "127.1", "0x7f", "*", "\t", "\n", " "]
HOST_PIECES = st.sampled_from([*PLAIN_PIECES, *EVIL_PIECES, "\uff47", "\u3002", "xn--a"])


@given(st.text(max_size=40))
@example("https://github.com\t.evil.com/")
@example("https://example.com@evil.com")
def test_a_url_that_is_accepted_has_one_reading(text: str) -> None:
    """What the parser accepts, spelled canonically, is accepted again as the same."""
    try:
        url = hosts.parse_url(text)
    except UsageError:
        return
    assert hosts.parse_url(url.origin + url.path).origin == url.origin
    assert url.host.isascii()


@given(st.lists(HOST_PIECES, max_size=8).map("".join))
@example("https://[2001:db8::1]:8443/x")
@example("https://a.com:443")
@example("https://xn--bcher-kva.example/?x#@evil.com")
def test_those_who_connect_read_the_same_host(text: str) -> None:
    """What is accepted means the same scheme, host and port to the HTTP client and to urllib."""
    try:
        url = hosts.parse_url(text)
    except UsageError:
        return
    theirs, standard = httpx2.URL(text), urlsplit(text)
    wanted = (url.scheme, url.host.strip("[]"), url.port)
    default = {"https": 443, "http": 80}[url.scheme]
    assert (theirs.scheme, theirs.raw_host.decode().strip("[]"), theirs.port or default) == wanted
    assert (standard.scheme, standard.hostname, standard.port or default) == wanted


@given(st.lists(HOST_PIECES, max_size=8).map("".join))
def test_evil_hosts_never_match_another_profile(text: str) -> None:
    """No spelling reaches a profile unless scheme, host and port are exactly its own."""
    profile = Profile(
        name="p", issuer="https://a.com", flow="code", client_id="c", hosts=("https://a.com",)
    )
    try:
        found = hosts.find_profile(text, {"p": profile})
    except UsageError:
        return
    if found is not None:
        rest = text.lower().removeprefix("https://a.com").removeprefix(":443")
        assert rest == "" or rest[0] in "/?#"
