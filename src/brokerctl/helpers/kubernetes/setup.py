"""The kubeconfig: a user that contexts can have, which gets its token from brokerctl."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import PRIVATE_MODE, SetupFile
from brokerctl.helpers.kubernetes import V1
from brokerctl.helpers.kubernetes.kubeconfig import (
    NAME,
    find_contexts,
    put_user,
    take_user,
    user_rows,
)
from brokerctl.helpers.setups import UsualSetup, home_path
from brokerctl.platform.user_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_USE = (
    f"'kubectl config set-context --current --user={NAME}' uses it in the context that is current,"
    f" 'kubectl config set-context NAME --cluster=CLUSTER --user={NAME}' in another"
)


class KubernetesSetup(UsualSetup):
    """The first file of KUBECONFIG, or `~/.kube/config`."""

    script = "brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the one file, which may hold other users' keys and tokens."""
        given = [path for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]
        path = os.path.abspath(given[0]) if given else home_path(environ, ".kube", "config")
        return [SetupFile(path, PRIVATE_MODE, ".lock")]

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Put our user in; a file that can't be edited as text is left as it is."""
        profile = part.one_profile()
        if not any(host.startswith("https://") for host in profile.hosts):
            raise UsageError(
                f"'{profile.name}' has no https host, so no cluster would get its token",
                hint="name the cluster's server in its hosts",
            )
        try:
            return put_user(text, user_rows(part.script, profile.name))
        except ValueError as error:
            user = _by_hand(part.script, profile.name)
            raise UsageError(f"{place.path}: {error}", hint=f"add to its users: {user}") from error

    def take(self, place: SetupFile, text: str) -> str | None:
        """Take our user out; contexts that use it belong to others and stay."""
        try:
            return take_user(text)
        except ValueError as error:
            raise UsageError(
                f"{place.path}: {error}", hint=f"remove its user '{NAME}' by hand"
            ) from error

    def farewell(self, environ: Mapping[str, str]) -> str | None:
        """Name the contexts that lose their user: kubectl fails there until they get another."""
        paths = [path for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]
        found = []
        for path in paths or [self.places(environ)[0].path]:
            try:
                text = read_regular(path).decode("utf-8", "surrogateescape")
            except OSError:
                continue
            found += [f"'{name}'" for name in find_contexts(text)]
        if not found:
            return None
        which = "is the user of the context" if len(found) == 1 else "is the user of the contexts"
        return (
            f"'{NAME}' {which} {' and '.join(found)}, where kubectl has none then: "
            "'kubectl config set-context NAME --user=USER' gives it another"
        )

    def advice(self, part: Part) -> str | None:  # noqa: ARG002 - it is the same for all
        """Return how a context gets the user."""
        return _USE


def _by_hand(command: str, profile: str) -> str:
    """Return the user in one line, which is right in YAML and in JSON."""
    plug_in = {
        "apiVersion": V1,
        "command": command,
        "args": ["helper", "kubernetes", "--profile", profile],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    return json.dumps({"name": NAME, "user": {"exec": plug_in}})
