"""Every form of a tool's own file: what is there stays, ours is read, and it goes again.

Without the tool's start where a plain reader shows as much; the real tools take the usual form of
each in their own tests, and every form among the long tests.
"""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import tomllib
from typing import TYPE_CHECKING, NamedTuple

import pytest

from brokerctl.helpers.edit.file_changes import carry_out
from brokerctl.helpers.install import find_installed, plan_install, plan_uninstall
from brokerctl.model import Profile
from tests.program import require_tool
from tests.tools import (
    test_aws_install,
    test_bazel,
    test_docker_install,
    test_git_install,
    test_goauth_install,
    test_kubernetes_install,
    test_pnpm,
    test_python_install,
    test_terraform_install,
)
from tests.tools.clients import require_client
from tests.tools.room import read, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "git.example.com"
PROFILE = Profile(
    name="d",
    issuer="https://issuer.example",
    client_id="app",
    flow="aws_web_identity",
    hosts=(f"https://{HOST}",),
)


class Case(NamedTuple):
    """Where a tool's file is below the home, its forms, and what its reader finds of ours."""

    path: str
    forms: Mapping[str, bytes | None]
    ours: str


PYTHON = test_python_install.FILES
CASES = {
    "aws": Case(".aws/config", test_aws_install.CONFIGS, "helper aws --profile d"),
    "bazel": Case(".bazelrc", test_bazel.FILES, f"\ncommon --credential_helper={HOST}="),
    "git": Case(".gitconfig", test_git_install.CONFIGS, "/git-credential-brokerctl\n"),
    "goauth": Case(".config/go/env", test_goauth_install.FILES, "helper goauth;"),
    "keyring": Case("python_keyring", PYTHON["keyring"], "brokerctl_keyring"),
    "kubernetes": Case(".kube/config", test_kubernetes_install.CONFIGS, '"name": "brokerctl"'),
    "pip": Case("pip/pip.conf", PYTHON["pip"], "global.keyring-provider=subprocess"),
    "pnpm": Case(".npmrc", test_pnpm.CONFIGS, f"\n//{HOST}/:tokenHelper="),
    "podman": Case("containers/auth.json", test_docker_install.CONFIGS, f'"{HOST}": "brokerctl"'),
    "terraform": Case(
        ".terraformrc", test_terraform_install.CONFIGS, '\ncredentials_helper "brokerctl" {'
    ),
    "uv": Case("uv/uv.toml", PYTHON["uv"], '"keyring-provider": "subprocess"'),
}
FORMS = [(tool, form) for tool, case in CASES.items() for form in case.forms]


# The tools that start at once are asked themselves.
ASKED = {
    "git": "git config --global -l",
    "goauth": "go env GOAUTH",
    "kubernetes": "kubectl config view --raw -o json",
}


def found(tool: str, path: str, environ: Mapping[str, str]) -> str:
    """Return what a reader finds in the file, whatever stands round it."""
    if tool in ASKED:
        name, *words = ASKED[tool].split(" ")
        program = require_client(name) if name == "go" else require_tool(name)
        return subprocess.check_output([program, *words], env=environ, text=True)
    text = (read(path) or b"").decode("latin-1").replace("\r\n", "\n")
    if tool in {"podman", "uv"}:
        return json.dumps(json.loads(text) if tool == "podman" else tomllib.loads(text))
    if tool in {"aws", "keyring", "pip"}:
        parser = configparser.RawConfigParser()
        parser.read_string(text)
        rows = ((name, *row) for name in parser.sections() for row in parser[name].items())
        return "".join(f"{name}.{key.replace('_', '-')}={row}\n" for name, key, row in rows)
    return f"\n{text}"


@pytest.mark.parametrize(("tool", "form"), FORMS)
def test_each_form_is_as_before(tmp_path: Path, tool: str, form: str) -> None:
    """Ours is found in it, a second set-up changes nothing, and each byte is as it was."""
    case, before = CASES[tool], CASES[tool].forms[form]
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    path = find_installed(tool, environ).path
    assert case.path in path
    write(path, before)
    carry_out(plan_install(tool, [PROFILE], environ))
    assert case.ours in found(tool, path, environ)
    assert not plan_install(tool, [PROFILE], environ).is_change
    assert find_installed(tool, environ).is_in
    carry_out(plan_uninstall(tool, environ))
    assert read(path) == before
    assert not find_installed(tool, environ).is_in
    assert not plan_uninstall(tool, environ).is_change
    assert not [one for one in os.listdir(os.path.dirname(path)) if "before-brokerctl" in one]
