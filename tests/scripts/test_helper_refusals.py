"""Promise 2: what is refused is recorded, by whichever helper and before whichever decision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.scripts.helper_answers import Asked, answers, asking

if TYPE_CHECKING:
    from tests.program import Program

CONFIG = """
[profile.work]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://tie.example", "https://tie.example/index", "https://work.example"]
google = { pool = "POOL" }

[profile.home]
issuer = "https://issuer.example"
client_id = "app2"
flow = "code"
hosts = ["https://tie.example", "https://tie.example/index"]
""".replace(
    "POOL",
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool-1/providers/prov-1",
)
TIE = "https://tie.example"
VERSION = "client.authentication.k8s.io/v1"
GOOGLE = {
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
    "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
    "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": "//iam.googleapis.com/elsewhere",
}


def kube(server: str) -> dict[str, str]:
    """Return what kubectl says of its cluster."""
    spec = {"cluster": {"server": server}}
    return {
        "KUBERNETES_EXEC_INFO": json.dumps(
            {"kind": "ExecCredential", "apiVersion": VERSION, "spec": spec}
        )
    }


def index(url: str) -> str:
    """Return a line of cargo's."""
    registry = {"index-url": f"sparse+{url}"}
    return json.dumps({"v": 1, "kind": "get", "operation": "read", "registry": registry})


TIES: Asked = {
    name: one
    for name, one in asking("tie.example").items()
    if "get" in name.split() or name.startswith("askpass") or name == "goauth"
}
TIES["kubernetes"] = (["kubernetes"], "", kube(TIE))
UNKNOWN: Asked = {
    tool: ([tool, "--profile", "nobody"], "", more)
    for tool, more in {
        "aws": {}, "gcp": GOOGLE, "goauth": {}, "kubernetes": {}, "pnpm": {}
    }.items()
}  # fmt: skip
# By name: the request, the profile and the URL of its record, and what the error says.
OTHERS: dict[str, tuple[tuple[list[str], str, dict[str, str]], str | None, str | None, str]] = {
    "an index below a host of ours": (
        (["cargo"], index("https://work.example/evil/"), {}),
        "work",
        "https://work.example/evil/",
        "the index https://work.example/evil is not among the hosts",
    ),
    "a signed index below a host of ours": (
        (["cargo"], index("https://work.example/evil?sig=hunter2"), {}),
        "work",
        "https://work.example/evil?...",
        "the index https://work.example/evil?... is not among the hosts",
    ),
    "a cluster of no profile": (
        (["kubernetes"], "", kube("https://other.example:6443")),
        None,
        "https://other.example:6443",
        "no host of any profile",
    ),
    "a cluster that is no URL": (
        (["kubernetes"], "", kube("https://a:hunter2@other.example/?sig=hunter2")),
        None,
        "****@other.example/?...",
        "no host of any profile",
    ),
    "a cluster that is not the named profile's": (
        (["kubernetes", "--profile", "work"], "", kube("https://other.example")),
        "work",
        "https://other.example",
        "not of its hosts",
    ),
    "a URL that is not the named profile's": (
        (["goauth", "--profile", "home", "https://work.example/m?sig=hunter2"], "", {}),
        "home",
        "https://work.example/m?...",
        "no host of 'home'",
    ),
    "a signed URL of two profiles": (
        (["bazel", "get"], '{"uri":"https://tie.example/x?sig=hunter2"}', {}),
        None,
        "https://tie.example/x?...",
        "https://tie.example/x?... belongs to 'home' and 'work'",
    ),
    "another pool of Google's": (
        (["gcp", "--profile", "work"], "", GOOGLE),
        "work",
        None,
        "the audience is not the pool of 'work'",
    ),
    "neither a cluster nor a profile": (
        (["kubernetes"], "", {}),
        None,
        None,
        "neither which cluster it is for nor which profile",
    ),
    "a program that Google's library may not run": (
        (["gcp", "--profile", "work"], "", {}),
        None,
        None,
        "ALLOW_EXECUTABLES is not 1",
    ),
    "a token of another type": (
        (["gcp", "--profile", "work"], "", {"GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1"}),
        None,
        None,
        "neither a jwt nor an id_token",
    ),
    "no pool of Google's": (
        (["gcp", "--profile", "home"], "", GOOGLE),
        "home",
        None,
        "'home' names no pool",
    ),
}


