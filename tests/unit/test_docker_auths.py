"""Docker's and podman's `auths`: what is read as a credential, and that the rest stays as it is."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.helpers.docker import HUB, Docker
from brokerctl.helpers.docker.auths import (
    cut_auths,
    find_unasked,
    hand_over,
    is_also_in,
    read_auths,
)

if TYPE_CHECKING:
    from brokerctl.helpers.git.credential_lines import PlainCredential

SECRET = "hunter2-of-alice"


def basic(user: str = "alice", password: str = SECRET) -> str:
    """Return what docker writes for a user and a password."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def read(auths: object, **more: object) -> list[PlainCredential]:
    """Return what is read from a file with these entries."""
    return read_auths(json.dumps({"auths": auths, **more}).encode())


def credential(found: PlainCredential) -> tuple[str | None, str | None]:
    """Return the user and the secret of what can be kept."""
    assert found.wanted, found.why
    assert found.wanted.offered
    return found.wanted.username, found.wanted.offered.reveal()


@pytest.mark.parametrize(
    ("key", "server"),
    [
        ("registry.example.com", "registry.example.com"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("https://registry.example.com", "registry.example.com"),
        ("localhost:5000", "localhost:5000"),
        ("[::1]:5000", "[::1]:5000"),
        (HUB, HUB),
        (HUB, "docker.io"),
        ("docker.io", HUB),
        ("index.docker.io", HUB),
    ],
)
def test_its_place_is_the_one_that_the_tool_asks_for(key: str, server: str) -> None:
    """Whatever its key is called: what the helper reads of the tool's own request is the same."""
    (found,) = read({key: {"auth": basic()}})
    assert credential(found) == ("alice", SECRET)
    asked = Docker().read(["get"], server.encode(), {})
    assert asked.reply is None
    assert found.wanted
    assert (found.wanted.url, found.wanted.otherwise) == (asked.url, asked.otherwise)


@pytest.mark.parametrize(
    "key",
    [
        "http://registry.example.com",
        "http://localhost:5000",
        "https://localhost:5000",
        "https://registry.example.com/",
        "https://registry.example.com/v1/",
        "registry.example.com/team",
        "https://index.docker.io/v1/access-token",
        "https://index.docker.io/v1/refresh-token",
        "https://index.docker.io",
        "",
        "https://",
        "*.example.com",
        "évil.example.com",
        "a b",
        "a\nb",
        " registry.example.com",
        "registry.example.com?x",
        "alice@registry.example.com",
        "127.1",
        "\ud800",
    ],
)
def test_what_is_no_plain_host_is_left(key: str) -> None:
    """The tool's request for it would not lead to what was kept, or its spelling is odd."""
    (found,) = read({key: {"auth": basic()}})
    assert found.wanted is None
    assert found.why == "it is not a plain host"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": basic()}, ("alice", SECRET)),
        ({"auth": basic(password="a:b")}, ("alice", "a:b")),
        ({"auth": basic("é", "ü")}, ("é", "ü")),
        ({"auth": basic(), "email": "", "identitytoken": ""}, ("alice", SECRET)),
        ({"identitytoken": SECRET}, ("<token>", SECRET)),
        ({"auth": basic("<token>", ""), "identitytoken": SECRET}, ("<token>", SECRET)),
        ({"auth": basic("<token>"), "identitytoken": SECRET}, ("<token>", SECRET)),
        ({"auth": basic("alice", ""), "identitytoken": SECRET}, ("<token>", SECRET)),
    ],
)
def test_a_credential(entry: object, expected: tuple[str, str]) -> None:
    """A user and a password, or an identity token, which a helper gives as of `<token>`."""
    assert credential(read({"registry.example.com": entry})[0]) == expected


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "no password"),
        ({"auth": ""}, "no password"),
        (None, "not an object"),
        ([], "not an object"),
        (SECRET, "not an object"),
        ({"auth": 1}, "not a password alone"),
        ({"auth": False}, "not a password alone"),
        ({"auth": basic(), "registrytoken": SECRET}, "registry's own token"),
        ({"auth": basic(), "email": "a@example.com"}, "not a password alone"),
        ({"Auth": basic()}, "not a password alone"),
        ({"username": "alice", "password": SECRET}, "not a password alone"),
        ({"auth": basic("")}, "not a user and a password"),
        ({"auth": basic(password="")}, "not a user and a password"),
        ({"auth": base64.b64encode(b"alice").decode()}, "not a user and a password"),
        ({"auth": basic() + "!"}, "not base64"),
        ({"auth": "é"}, "not base64"),
        ({"auth": base64.b64encode(b"a:\xff").decode()}, "not base64"),
        ({"auth": basic("<token>")}, "identity token"),
        ({"auth": basic(password="x"), "identitytoken": SECRET}, "a password and an identity"),
        ({"auth": basic("<token>", "x"), "identitytoken": SECRET}, "a password and an identity"),
        ({"auth": basic(password="a\0")}, "end of a line"),
        ({"auth": basic(password="a\nb")}, "end of a line"),
        ({"identitytoken": "\ud800"}, "not UTF-8"),
        ({"auth": basic(password="x" * 70_000)}, "too long"),
    ],
)
def test_what_is_left_says_why(entry: object, why: str) -> None:
    """Nothing is guessed at, and nothing that could not be given back whole is taken."""
    (found,) = read({"registry.example.com": entry})
    assert found.wanted is None
    assert why in found.why


