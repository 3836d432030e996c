"""Go's protocol, and what its set-up writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.errors import UsageError
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError, answered
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.goauth import Goauth, fit
from brokerctl.helpers.goauth.setup import GoauthSetup
from brokerctl.helpers.outcomes import Malformed
from brokerctl.helpers.setups import Part
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

URL = "https://go.example.com/team/demo?go-get=1"
PLACE = SetupFile("/home/alice/.config/go/env")
ENV = {"HOME": "/home/alice"}
OURS = "GOAUTH=/opt/b/brokerctl helper goauth;"


def part(script: str = "/opt/b/brokerctl", **environ: str) -> Part:
    """Return what a set-up is made of, with one profile."""
    profile = PROFILE.replace(hosts=("https://go.example.com",))
    return Part("goauth", (profile,), script, {**ENV, **environ})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], answered(HelperReply())),
        ([URL], CredentialRequest(action="get", url=URL)),
        (["--profile", "p"], CredentialRequest(action="get", profile="p")),
        (["--profile=p"], CredentialRequest(action="get", profile="p")),
        (["-p", "p", URL], CredentialRequest(action="get", url=URL, profile="p")),
        (["http://127.0.0.1/x"], answered(HelperReply())),
        (["ftp://go.example.com/"], answered(HelperReply())),
        ([""], answered(HelperReply())),
    ],
)
def test_what_go_asks(words: list[str], expected: CredentialRequest) -> None:
    """Without a URL nothing, unless a profile is named; and https alone."""
    assert Goauth().read(words, b"HTTP/1.1 401 Unauthorized\n\n", {}) == expected


@pytest.mark.parametrize(
    "words", [[URL, URL], ["--profile"], ["--other", URL], ["-p"], ["--profile", "p", URL, URL]]
)
def test_other_words_are_no_request(words: list[str]) -> None:
    """Go appends the URL to what its user has configured, and nothing else."""
    with pytest.raises(MalformedError):
        Goauth().read(words, b"", {})
    assert Goauth().answer(Malformed()).exit_code == 2


@pytest.mark.parametrize(
    ("hosts", "asked", "prefixes"),
    [
        (["https://go.example.com"], URL, ["https://go.example.com"]),
        (["https://go.example.com"], None, ["https://go.example.com"]),
        (["https://go.example.com/team"], URL, ["https://go.example.com/team"]),
        (["https://*.example.com/team"], URL, ["https://go.example.com/team"]),
        (["https://*.example.com", "https://b.example"], None, ["https://b.example"]),
        (
            [
                "http://127.0.0.1:80",
                "https://*.example.org",
                "https://go.example.com",
                "https://b.example:8443",
            ],
            URL,
            ["https://b.example:8443", "https://go.example.com"],
        ),
        (["https://*.example.com", "https://go.example.com"], URL, ["https://go.example.com"]),
        (["https://*.b.example/x", "https://go.example.com/y"], URL, ["https://go.example.com/y"]),
    ],
)
def test_prefixes_are_the_profile_s(
    hosts: list[str], asked: str | None, prefixes: list[str]
) -> None:
    """Security: never what was asked, but for the host that stands for `*`."""
    wanted = CredentialRequest(action="get", url=asked)
    said = credential(Goauth(), wanted, ANSWER, PROFILE.replace(hosts=tuple(hosts)))
    lines = "".join(f"{prefix}\n" for prefix in prefixes)
    assert said == HelperReply(stdout=f"{lines}\nAuthorization: Bearer {TOKEN}\n\n".encode())


@pytest.mark.parametrize("hosts", [(), ("http://127.0.0.1:8080",), ("https://*.example.com",)])
def test_a_profile_without_a_host_for_go(hosts: tuple[str, ...]) -> None:
    """No prefix would mean every server."""
    with pytest.raises(UsageError, match="no https host"):
        credential(Goauth(), CredentialRequest(action="get"), ANSWER, PROFILE.replace(hosts=hosts))


@pytest.mark.parametrize(
    ("url", "is_its"),
    [(None, True), (URL, True), ("https://evil.example/", False), ("https://a@b/", False)],
)
def test_a_named_profile_is_for_its_own_hosts(url: str | None, is_its: bool) -> None:  # noqa: FBT001 - a column of the table
    """Go asks with one command for every server."""
    profile = PROFILE.replace(hosts=("https://go.example.com",))
    assert fit(CredentialRequest(action="get", url=url, profile="p"), profile) is is_its


@pytest.mark.parametrize(
    ("hosts", "is_now"),
    [
        (["https://*.example.com"], False),
        (["https://*.example.com", "http://127.0.0.1:80"], False),
        (["https://*.example.com", "https://go.example.com"], True),
        (["http://127.0.0.1:80"], True),  # which is an error, said once
    ],
)
def test_hosts_that_are_not_known_yet_cost_no_token(hosts: list[str], *, is_now: bool) -> None:
    """Each start of go asks without a URL, and there would be no prefix to answer with."""
    profile = PROFILE.replace(hosts=tuple(hosts))
    assert fit(CredentialRequest(action="get", profile="p"), profile) is is_now


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("", f"{OURS}netrc"),
        ("GOPROXY=direct\n", f"{OURS}netrc"),
        ("GOAUTH=git /home/alice\n", f"{OURS}git /home/alice"),
        ("A=1\nGOAUTH=old\nGOAUTH=netrc;x y\nZ=1", f"{OURS}netrc;x y"),
        ("# GOAUTH=x\nGOAUTH=", f"{OURS}netrc"),
    ],
)
def test_what_was_there_is_asked_after_us(before: str, line: str) -> None:
    """Of two lines the last one counts, so there is one after the other's place."""
    put = GoauthSetup().put(PLACE, before, part())
    found = [row for row in put.split("\n") if row.startswith("GOAUTH=")]
    assert found[-1] == line
    assert GoauthSetup().put(PLACE, put, part()) == put


