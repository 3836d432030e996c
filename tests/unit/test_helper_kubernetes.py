"""kubectl's protocol: what is a request, and what is answered."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.errors import UsageError
from brokerctl.helpers import CredentialRequest, MalformedError
from brokerctl.helpers.kubernetes import V1, VARIABLE, Kubernetes
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

SERVER = "https://kube.example.com:6443"
BETA = "client.authentication.k8s.io/v1beta1"
LEFT_OUT = object()


def info(version: object = V1, kind: object = "ExecCredential", **cluster: object) -> str:
    """Return the variable as a client sets it, with some members of the cluster."""
    members = {"server": SERVER, **{name.replace("_", "-"): it for name, it in cluster.items()}}
    members = {name: it for name, it in members.items() if it is not LEFT_OUT}
    spec = {"interactive": False, "cluster": members}
    return json.dumps({"kind": kind, "apiVersion": version, "spec": spec})


def read(text: str | None, *words: str) -> CredentialRequest:
    """Read a request that is one."""
    environ = {} if text is None else {VARIABLE: text}
    wanted = Kubernetes().read(list(words), b"", environ)
    assert wanted.reply is None
    return wanted


def answered(version: str | None = V1, **fields: object) -> dict[str, Any]:
    """Return the answer for a token with some fields changed."""
    wanted = CredentialRequest(action="get", profile="forge", form=version)
    answer = credential(Kubernetes(), wanted, ANSWER.replace(**fields), PROFILE)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.mark.parametrize("version", [V1, BETA])
def test_the_version_is_echoed(version: str) -> None:
    """A client refuses an answer in any other than its own."""
    assert answered(read(info(version)).form)["apiVersion"] == version


@pytest.mark.parametrize(
    "words", [("--profile", "forge"), ("--profile=forge",), ("-p", "forge")], ids="+".join
)
def test_a_named_profile_still_has_its_server_compared(words: tuple[str, ...]) -> None:
    """Both are given where the client tells its cluster; the server alone where no name is."""
    assert read(info(), *words) == CredentialRequest(
        action="get", url=SERVER, profile="forge", form=V1
    )
    assert read(info()) == CredentialRequest(action="get", url=SERVER, form=V1)


@pytest.mark.parametrize("text", [None, "", " \n", info().replace('"cluster"', '"other"')])
def test_without_a_cluster_a_profile_must_be_named(text: str | None) -> None:
    """Else any server would get whatever token there is."""
    assert read(text, "--profile", "forge") == CredentialRequest(
        action="get", profile="forge", form=V1
    )
    with pytest.raises(UsageError, match="neither which cluster"):
        read(text)


def test_a_certificate_that_is_not_checked_is_told() -> None:
    """The decision is not the protocol's."""
    assert read(info(insecure_skip_tls_verify=True)).is_insecure
    assert not read(info(insecure_skip_tls_verify=False)).is_insecure


@pytest.mark.parametrize(
    ("members", "route"),
    [
        ({}, {}),
        ({"proxy_url": "http://proxy.example:3128"}, {"proxy": "http://proxy.example:3128"}),
        ({"proxy_url": "socks5://u:p%40@[::1]:1/x?y"}, {"proxy": "socks5://[::1]:1"}),
        ({"proxy_url": "u:p@proxy.example"}, {"proxy": "proxy.example"}),
        ({"tls_server_name": "kube.internal"}, {"tls_server_name": "kube.internal"}),
        (
            {"certificate_authority_data": base64.b64encode(b"PEM").decode()},
            {"ca_sha256": hashlib.sha256(b"PEM").hexdigest()},
        ),
        (
            {"certificate_authority_data": "abcde"},
            {"ca_sha256": hashlib.sha256(b"abcde").hexdigest()},
        ),
        ({"proxy_url": 7, "tls_server_name": None, "certificate_authority_data": []}, {}),
        ({"proxy_url": "", "tls_server_name": "", "certificate_authority_data": ""}, {}),
    ],
)
def test_how_the_client_gets_there_is_for_the_record(
    members: dict[str, object], route: dict[str, str]
) -> None:
    """A proxy without its password, a name and a digest: they refuse nothing."""
    wanted = read(info(**members))
    assert dict(wanted.route) == route
    assert wanted == read(info()).replace(route=wanted.route)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{",
        "[]",
        "null",
        info() + info(),
        info(kind="Pod"),
        info("client.authentication.k8s.io/v1alpha1"),
        info(["v1"]),
        info(server=LEFT_OUT),
        info(server=""),
        info(server=7),
        info(server=["https://kube.example.com"]),
        info(insecure_skip_tls_verify="false"),
        info(insecure_skip_tls_verify=None),
        info(insecure_skip_tls_verify=0),
        info().replace('"server"', '"server": "https://evil.example", "server"'),
        info().replace('"cluster": {', '"cluster": [{').replace("}}}", "}]}}"),
        '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "spec": []}',
        '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "spec": 7}',
        info().replace("kube", "\udcff"),
    ],
)
def test_what_no_client_says_is_refused(text: str) -> None:
    """Security: no guess at a server, a repeated key, or a flag that is no flag."""
    with pytest.raises(MalformedError):
        read(text, "--profile", "forge")


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_what_is_no_request_says_how_to_go_on(text: str) -> None:
    """Somebody has set the variable by hand, and needs to know that it has to go."""
    with pytest.raises(MalformedError, match="unset it, kubectl sets it"):
        read(text)


@pytest.mark.parametrize(
    "words",
    [["get"], ["--profile"], ["-p", "a", "b"], ["--user=a"], ["-p=a"], ["--profile=a", "b"]],
)
def test_other_arguments_are_refused(words: list[str]) -> None:
    """A slip in a kubeconfig is told, and is no other profile's token."""
    with pytest.raises(MalformedError):
        read(info(), *words)


def test_the_answer_is_what_clients_take() -> None:
    """One object, its time in RFC 3339, UTC."""
    assert answered(expires_at=1795476591.7) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "status": {"token": TOKEN, "expirationTimestamp": "2026-11-23T23:29:51Z"},
    }


def test_a_token_without_an_end_has_no_time() -> None:
    """The client keeps it for as long as it runs, or up to a refusal."""
    assert answered(expires_at=None)["status"] == {"token": TOKEN}


@given(st.floats(1.8e9, 1.9e9), st.floats(1, 60))
def test_a_client_asks_again_when_there_is_another(end: float, margin: float) -> None:
    """Not before the broker would refresh, which would be in vain, and never after the end."""
    status = answered(expires_at=end, renew_at=end - margin)["status"]
    said = seconds(status["expirationTimestamp"])
    assert end - margin <= said + 1e-6 or said == int(end)
    assert said <= end
    assert said < end - margin + 1


def seconds(text: str) -> float:
    """Return a time's seconds since the epoch."""
    return dt.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("text", [None, info()])
def test_stdin_is_never_read(text: str | None) -> None:
    """It may be somebody's terminal."""
    assert read(text, "-p", "forge") == Kubernetes().read(
        ["-p", "forge"], b"\xff", {} if text is None else {VARIABLE: text}
    )
    assert Kubernetes.traits.stdin_for(["-p", "forge"]) == "nothing"