def test_a_host_that_is_there_twice_is_left() -> None:
    """The tools differ in which of them counts; another path is another entry."""
    found = read({"a.example": {"auth": basic()}, "https://a.example": {"auth": basic("bob")}})
    assert [one.why for one in found] == ["its host is in the file more than once"] * 2
    twice = json.dumps({"auth": basic()})
    found = read_auths(f'{{"auths": {{"a.example": {twice}, "a.example": {twice}}}}}'.encode())
    assert [one.wanted for one in found] == [None, None]
    hub = {HUB: {"auth": basic()}, f"{HUB}access-token": {"identitytoken": SECRET}}
    assert [one.why for one in read(hub)] == ["", "it is not a plain host"]


def test_no_password_is_shown() -> None:
    """Security: neither of what is kept nor of what is left, nor one that stands in a key."""
    keys = ("a.example", f"alice:{SECRET}@b.example", f"https://alice:{SECRET}@c.example/x")
    values: list[Any] = [{"auth": basic()}, {"auth": SECRET}, {"identitytoken": SECRET, "x": 1}]
    found = [one for key in keys for value in values for one in read({key: value})]
    assert len(found) == 9
    assert not [one for one in found if SECRET in repr(one) or basic() in repr(one)]


@pytest.mark.parametrize("auths", ["", '"auths": null', '"auths": {}', '"other": {"a": {}}'])
def test_nothing_to_read(auths: str) -> None:
    """A file without entries has none, which is no error."""
    assert read_auths(f"{{{auths}}}".encode()) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x", "not JSON"),
        (b"[]", "not JSON"),
        (b'{"auths": {"a.example": {"auth": NaN}}}', "NaN is no value"),
        (b'{"auths": {}, "x": -Infinity}', "Infinity is no value"),
        (b'{"auths": []}', "not an object"),
        (b'{"auths": {}, "Auths": {}}', "twice"),
        (b'{"auths": {}} x', "more behind its end"),
        (b'{"x": ' + b"[" * 100_000, "too deep"),
        (b'\xef\xbb\xbf{"auths": {}}', "not JSON"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, said: str) -> None:
    """What the tool itself can't read is not changed by us."""
    with pytest.raises(ValueError, match=said):
        read_auths(data)


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b'{"auths": {"a.b": @1}}', b'{"auths": {}}'),
        (
            b'{\n\t"auths": {\n\t\t"a.b": @1\n\t},\n\t"x": 1\n}\n',
            b'{\n\t"auths": {},\n\t"x": 1\n}\n',
        ),
        (b'{"auths": {"a.b": @1, "c/d": @2}}', b'{"auths": {"c/d": @2}}'),
        (b'{"auths": { "c/d": @2 , "a.b":@1 }}', b'{"auths": { "c/d": @2 }}'),
        (
            b'{"auths": {"c/d": @2, "a.b": @1, "e.f": @1, "g/h": @2}}',
            b'{"auths": {"c/d": @2, "g/h": @2}}',
        ),
        (
            b'{"\\u0061uths": {"a.b": @1}, "\xff": "\xc3\xa9"}',
            b'{"\\u0061uths": {}, "\xff": "\xc3\xa9"}',
        ),
    ],
)
def test_an_entry_is_cut_out_as_text(data: bytes, rest: bytes) -> None:
    """Whatever the layout is, and bytes that are no text; the section stays, if only as `{}`."""
    data, rest = (
        one.replace(b"@1", f'{{"auth": "{basic()}"}}'.encode()).replace(b"@2", b'{"auth": "z"}')
        for one in (data, rest)
    )
    moving = [one for one in read_auths(data) if one.wanted]
    assert cut_auths(data, moving) == rest
    assert cut_auths(data, []) == data