@pytest.fixture
def two(brokerctl: Program) -> Program:
    """Return a program with two profiles that share a host."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(CONFIG)
    return brokerctl


def records(program: Program) -> list[dict[str, Any]]:
    """Return the whole log."""
    lines = program("audit", "log", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert program("audit", "verify").returncode == 0
    return found


def test_a_tie_is_recorded_whoever_asks(two: Program) -> None:
    """Each tool's refusal is one record, with the URL and who asked; askpass asks twice alike."""
    answers(two, TIES)
    found = records(two)
    tools = [one[0][0] for one in TIES.values()]
    assert [record["requester"]["tool"] for record in found] == list(dict.fromkeys(tools))
    for record in found:
        assert (record["event"], record["profile"], record["outcome"]) == (
            "token.refused",
            None,
            "usage",
        )
        assert "belongs to 'home' and 'work'" in record["error"]
        assert record["url"].startswith(TIE)


def test_a_profile_that_there_is_not_is_recorded(two: Program) -> None:
    """Somebody asked for a token by a name: that nobody has it may be a slip, or a try."""
    answers(two, UNKNOWN)
    found = records(two)
    assert [record["requester"]["tool"] for record in found] == list(UNKNOWN)
    assert {(one["event"], one["profile"], one["outcome"]) for one in found} == {
        ("token.refused", "nobody", "usage")
    }


def test_what_is_not_the_profile_s_is_recorded(two: Program) -> None:
    """What a helper was asked for on purpose, and refuses before any decision."""
    answers(two, {name: request for name, (request, *_) in OTHERS.items()})
    found = records(two)
    assert len(found) == len(OTHERS)
    for record, (name, (request, profile, url, said)) in zip(found, OTHERS.items(), strict=True):
        assert (record["profile"], record.get("url")) == (profile, url), name
        assert record["requester"]["tool"] == request[0][0]
        assert said in record["error"] + str(record.get("decision")), name
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize(
    ("words", "profile", "url"),
    [
        (("--for", "https://other.example/a?sig=hunter2"), None, "https://other.example/a?..."),
        (("--for", f"{TIE}/a"), None, f"{TIE}/a"),
        (("--for", "https://a:hunter2@tie.example/"), None, "****@tie.example/"),
        (("--for", "https://a:hun?ter2@tie.example/"), None, "****@tie.example/"),
        (("--for", "hunter2@"), None, "****@"),
        (("nobody",), "nobody", None),
        (("nobody", "--json"), "nobody", None),
    ],
)
def test_get_records_what_it_refuses(
    two: Program, words: tuple[str, ...], profile: str | None, url: str | None
) -> None:
    """A URL of nobody's, of two, or no URL at all, and a name that nobody has: one record each."""
    assert two("get", *words).returncode == 2
    [record] = records(two)
    assert (record["event"], record["profile"], record.get("url")) == (
        "token.refused",
        profile,
        url,
    )
    assert "ter2" not in json.dumps(record)


@pytest.mark.parametrize("words", ["-p nobody", "--env X=nobody", "--file X=nobody"])
def test_exec_records_a_name_that_nobody_has(two: Program, words: str) -> None:
    """However it is named, and before any token is had."""
    done = two("exec", *words.split(), "--", "true")
    assert done.returncode == 2
    assert "no profile 'nobody'" in done.stderr
    [record] = records(two)
    assert (record["event"], record["profile"]) == ("token.refused", "nobody")
    assert record["requester"]["tool"] == "exec"


def test_what_is_nobody_s_is_no_refusal(two: Program) -> None:
    """A tool asks brokerctl for every host that it meets: those are not ours to record."""
    answers(
        two, {name: one for name, one in asking("other.example").items() if "named" not in name}
    )
    assert records(two) == []
