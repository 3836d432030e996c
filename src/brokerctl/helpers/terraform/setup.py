"""Terraform's CLI configuration, and the plug-in folder, the only one in which it looks."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import SCRIPT_MODE, SetupFile
from brokerctl.helpers.edit.blocks import put_block, take_block, without_block
from brokerctl.helpers.edit.scripts import put_script, take_script
from brokerctl.helpers.edit.toml_hcl import find_labels, has_key, refuse_other
from brokerctl.helpers.setups import NO_HOSTS_HINT, BlockSetup, home_path
from brokerctl.platform.user_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brokerctl.helpers.setups import Part

_KEY = "credentials_helper"
_BLOCK = f'{_KEY} "brokerctl" {{}}'


class TerraformSetup(BlockSetup):
    """`~/.terraformrc`, which OpenTofu reads too; with a `~/.tofurc` both files."""

    name = "terraform"
    script = "terraform-credentials-brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the configuration and the script in the plug-in folder."""
        plugin = home_path(environ, ".terraform.d", "plugins", self.script)
        found = [SetupFile(self.path(environ)), SetupFile(plugin, SCRIPT_MODE, is_own=True)]
        other = home_path(environ, ".tofurc")
        if not _given(environ) and os.path.exists(other):
            found.append(SetupFile(other))
        return found

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file that terraform reads."""
        given = _given(environ)
        return os.path.abspath(given) if given else home_path(environ, ".terraformrc")

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Put the block in, or make the script; terraform accepts only one helper."""
        if place.mode == SCRIPT_MODE:
            return put_script(place.path, text, self.name, [part.script])
        refuse_other(place.path, without_block(text, self.name, self.form), _KEY)
        for path, other in _beside(part.environ):
            if has_key(other, _KEY):
                raise UsageError(f"{path} has a '{_KEY}' already", hint="remove that one first")
        return put_block(text, self.name, self.lines(part), self.form)

    @staticmethod
    def is_ours(rows: list[str], at: int) -> bool:
        """Return whether a row is our block."""
        return rows[at] == _BLOCK

    def lines(self, part: Part) -> list[str]:
        """Return the block, which is for all hosts: the helper knows which are ours."""
        if not any(_is_whole(host) for profile in part.profiles for host in profile.hosts):
            raise UsageError(
                "no profile has an https host without a path, so terraform has nothing to ask for",
                hint=NO_HOSTS_HINT,
            )
        return [_BLOCK]

    def advice(self, part: Part) -> str | None:
        """Name a token that terraform takes before it asks us, as one of `terraform login`."""
        hosts = {host.removeprefix("https://") for one in part.profiles for host in one.hosts}
        for path, text in (*_files(self.path(part.environ)), *_beside(part.environ)):
            for host in sorted(hosts & find_labels(text, "credentials")):
                return f"{path} has a token for {host}, which terraform takes without asking us"
        return None

    def read_also(self, environ: Mapping[str, str]) -> list[str]:
        """Return the other files that terraform and OpenTofu read."""
        return [path for path, _ in _beside(environ)]

    def names(self, own: SetupFile, text: str) -> bool:  # noqa: ARG002 - the plug-in has one name
        """Look for a block with the plug-in's name."""
        return "brokerctl" in find_labels(text, _KEY)

    def names_us(self, text: str) -> bool:
        """Look for a block with the plug-in's name."""
        return "brokerctl" in find_labels(text, _KEY)

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take out the block or the script, according to the file."""
        if place.mode == SCRIPT_MODE:
            return take_script(text, self.name)
        return take_block(text, self.name, self.form)


def _given(environ: Mapping[str, str]) -> str | None:
    return environ.get("TF_CLI_CONFIG_FILE") or environ.get("TERRAFORM_CONFIG") or None


def _is_whole(host: str) -> bool:
    """Return whether terraform can ask for a host: without a path, since it names host and port."""
    return "/" not in host.removeprefix("https://")


def _beside(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the other files that terraform reads, with their texts."""
    folder = home_path(environ, ".terraform.d")
    if _given(environ) or not os.path.isdir(folder):
        return
    for name in sorted(os.listdir(folder)):
        if name.endswith((".tfrc", ".tfrc.json")):
            yield from _files(os.path.join(folder, name))


def _files(*paths: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of the files that can be read."""
    for path in paths:
        with contextlib.suppress(OSError):
            yield path, read_regular(path).decode("utf-8", "replace")
