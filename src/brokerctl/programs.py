"""The programs that we start, and what of our environment each of them gets: one table.

The child of `exec` is not in it: the user's command keeps its environment, but for what
session/environment.py takes out.
"""

from __future__ import annotations

from brokerctl.model import WITHIN, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Given to whatever is run to get a secret of ours: our `keyring` has no answer then, since it
# would wait for the lock of the very grant that the secret is for.
NO_KEYRING = "BROKERCTL_NO_KEYRING"
# Security: what git sets for the repository that it is in (`git rev-parse --local-env-vars`, of
# any version). A helper is run with them under `git clone` and in a linked worktree: a password
# store that is kept in git would read, and commit into, the user's own repository.
GIT_LOCAL = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_GIT_PAIRS = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")  # what GIT_CONFIG_COUNT counts
_OWN_SECRETS = ("BROKERCTL_KEY", "BROKERCTL_PASSPHRASE")  # and what begins so
_DESKTOP = frozenset(
    {"DISPLAY", "HOME", "LANG", "LOGNAME", "PATH", "TZ", "USER", "WAYLAND_DISPLAY"}
)
_DESKTOP_PREFIXES = ("DBUS_", "DYLD_", "GNOME_", "KDE_", "LC_", "LD_LIBRARY_", "XDG_")


class Row(Value):
    """What one kind of program gets of our environment."""

    only: frozenset[str] | None = None  # these names, and those of `prefixes`; None: all but …
    prefixes: tuple[str, ...] = ()
    has_own: bool = False  # brokerctl's own key and passphrase: for brokerctl itself alone
    has_repository: bool = False  # git's variables of the repository that we are in
    adds: tuple[tuple[str, str], ...] = ()


PROGRAMS = {
    # The user's opener of URLs.
    "browser": Row(),
    # brokerctl itself, whose time `doctor` takes.
    "brokerctl": Row(has_own=True, has_repository=True),
    # `git config`, asked what git does in this very folder.
    "git": Row(has_repository=True),
    # The same, asked what git does in any folder.
    "git_anywhere": Row(),
    # keys/keyring_child.py. Security: nothing else reaches the libraries, which would follow
    # PYTHON_KEYRING_BACKEND and KEYRING_PROPERTY_….
    "keyring": Row(only=_DESKTOP, prefixes=_DESKTOP_PREFIXES),
    # The command of a reference to a secret.
    "secret": Row(adds=((NO_KEYRING, "1"),)),
}


def environ_for(
    program: str,
    environ: Mapping[str, str],
    *,
    hidden: Iterable[str] = (),
    within: Iterable[str] = (),
) -> dict[str, str]:
    """Return what a program of the table gets of an environment.

    `hidden` are variables that hold profiles' secrets; `within` the profiles being asked for.
    """
    row, hidden = PROGRAMS[program], frozenset(hidden)
    found = {
        name: value for name, value in environ.items() if name not in hidden and _is_for(row, name)
    }
    found |= dict(row.adds)
    if profiles := ",".join(within):
        found[WITHIN] = profiles
    return found


def _is_for(row: Row, name: str) -> bool:
    if row.only is not None:
        return name in row.only or name.startswith(row.prefixes)
    if not row.has_own and name.startswith(_OWN_SECRETS):
        return False
    return row.has_repository or (name not in GIT_LOCAL and not name.startswith(_GIT_PAIRS))
