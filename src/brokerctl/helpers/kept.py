"""The credentials that are kept for tools, as people see them: which, and why one is not used."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.errors import UsageError, shell_word
from brokerctl.helpers import GET, CredentialRequest, find_owners, load
from brokerctl.helpers.custody import find_place, url_of
from brokerctl.helpers.docker.auths import ANY_NAME, read_asked
from brokerctl.helpers.docker.setup import DockerSetup, PodmanSetup, asked_names
from brokerctl.helpers.install import find_installed
from brokerctl.helpers.setups import SETUPS, tool_name
from brokerctl.helpers.shadow import Asking
from brokerctl.platform.user_files import read_regular
from brokerctl.store.entry import KEPT
from brokerctl.store.tool_credentials import all_kept
from brokerctl.text import any_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.home import Home
    from brokerctl.store.values import ToolCredential

NOT_ASKED = "{tool} does not ask brokerctl for it"


class KeptCredential(NamedTuple):
    """One kept credential: its entry's name, and why its tool does not get it, if it does not."""

    name: str
    one: ToolCredential
    unanswered: str | None = None

    @property
    def shown(self) -> str:
        """Return its tool, user and URL, without the password."""
        who = f"{self.one.username} at " if self.one.username else ""
        return f"{self.one.tool}: {who}{url_of(self.one)}"


def find_keeper(tool: str) -> str | None:
    """Return the helper under which a tool's own credentials are kept; None if they can't be."""
    found = SETUPS.get(tool_name(tool))
    return None if found is None else found.kept_by


def find_keeping(tool: str) -> str:
    """Return the helper under which a tool's credentials are kept; UsageError if they can't be."""
    found = find_keeper(tool)
    if found is None:
        hint = f"say {any_of(name for name, one in SETUPS.items() if one.kept_by is not None)}"
        raise UsageError(f"helper '{tool_name(tool)}' keeps nothing", hint=hint)
    return found


def list_kept(home: Home, tool: str | None = None) -> list[KeptCredential]:
    """Return the kept credentials that have not expired, of one helper or of all, newest first."""
    now, reach = time.time(), _Reach(home)
    return [
        held._replace(unanswered=reach.why_not(held.one))
        for held in list_all(home)
        if tool in {None, held.one.tool} and not held.one.is_over(now)
    ]


def list_all(home: Home) -> list[KeptCredential]:
    """Return all kept credentials, also expired ones, newest first; no tool's files are read."""
    return [KeptCredential(name, one) for name, one in all_kept(home.store)]


def find_urls(home: Home, tool: str) -> list[str]:
    """Return the URLs of the kept credentials that a tool would get."""
    helper = find_keeper(tool)
    if helper is None:
        return []
    return [
        url_of(held.one)
        for held in list_kept(home, helper)
        if held.unanswered is None or held.unanswered == NOT_ASKED.format(tool=helper)
    ]


def count_damaged(home: Home) -> int:
    """Return how many entries can't be opened, so that their content is unknown."""
    return sum(entry.damage is not None for entry in home.store.entries(KEPT))


def find_one(home: Home, tool: str, host: str, user: str | None) -> KeptCredential:
    """Return the credential that a host or URL means; UsageError if there is none, or several."""
    helper = find_keeping(tool)
    found = [
        held
        for held in list_all(home)
        if held.one.tool == helper and user in {None, held.one.username}
    ]
    exact = [held for held in found if _is_at(held.one, host, any_path=False)]
    found = exact or [held for held in found if _is_at(held.one, host, any_path=True)]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} are" if found else "nothing is"
    who = "" if user is None else f", of '{user}'"
    hint = f"'brokerctl helper kept {shell_word(helper)}' lists what there is"
    if found:
        hint = f"name the user too, and the whole URL: {hint}"
    raise UsageError(f"{what} kept for {helper} at {host}{who}", hint=hint)


def _is_at(one: ToolCredential, text: str, *, any_path: bool) -> bool:
    """Return whether a credential belongs to a host or to a URL, however that is spelled."""
    text = text.removeprefix("sparse+")
    url = find_place(text if "://" in text else f"{one.protocol}://{text}")
    if url is None or (url.scheme, url.host, url.port) != (one.protocol, one.host, one.port):
        return False
    return one.path == url.path or (any_path and url.path in {"", "/"})


class _Reach:
    """Finds why a tool does not get what is kept for it; the tool's files are read once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._asked: dict[str, Callable[[ToolCredential], bool]] = {}

    def why_not(self, one: ToolCredential) -> str | None:
        """Return why the tool would not get it, or would not ask us for it; None if it does."""
        if one.tool not in self._home.plan.keep:
            return f"'[helpers] keep' in config.toml does not have {one.tool}"
        helper, url = load(one.tool), url_of(one)
        is_own = url.endswith(helper.traits.own_keys)
        wanted = CredentialRequest(action=GET, url=url, username=one.username, is_foreign=is_own)
        _, owners = find_owners(helper, wanted, self._home.offered)
        if owners:
            names = " and ".join(sorted(f"'{profile.name}'" for profile in owners))
            return f"its host is that of the profile {names}"
        if one.tool not in self._asked:
            self._asked[one.tool] = _ASKED[one.tool](self._home.environ)
        return None if self._asked[one.tool](one) else NOT_ASKED.format(tool=one.tool)


def _git_asked(environ: Mapping[str, str]) -> Callable[[ToolCredential], bool]:
    asking = Asking(environ)
    return lambda one: (
        asking.is_ours(url_of(one)) and (not one.path or asking.names_path(url_of(one)))
    )


def _docker_asked(environ: Mapping[str, str]) -> Callable[[ToolCredential], bool]:
    """Return a test whether docker's or podman's file names brokerctl for a place."""
    found: set[str] = set()
    for setup in (DockerSetup(), PodmanSetup()):
        try:
            found |= read_asked(read_regular(setup.path(environ)))
        except (OSError, ValueError, UsageError):
            continue  # a file that can't be read names nothing
    return lambda one: ANY_NAME in found or not found.isdisjoint(asked_names(url_of(one)))


def _cargo_asked(environ: Mapping[str, str]) -> Callable[[ToolCredential], bool]:
    is_in = find_installed("cargo", environ).is_in
    return lambda _: is_in


_ASKED = {"cargo": _cargo_asked, "docker": _docker_asked, "git": _git_asked}
