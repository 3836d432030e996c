"""kubectl's helper keeps the contract of the room."""

from __future__ import annotations

from typing import ClassVar

from brokerctl.helpers.kubernetes import Kubernetes
from brokerctl.helpers.outcomes import NotOurs
from tests.contracts.helper_contract import HelperContract

INFO = (
    '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"cluster":'
    '{"server":"https://kube.example.com:6443","config":null},"interactive":false}}\n'
)


class TestKubernetes(HelperContract):
    """kubernetes: the request is in the environment, the exit code is the error's."""

    name = "kubernetes"
    words: ClassVar[list[str]] = ["--profile", "forge"]
    request = b""
    url = "https://kube.example.com:6443"
    refusal_code = None
    environ: ClassVar[dict[str, str]] = {"KUBERNETES_EXEC_INFO": INFO}

    def test_not_ours_is_a_failure_without_output(self) -> None:
        """There is nobody else to ask, and kubectl takes empty output for a broken answer."""
        answer = Kubernetes().answer(NotOurs())
        assert (answer.exit_code, answer.stdout) == (2, b"")
        assert answer.note