@pytest.mark.parametrize(
    ("more", "unasked"),
    [
        ({}, ["a.example", HUB, "docker.io"]),
        ({"credHelpers": {"a.example": "brokerctl", HUB: "brokerctl"}}, ["docker.io"]),
        ({"credHelpers": {"docker.io": "brokerctl"}}, ["a.example", HUB]),
        ({"credHelpers": {"https://a.example": "brokerctl"}}, ["a.example", HUB, "docker.io"]),
        ({"credsStore": "brokerctl"}, ["a.example", HUB, "docker.io"]),
        ({"credsStore": None}, ["a.example", HUB, "docker.io"]),
    ],
)
def test_whom_the_tool_will_not_ask_us_for(more: dict[str, object], unasked: list[str]) -> None:
    """Whose helper is not brokerctl would not find its password again."""
    auths = {"https://a.example": {"auth": basic()}, HUB: {"auth": basic()}}
    data = json.dumps({"auths": auths, **more}).encode()
    assert find_unasked(data, read_auths(data)) == unasked


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"credsStore": "pass"}, ["a.example", HUB]),
        ({"credsStore": "pass", "credHelpers": {"a.example": "brokerctl"}}, [HUB]),
        ({"credHelpers": {"a.example": "pass", "docker.io": "pass"}}, ["a.example", HUB]),
        ({"credHelpers": {"a.example": 1}}, ["a.example"]),
        ({"credHelpers": {"a.example": ""}}, ["a.example"]),
        ({"credHelpers": {"docker.io": "pass"}}, [HUB]),
        ({"credsstore": "pass"}, ["a.example", HUB]),
    ],
)
def test_what_the_tool_does_not_read_is_left(more: dict[str, object], left: list[str]) -> None:
    """Where it asks another helper, what that one answers stays the answer."""
    auths = {"a.example": {"auth": basic()}, HUB: {"auth": basic()}}
    found = read(auths, **more)
    assert [one.shown for one in found if "another helper" in one.why] == left
    assert [one for one in found if not one.wanted and "another helper" not in one.why] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{"auths": {"a.example": @}}',
            '{"auths": {},"credHelpers": { "a.example": "brokerctl" }}',
        ),
        (
            '{\n\t"auths": {\n\t\t"a.example": @\n\t},\n\t"credHelpers": {"z.b": "pass"}\n}\n',
            '{\n\t"auths": {},\n\t"credHelpers": {"z.b": "pass","a.example": "brokerctl"}\n}\n',
        ),
        (
            '{"auths": {"https://a.example": @}, "credHelpers": {"b.example": "brokerctl"}}',
            '{"auths": {}, "credHelpers": {"a.example": "brokerctl", "b.example": "brokerctl"}}',
        ),
        (
            '{"auths": {"a.example": @}, "credHelpers": {"a.example": "brokerctl"}}',
            '{"auths": {}, "credHelpers": {"a.example": "brokerctl"}}',
        ),
    ],
)
def test_the_tool_is_told_whom_to_ask(before: str, after: str) -> None:
    """What was moved is asked for where it is now; other helpers' entries stay."""
    data = before.replace("@", json.dumps({"auth": basic()})).encode()
    handed = hand_over(data, read_auths(data))
    assert handed.decode() == after
    assert hand_over(handed, read_auths(handed)) == handed


@pytest.mark.parametrize("other", ["quay.io/org", "https://quay.io/v1/", "QUAY.IO", "quay.io/"])
def test_a_path_beside_a_host_keeps_both(other: str) -> None:
    """Security: podman asks a helper for the whole host first, so one answer would be for both."""
    found = read({"quay.io": {"auth": basic()}, other: {"auth": basic("bob")}})
    assert [one.wanted for one in found] == [None, None]
    assert found[0].why == "its host is in the file more than once"


def test_what_has_a_name_of_another_host_is_left() -> None:
    """Podman looks for Hub's registry at Hub's own name, and would not find it."""
    (found,) = read({"registry-1.docker.io": {"auth": basic()}})
    assert found.wanted is None


@pytest.mark.parametrize("more", ['"identitytoken": null', '"IdentityToken": "t"', '"auth": ""'])
def test_a_field_that_is_there_twice(more: str) -> None:
    """Which of them counts is no rule of JSON's, and the other would be lost."""
    entry = f'{{"auth": "{basic()}", "identitytoken": "", {more}}}'
    (found,) = read_auths(f'{{"auths": {{"a.example": {entry}}}}}'.encode())
    assert found.wanted is None


def test_a_copy_is_known_by_its_values() -> None:
    """However it is laid out, the password in it is the same."""
    data = json.dumps({"auths": {"a.example": {"auth": basic()}}}, indent="\t").encode()
    moving = read_auths(data)
    assert is_also_in(json.dumps(json.loads(data)).encode(), data, moving)
    assert not is_also_in(b'{"auths": {"a.example": {}}}', data, moving)