ROWS = st.sampled_from(
    ["GOAUTH=netrc", "GOAUTH=", "GOPROXY=x", "# a", "", "GOAUTH=git /a;netrc\r", "x"]
)


@given(rows=st.lists(ROWS), end=st.sampled_from(["", "\n"]), more=st.sampled_from(["", "B=2\n"]))
def test_any_file_is_as_before(rows: list[str], end: str, more: str) -> None:
    """Byte for byte, whatever it held; what was appended since stays."""
    before = "\n".join(rows) + end
    setup = GoauthSetup()
    put = setup.put(PLACE, before, part())
    assert put.count("helper goauth;") == 1
    assert setup.take(PLACE, put) == before
    assert setup.take(PLACE, before) is None
    assert setup.put(PLACE, put, part()) == put
    more = more if put.endswith("\n") else ""
    kept = setup.take(PLACE, put + more)
    assert kept is not None
    assert kept.endswith(more)
    assert [row for row in kept.split("\n") if row] == [
        row for row in [*before.split("\n"), *more.split("\n")] if row
    ]


@pytest.mark.parametrize(
    "text", ["GOAUTH=off\n", "GOAUTH=/usr/bin/brokerctl helper goauth;netrc\n"]
)
def test_what_can_t_be_combined(text: str) -> None:
    """Nothing is changed: go ends with an error on `off` beside something else."""
    with pytest.raises(UsageError):
        GoauthSetup().put(PLACE, text, part())


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("/a b/brokerctl", "'/a b/brokerctl' helper goauth"),
        ("/a 'b'/brokerctl", "\"/a 'b'/brokerctl\" helper goauth"),
        ("/a'b/brokerctl", "/a'b/brokerctl helper goauth"),
    ],
)
def test_a_path_is_in_the_quotes_that_go_takes(script: str, command: str) -> None:
    """A word is quoted as a whole, without an escape inside."""
    assert f"GOAUTH={command};netrc\n" in GoauthSetup().put(PLACE, "", part(script))


@pytest.mark.parametrize("script", ["/a;b/x", "/a 'b\"/x", "/a\nb/x"])
def test_a_path_that_go_has_no_quotes_for(script: str) -> None:
    """It is refused before anything is written."""
    with pytest.raises(UsageError, match="can't run"):
        GoauthSetup().put(PLACE, "", part(script))


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/home/alice/.config/go/env"),
        ({"XDG_CONFIG_HOME": "/x"}, "/x/go/env"),
        ({"GOENV": "/etc/go.env"}, "/etc/go.env"),
        ({"GOENV": "off"}, "/home/alice/.config/go/env"),
    ],
)
def test_where_go_s_file_is(environ: dict[str, str], path: str) -> None:
    """As go itself looks for it."""
    assert GoauthSetup().places({**ENV, **environ}) == [SetupFile(path)]


def test_a_file_that_go_does_not_read() -> None:
    """With GOENV=off nothing that we write would be read."""
    with pytest.raises(UsageError, match="GOENV is off"):
        GoauthSetup().put(PLACE, "", part(GOENV="off"))


def test_a_variable_that_go_takes_instead() -> None:
    """It is named, and not what it holds."""
    said = GoauthSetup().advice(part(GOAUTH="s3cret"))
    assert said
    assert "s3cret" not in said
    assert GoauthSetup().advice(part()) is None


def test_no_https_host_is_nothing_to_ask_for() -> None:
    """Said, before anything is written."""
    with pytest.raises(UsageError, match="nothing to ask for"):
        GoauthSetup().put(PLACE, "", part()._replace(profiles=(PROFILE,)))
