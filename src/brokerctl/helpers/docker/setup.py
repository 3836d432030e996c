"""The files in which docker, podman, skopeo and buildah find the helper of a registry.

The entries are for our registries alone. A helper for all (`credsStore`) would be asked for every
other registry too, and its failure would be a failure of them all.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.docker import HUB, HUB_NAMES, server_name
from brokerctl.helpers.edit import PRIVATE_MODE, SetupFile
from brokerctl.helpers.edit.json_text import put_members, take_members, value_names
from brokerctl.helpers.setups import UsualSetup, home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_SECTION = "credHelpers"
_SUFFIX = "brokerctl"  # the tools put `docker-credential-` before it; a path can't be given


class DockerSetup(UsualSetup):
    """`~/.docker/config.json`, or `config.json` in the folder that DOCKER_CONFIG names."""

    script = "docker-credential-brokerctl"
    hub = HUB

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the one file, which may hold passwords of other registries."""
        return [SetupFile(self.path(environ), PRIVATE_MODE)]

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file that docker reads and writes."""
        folder = environ.get("DOCKER_CONFIG")
        if folder:
            return os.path.join(os.path.abspath(folder), "config.json")
        return home_path(environ, ".docker", "config.json")

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Put an entry in for each registry; UsageError if one has another helper."""
        names = [self.hub if name == HUB else name for _, name in _names(part) if name]
        names += [name for url in part.kept for name in asked_names(url)]
        if not names:
            raise UsageError(
                f"no profile has a host that {part.tool} can name",
                hint="give one a host without a path and without '*.'",
            )
        try:
            if (
                "docker" in part.keep and text.strip()
            ):  # entries by `helper import` for kept credentials stay
                names += value_names(text, _SECTION, _SUFFIX)
            return put_members(text, _SECTION, names, _SUFFIX)
        except ValueError as error:
            hint = "change it by hand, then install again"
            raise UsageError(f"{place.path}: {error}", hint=hint) from error

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take our entries out."""
        try:
            return take_members(text, _SECTION, _SUFFIX)
        except ValueError as error:
            raise UsageError(f"{place.path}: {error}", hint="change it by hand") from error

    def advice(self, part: Part) -> str | None:
        """Name what the tool would not find: a host that it can't name, or our script in PATH."""
        found = []
        left_out = [host for host, name in _names(part) if name is None]
        if left_out:
            found.append(f"{part.tool} has no name for {' and '.join(left_out)}, so not for that")
        seen = shutil.which(self.script, path=part.environ.get("PATH", os.defpath))
        if seen is None:
            found.append(
                f"{self.script} is not in PATH, where alone {part.tool} looks for it:"
                f" link {part.script} into a folder of PATH"
            )
        elif os.path.realpath(seen) != os.path.realpath(part.script):
            found.append(f"{part.tool} will find another installation's {seen} in PATH")
        return "; ".join(found) or None


class PodmanSetup(DockerSetup):
    """Podman's, skopeo's and buildah's file that survives a reboot (containers-auth.json(5))."""

    hub = HUB_NAMES[0]

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the file that REGISTRY_AUTH_FILE names, else the one in the home."""
        given = environ.get("REGISTRY_AUTH_FILE")
        if given:
            return os.path.abspath(given)
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        return os.path.join(base, "containers", "auth.json")


def asked_names(url: str) -> tuple[str, ...]:
    """Return the names by which docker and podman look up the helper of a place, if any."""
    name = server_name(url.removesuffix("/"))
    return (HUB, HUB_NAMES[0]) if name == HUB else (name,) if name else ()


def _names(part: Part) -> list[tuple[str, str | None]]:
    """Return each host with the tool's name for it, if there is one."""
    hosts = sorted({host for profile in part.profiles for host in profile.hosts})
    return [(host, server_name(host)) for host in hosts]
